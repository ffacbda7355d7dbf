"""A warm shutdown (SIGTERM): running jobs end, the others go back, and another node runs them at once."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import MOST_POOLS, slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for

QUEUES = pytest.mark.parametrize("queue", ["sync", slow("async")])


@QUEUES
@pytest.mark.parametrize("pool", MOST_POOLS)
def test_running_job_ends_and_the_rest_is_run_elsewhere(deployment: Deployment, pool: str, queue: str) -> None:
    worker = deployment.worker(pool=pool)
    running = deployment.hold("stop", queue=queue)
    rest = [deployment.enqueue("echo", queue=queue) for _ in range(3)]

    worker.kill("SIGTERM")
    worker.wait_for_line("Warm shutdown")
    deployment.open_gate("stop")
    status = worker.process.wait(15)
    # Before another worker runs it, so that nobody else can have recorded it.
    ended = deployment.job(running)
    deployment.worker()

    assert status == 0
    assert (ended.state, ended.return_value) == ("completed", "through")
    done = [deployment.finished(job_id, timeout=5) for job_id in rest]
    assert [(one.state, one.attempts_made, one.return_value["attempts_made"]) for one in done] == [
        ("completed", 1, 0)
    ] * 3


@pytest.mark.parametrize("pool", MOST_POOLS)
def test_node_holds_no_more_jobs_than_it_runs(deployment: Deployment, pool: str) -> None:
    """While another node has a free slot, a waiting job starts within a second."""
    worker = deployment.worker(pool=pool, MANAGED_QUEUE_CONCURRENCY="3")
    slots = 1 if pool == "solo" else 3
    for _ in range(slots):
        deployment.hold("full")
    rest = [deployment.enqueue("echo") for _ in range(4)]

    deployment.worker()

    done = [deployment.finished(job_id, timeout=5) for job_id in rest]
    assert [one.state for one in done] == ["completed"] * 4
    deployment.open_gate("full", slots)
    assert worker.terminate() == 0


def test_shutdown_of_an_idle_worker_is_quick_and_leaves_nothing(deployment: Deployment) -> None:
    worker = deployment.worker(pool="prefork")
    deployment.run("echo")

    assert worker.terminate(timeout=10) == 0

    client = deployment.service.get_redis()
    assert list(client.scan_iter(f"{deployment.prefix}:node*")) == []
    assert "Traceback" not in worker.logs()


def test_restarted_worker_goes_on(deployment: Deployment) -> None:
    worker = deployment.worker()
    deployment.run("echo")

    worker.restart()

    assert deployment.run("echo").state == "completed"
    assert worker.logs().count("ready.") == 2


def test_shutdown_while_redis_is_away(deployment: Deployment) -> None:
    lonely = deployment.worker(wait=False, XPERT_MQ_REDIS_URL="redis://127.0.0.1:1/0")
    lonely.wait_for_line("Connection refused")

    lonely.kill("SIGTERM")

    wait_for(lambda: _ended(lonely.process), "the worker to end", 20)


def _ended(process: object) -> bool:
    process.reload()  # type: ignore[attr-defined]
    return bool(process.status == "exited")  # type: ignore[attr-defined]
