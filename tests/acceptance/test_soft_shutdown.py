"""A shutdown with a limit (`worker_soft_shutdown_timeout`): jobs that end in time ran once. The others are ended or
handed back when it is over: no attempt is spent, and none fails.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.acceptance import diary
from tests.acceptance.conftest import DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.diary import Diary
from tests.acceptance.nodes import Worker

LIMIT = 1.0
#: Seconds in which a node has ended when the limit is over.
ENDING = 12.0

#: In the log of a node that has got the signal.
SAID = "running jobs have"

POOLS = pytest.mark.parametrize("pool", ["prefork", slow("threads"), slow("asyncio"), slow("gevent")])

SoftSite = Callable[[float], Deployment]


@pytest.fixture
def soft_site(deploy: DeploymentFactory) -> SoftSite:
    """Makes a platform whose nodes have that limit. A crash fails a job there: what goes on has not counted as one."""

    def make(limit: float) -> Deployment:
        site = deploy(XPERT_MQ_PLUGINS=diary.MODULE, MANAGED_QUEUE_CONCURRENCY="4", XPERT_MQ_MAX_STALLED="0")
        config = f"xpert_mq_deployment = True\nworker_soft_shutdown_timeout = {limit}\n"
        (site.folder / "celeryconfig.py").write_text(config)
        return site

    return make


def _running(site: Deployment, seconds: float, queue: str = "sync") -> str:
    job_id = site.enqueue("work", seconds, queue=queue)
    site.wait_state(job_id, "active")
    return job_id


def _wait_ended(worker: Worker, started: float) -> None:
    worker.process.wait(LIMIT + ENDING)
    assert time.monotonic() - started > LIMIT


@POOLS
@pytest.mark.parametrize("name", ["SIGTERM", slow("SIGQUIT"), slow("remapped SIGTERM")])
def test_jobs_that_take_longer_go_back(soft_site: SoftSite, pool: str, name: str) -> None:
    """Celery may be told, too, to take a SIGTERM for a SIGQUIT."""
    site = soft_site(LIMIT)
    old = site.worker(pool=pool, REMAP_SIGTERM="SIGQUIT" if name == "remapped SIGTERM" else "")
    longer = [_running(site, 60, queue) for queue in ("sync", "async")]
    in_time = [_running(site, LIMIT / 2, queue) for queue in ("sync", "async")]

    told = time.monotonic()
    old.kill(name.split()[-1])
    _wait_ended(old, told)

    # By the node itself: there is no other.
    for job_id in longer:
        back = site.job(job_id)
        assert (back.state, back.attempts_made, back.failed_reason) == ("waiting", 0, None)
    assert [(site.job(one).state, site.job(one).attempts_made) for one in in_time] == [("completed", 1)] * 2
    site.worker()
    ended = [site.finished(job_id) for job_id in longer]
    assert [(one.state, one.attempts_made) for one in ended] == [("completed", 1)] * 2
    written = Diary.of(site)
    assert [[one.ended for one in written.tries(job_id)] for job_id in longer] == [[False, True]] * 2
    assert [[one.ended for one in written.tries(job_id)] for job_id in in_time] == [[True]] * 2
    assert written.overlapping() == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGQUIT"])
def test_solo_ends_in_time_or_gives_its_job_back(soft_site: SoftSite, name: str) -> None:
    site = soft_site(LIMIT)
    quick = site.worker(pool="solo")
    in_time = _running(site, LIMIT / 2)
    quick.kill(name)
    assert quick.process.wait(LIMIT + ENDING) == 0
    assert site.job(in_time).state == "completed"

    other = site.worker(pool="solo")
    longer = _running(site, 60)
    told = time.monotonic()
    other.kill(name)
    _wait_ended(other, told)

    back = site.job(longer)
    assert (back.state, back.attempts_made, back.failed_reason) == ("waiting", 0, None)
    site.worker()
    assert site.finished(longer).attempts_made == 1


@POOLS
def test_jobs_added_meanwhile_run_elsewhere(soft_site: SoftSite, pool: str) -> None:
    """Also those that it has fetched, or that Redis gives to its fetch under way."""
    site = soft_site(60)
    old = site.worker(pool=pool)
    running = _running(site, 60)
    old.kill("SIGQUIT")
    old.wait_for_line(SAID)
    # It alone is there to be given one.
    first = site.enqueue("work", 0)

    site.worker()

    for job_id in (first, *(site.enqueue("work", 0) for _ in range(8))):
        site.finished(job_id, timeout=2)
    assert site.job(running).state == "active"


@pytest.mark.slow
@POOLS
def test_second_signal_ends_them(soft_site: SoftSite, pool: str) -> None:
    site = soft_site(LIMIT)
    old = site.worker(pool=pool)
    longer = _running(site, 60)
    old.kill("SIGQUIT")
    old.wait_for_line(SAID)

    old.kill("SIGQUIT")

    old.process.wait(LIMIT + ENDING)
    back = site.job(longer)
    assert (back.state, back.attempts_made, back.failed_reason) == ("waiting", 0, None)
