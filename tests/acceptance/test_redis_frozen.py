"""Redis stands still for long, with the default beats: whatever runs is not run again, and nobody is declared dead. Or
it is full: workers go on.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

import pytest

from tests.acceptance import diary
from tests.acceptance.conftest import MOST_POOLS, POOLS, DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.diary import Diary
from tests.acceptance.nodes import wait_for
from tests.conftest import ServerFactory
from xpert_mq import ManagedQueueService, QueueUnavailableError

#: The default. After a freeze that is longer the nodes may be away from each other for as long.
NODE_TIMEOUT = 30


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("pool", "seconds"), [("threads", 20), ("gevent", 20), ("prefork", 90)])
def test_frozen_with_default_beats(
    deploy: DeploymentFactory, server_factory: ServerFactory, pool: str, seconds: float
) -> None:
    site = deploy(server_factory(), XPERT_MQ_PLUGINS=diary.MODULE, MANAGED_QUEUE_CONCURRENCY="4")
    workers = [site.worker(pool=pool) for _ in range(2)]
    lengths = [2.0, seconds - 2, seconds + 5] * 2
    jobs = [site.enqueue("work", length, queue=("sync", "async")[place % 2]) for place, length in enumerate(lengths)]
    waiting = [site.enqueue("work", 1) for _ in range(6)]
    for job_id in jobs:
        site.wait_state(job_id, "active")

    _freeze(site, seconds)

    for job_id in [*jobs, *waiting]:
        assert (site.finished(job_id, timeout=20).state, site.job(job_id).attempts_made) == ("completed", 1)
    _check_goes_on(site)
    # So long the others would take to declare one dead.
    time.sleep(NODE_TIMEOUT * 1.2)
    _check_goes_on(site)
    written = Diary.of(site)
    assert [[one.ended for one in written.tries(job_id)] for job_id in [*jobs, *waiting]] == [[True]] * 12
    logs = "".join(worker.logs() for worker in workers)
    assert "is dead" not in logs
    assert "declared dead" not in logs


def _freeze(site: Deployment, seconds: float) -> None:
    broker = site.brokers[0]
    broker.kill("SIGSTOP", reload_container=False)
    time.sleep(seconds)
    broker.kill("SIGCONT", reload_container=False)


def _check_goes_on(site: Deployment) -> None:
    """Also consumes again: more jobs than the slots of one node."""
    jobs = [site.enqueue("work", 0.1, queue=queue) for queue in ("sync", "async") * 5]
    assert [site.finished(job_id, timeout=20).state for job_id in jobs] == ["completed"] * 10


@pytest.fixture
def limited_site(deploy: DeploymentFactory, server_factory: ServerFactory) -> Deployment:
    """A platform whose Redis can be full."""
    return deploy(server_factory(config={"maxmemory-policy": "noeviction"}), XPERT_MQ_PLUGINS=diary.MODULE)


@pytest.mark.parametrize("pool", ["threads", *(slow(pool) for pool in POOLS if pool != "threads")])
def test_full_for_a_while(limited_site: Deployment, pool: str) -> None:
    """What is there is run meanwhile, since only so there will be memory again."""
    site = limited_site
    site.worker(pool=pool)
    site.run("work", 0)
    running = site.enqueue("work", 1)
    site.wait_state(running, "active")
    waiting = [site.enqueue("work", 0.1, queue=queue) for queue in ("sync", "async")]
    retried = site.enqueue("of no handler", attempts=2, backoff_ms=100)
    delayed = site.enqueue("work", 0, delay_ms=500)

    _set_memory(site, "1")
    _check_refused(site)
    assert [site.finished(job_id).state for job_id in (running, *waiting, delayed)] == ["completed"] * 4
    assert (site.finished(retried).state, site.job(retried).attempts_made) == ("failed", 2)
    _set_memory(site, "0")

    assert site.service.get_job("refused") is None
    _check_goes_on(site)
    assert [[one.ended for one in Diary.of(site).tries(job_id)] for job_id in (running, *waiting)] == [[True]] * 3


@pytest.mark.slow
@pytest.mark.parametrize("pool", MOST_POOLS)
def test_start_while_full(limited_site: Deployment, pool: str) -> None:
    """Only workers can make room."""
    site = limited_site
    waiting = [site.enqueue("work", 0) for _ in range(3)]
    _set_memory(site, "1")

    site.worker(pool=pool, wait=False)

    assert [site.finished(job_id, timeout=8).state for job_id in waiting] == ["completed"] * 3
    _set_memory(site, "0")
    _check_goes_on(site)


@pytest.mark.slow
@pytest.mark.parametrize("pool", MOST_POOLS)
def test_connect_again_while_full(limited_site: Deployment, pool: str) -> None:
    site = limited_site
    worker = site.worker(pool=pool)
    waiting = [site.enqueue("work", 0, delay_ms=1000) for _ in range(3)]
    _set_memory(site, "1")

    client: Any = site.service.get_redis()
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

    wait_for(lambda: worker.logs().count("Connected to") == 2, "the worker to be connected again")
    assert [site.finished(job_id, timeout=8).state for job_id in waiting] == ["completed"] * 3
    _set_memory(site, "0")
    _check_goes_on(site)


def _set_memory(site: Deployment, most: str) -> None:
    client: Any = site.service.get_redis()
    client.config_set("maxmemory", most)


def _check_refused(site: Deployment) -> None:
    settings = site.settings.model_copy(update={"enqueue_timeout": 0.3})
    with closing(ManagedQueueService(settings)) as service, pytest.raises(QueueUnavailableError, match="maxmemory"):
        service.enqueue(plugin_name="acme", queue_name="sync", job_name="work", job_id="refused")
