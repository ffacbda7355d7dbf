"""Redis is away or frozen for longer than the node timeout: nobody is declared dead, and no job is stuck."""

from __future__ import annotations

import time

import pytest

from tests.acceptance.conftest import MOST_POOLS, POOLS, DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.conftest import ServerFactory

INTERVAL, TIMEOUT = 0.2, 2.0
BEATS = {"XPERT_MQ_HEARTBEAT_INTERVAL": str(INTERVAL), "XPERT_MQ_NODE_TIMEOUT": str(TIMEOUT)}


@pytest.mark.parametrize("pool", ["threads", slow("prefork"), slow("asyncio"), slow("gevent")])
def test_job_that_ends_while_redis_is_away_for_long(
    deploy: DeploymentFactory, server_factory: ServerFactory, pool: str
) -> None:
    """Nobody could declare its node dead, so the job is still its own: recorded late, or run again, but never stuck."""
    deployment = deploy(server_factory(appendonly=True, appendfsync="always"), **BEATS)
    deployment.worker(pool=pool)
    job_id = deployment.enqueue("sleep", 0.5)
    deployment.wait_state(job_id, "active")

    deployment.brokers[0].kill("SIGKILL")
    time.sleep(2 * TIMEOUT)
    deployment.brokers[0].restart()

    # Celery waits 2, 4, 6 … s before it connects again.
    assert deployment.finished(job_id, timeout=20).attempts_made == 1


@pytest.mark.parametrize("pool", ["prefork", *(slow(pool) for pool in POOLS if pool != "prefork")])
@pytest.mark.parametrize(
    "seconds",
    [pytest.param(0.2, id="ends_meanwhile"), pytest.param(3 * TIMEOUT, id="ends_after", marks=pytest.mark.slow)],
)
def test_job_runs_on_while_redis_is_frozen_for_long(
    deploy: DeploymentFactory, server_factory: ServerFactory, pool: str, seconds: float
) -> None:
    deployment = deploy(server_factory(), **BEATS)
    workers = [deployment.worker(pool=pool) for _ in range(2)]
    job_id = deployment.enqueue("sleep", seconds)
    deployment.wait_state(job_id, "active")

    _freeze(deployment, 2 * TIMEOUT)

    done = deployment.finished(job_id, timeout=3 * TIMEOUT)
    assert (done.state, done.attempts_made) == ("completed", 1)
    logs = "".join(worker.logs() for worker in workers)
    assert "is dead" not in logs
    assert logs.count(f"[:{job_id}:1] received") == 1
    assert f"[:{job_id}:2]" not in logs


def _freeze(deployment: Deployment, seconds: float) -> None:
    deployment.brokers[0].kill("SIGSTOP", reload_container=False)
    time.sleep(seconds)
    deployment.brokers[0].kill("SIGCONT", reload_container=False)


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("pool", MOST_POOLS)
def test_redis_is_frozen_for_long_under_load(
    deploy: DeploymentFactory, server_factory: ServerFactory, pool: str
) -> None:
    """Whatever each job's next step is then, it goes on afterwards."""
    server = server_factory()
    deployment = deploy(server, MANAGED_QUEUE_CONCURRENCY="4", **BEATS)
    workers = [deployment.worker(pool=pool) for _ in range(2)]
    ids = [deployment.enqueue("echo", number) for number in range(3000)]
    for _ in range(2):
        _freeze(deployment, 2 * TIMEOUT)

    left = _wait_ended(deployment, ids, 45)

    assert left == {}
    assert not any("is dead" in worker.logs() for worker in workers)


def _wait_ended(deployment: Deployment, ids: list[str], timeout: float) -> dict[str, str]:
    """Waits until all jobs are completed, and gives the states of those that are not."""
    deadline = time.monotonic() + timeout
    store, run_many = deployment.service.store, deployment.service.executor.run_many
    while True:
        jobs = [record.snapshot for record in run_many([store.read(None, job_id) for job_id in ids])]
        left = {job.id: f"{job.state}, {job.attempts_made}" for job in jobs if job.state != "completed"}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)
