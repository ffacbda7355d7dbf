"""The pool `asyncio`: what waits holds no thread, what blocks has one, and the loop's health is the node's."""

from __future__ import annotations

import pytest

from tests.acceptance import waiting
from tests.acceptance.conftest import DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for

BEATS = {"XPERT_MQ_HEARTBEAT_INTERVAL": "0.2", "XPERT_MQ_NODE_TIMEOUT": "2"}
NODE_TIMEOUT = 2.0


@pytest.fixture
def site(deploy: DeploymentFactory) -> Deployment:
    return deploy(XPERT_MQ_PLUGINS=f"{waiting.MODULE},tests.acceptance.limited,tests.acceptance.plugin", **BEATS)


def test_hundreds_of_async_handlers_wait_in_one_thread(site: Deployment) -> None:
    site.worker("-c", "400", pool="asyncio")

    ids = [site.enqueue("meet", 400, queue="waiting") for _ in range(400)]

    ended = [site.finished(job_id, timeout=30) for job_id in ids]
    assert [job.state for job in ended] == ["completed"] * 400
    assert max(job.return_value for job in ended) < 20


def test_sync_handlers_run_in_threads(site: Deployment) -> None:
    site.worker("-c", "10", pool="asyncio")

    ids = [site.enqueue("meet-sync", queue="waiting") for _ in range(waiting.SYNC_JOBS)]

    names = [site.finished(job_id).return_value for job_id in ids]
    assert len({*names}) == waiting.SYNC_JOBS
    assert not any("loop" in name for name in names)


def test_limits_of_handlers_hold(site: Deployment) -> None:
    site.worker("-c", "50", pool="asyncio")
    ids = [site.enqueue(name, queue="limited") for name in ("one", "two") for _ in range(8)]
    for job_id in ids:
        site.finished(job_id)

    for name, most in (("one", 1), ("two", 2)):
        steps = [1 if note["event"] == "start" else -1 for note in site.notes(name)]
        running = [sum(steps[: index + 1]) for index in range(len(steps))]
        assert max(running) == most, name


def test_handler_that_holds_the_loop_stops_no_heartbeat(site: Deployment) -> None:
    """Its node is no healthy one: another runs what it has fetched."""
    worker = site.worker("-c", "4", pool="asyncio")
    hog = site.enqueue("hog", 3 * NODE_TIMEOUT, queue="waiting")
    site.wait_state(hog, "active")
    fetched = [site.enqueue("pid", queue="waiting") for _ in range(2)]
    wait_for(lambda: site.health().worker_count == 0, "the node to be unhealthy")

    other = site.worker()

    assert {site.finished(job_id).return_value for job_id in fetched} == {other.process.pid}
    ended = site.finished(hog)
    assert (ended.state, ended.attempts_made, ended.return_value) == ("completed", 1, worker.process.pid)
    wait_for(lambda: site.health().worker_count == 2, "it to be back")
    assert "takes a new id" not in worker.logs()


@pytest.mark.parametrize("job", ["stop-iteration", "astop-iteration"])
def test_exceptions_that_futures_treat_apart_are_failures_like_others(site: Deployment, job: str) -> None:
    site.worker("-c", "4", pool="asyncio")

    ended = site.run(job, queue="waiting")

    assert (ended.state, ended.failed_reason) == (
        "failed",
        "no more" if job == "stop-iteration" else "cancelled itself",
    )
    assert site.run("pid", queue="waiting").state == "completed"


@pytest.mark.slow
def test_sync_handler_can_t_be_terminated(site: Deployment) -> None:
    worker = site.worker("-c", "4", pool="asyncio")
    held = site.hold("shut")
    record = site.service.executor.run(site.service.store.read(None, held))
    assert record is not None

    site.celery("control", "terminate", "SIGTERM", record.task_id())
    site.open_gate("shut")

    assert site.finished(held).return_value == "through"
    assert worker.terminate() == 0


def test_cold_shutdown_hands_everything_back(site: Deployment) -> None:
    worker = site.worker("-c", "4", pool="asyncio")
    held = [site.hold("stay", queue=queue) for queue in ("sync", "async")]

    worker.kill("SIGQUIT")

    assert worker.process.wait(10) != 0
    site.worker()
    site.open_gate("stay", 2)
    assert [site.finished(job_id).attempts_made for job_id in held] == [1, 1]
    assert [one["id"] for one in site.notes("stay")].count(held[0]) == 2


@pytest.mark.parametrize("option", ["--asyncio", slow("--pool=asyncio")])
def test_command_line(site: Deployment, option: str) -> None:
    process = site.spawn("-m", "xpert_mq.cli", "worker", option, "--concurrency", "7", "-l", "INFO", name="cli")

    wait_for(lambda: b" ready." in process.logs(), "the worker")

    assert site.run("pid", queue="waiting").return_value == process.pid
    assert b"concurrency: 7 (asyncio_pool)" in process.logs()


def test_without_greenlet_it_says_what_to_install(site: Deployment) -> None:
    hidden = "import sys; sys.modules['greenlet'] = None; from xpert_mq.cli import main; main()"

    ended = site.python("-c", hidden, "worker", "--asyncio")

    assert ended.returncode == 2
    assert "xpert-mq[asyncio]" in ended.stderr
