from __future__ import annotations

import contextvars
import os
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.pretend import wait_until
from tests.testing.plugin import ASYNC_JOB, JOB
from xpert_mq import ManagedQueueJob, ManagedQueueService, current_context, registry, request_context
from xpert_mq.errors import ManagedQueueError
from xpert_mq.store.keys import pool_keys
from xpert_mq.testing import JobRun, QueueKit, RunLimitError

RunJobs = Callable[..., list[JobRun]]
Advance = Callable[[int], None]

pytestmark = pytest.mark.usefixtures("handlers")


def outcomes(runs: list[JobRun]) -> list[str]:
    return [run.outcome for run in runs]


@pytest.mark.parametrize("job", [JOB, ASYNC_JOB], ids=["sync", "async"])
def test_job_runs_in_this_process_in_its_own_context(
    managed_queue: ManagedQueueService, run_jobs: RunJobs, job: dict[str, Any]
) -> None:
    with request_context(tenant_id="acme"):
        managed_queue.enqueue(**job, job_id="1", payload={})
    with request_context(tenant_id="other"):
        (run,) = run_jobs()
        assert current_context().tenant_id == "other"

    assert run.result == {"tenant": "acme", "pid": os.getpid(), "attempts_made": 0}
    assert (run.outcome, run.job_id, run.tenant_id, run.job_name) == ("completed", "1", "acme", job["job_name"])
    snapshot = managed_queue.get_job("1", tenant_id="acme")
    assert snapshot is not None
    assert (snapshot.state, snapshot.return_value) == ("completed", run.result)


def test_handler_sees_no_context_of_the_test(managed_queue: ManagedQueueService, run_jobs: RunJobs) -> None:
    """As in a worker, which is another process."""
    variable = contextvars.ContextVar("variable", default="empty")
    registry.register(**{**JOB, "job_name": "look"}, handler=lambda job: variable.get())
    variable.set("of the test")
    managed_queue.enqueue(**{**JOB, "job_name": "look"})
    assert run_jobs()[0].result == "empty"


def test_retry_and_delay_wait_for_the_time_to_pass(
    managed_queue: ManagedQueueService, run_jobs: RunJobs, advance: Advance, queue_kit: QueueKit
) -> None:
    managed_queue.enqueue(**JOB, job_id="1", payload={"fail": 2}, delay_ms=1_000, attempts=3, backoff_ms=60_000)
    assert run_jobs() == []
    advance(1_000)
    (first,) = run_jobs()
    assert (first.outcome, str(first.error), first.attempts_made) == ("retry", "try 0", 0)
    advance(59_000)
    assert run_jobs() == []
    advance(1_000)
    assert outcomes(run_jobs()) == ["retry"]
    advance(60_000)
    assert outcomes(run_jobs()) == ["completed"]

    job = queue_kit.finished("1")
    assert (job.attempts_made, job.failed_reason, len(job.stacktrace)) == (3, "try 1", 2)


def test_retries_without_backoff_and_defers_come_at_once(managed_queue: ManagedQueueService, run_jobs: RunJobs) -> None:
    managed_queue.enqueue(**JOB, payload={"fail": 1, "defer": 1}, attempts=2)
    assert outcomes(run_jobs()) == ["retry", "deferred", "completed"]


def test_failure_is_recorded_and_can_be_raised(
    managed_queue: ManagedQueueService, run_jobs: RunJobs, queue_kit: QueueKit
) -> None:
    managed_queue.enqueue(**JOB, job_id="1", payload={"broken": True}, attempts=3)
    (run,) = run_jobs()
    assert (run.outcome, str(run.error)) == ("failed", "broken")
    assert queue_kit.finished("1").failed_reason == "broken"
    managed_queue.enqueue(**JOB, payload={"fail": 1})
    with pytest.raises(ValueError, match="try 0"):
        run_jobs(raising=True)


def test_job_without_a_handler_fails(managed_queue: ManagedQueueService, run_jobs: RunJobs) -> None:
    managed_queue.enqueue(**{**JOB, "job_name": "nobody's"})
    (run,) = run_jobs()
    assert (run.outcome, type(run.error).__name__) == ("failed", "HandlerNotFoundError")


def test_jobs_that_a_job_enqueues_run_too(managed_queue: ManagedQueueService, run_jobs: RunJobs) -> None:
    def start(job: ManagedQueueJob[Any]) -> None:
        managed_queue.enqueue(**JOB, job_id="second")

    registry.register(**{**JOB, "job_name": "start"}, handler=start)
    managed_queue.enqueue(**{**JOB, "job_name": "start"}, job_id="first")
    assert [run.job_id for run in run_jobs()] == ["first", "second"]


def test_jobs_of_all_pools_run_in_the_order_of_each(managed_queue: ManagedQueueService, run_jobs: RunJobs) -> None:
    for job_id in ("1", "2", "3"):
        managed_queue.enqueue(**JOB, job_id=job_id)
    managed_queue.enqueue(**JOB, job_id="browser", execution_pool="sandbox-browser")
    ids = [run.job_id for run in run_jobs()]
    assert [id_ for id_ in ids if id_ != "browser"] == ["1", "2", "3"]
    assert "browser" in ids


def test_job_that_always_comes_back_ends_at_the_limit(managed_queue: ManagedQueueService, run_jobs: RunJobs) -> None:
    managed_queue.enqueue(**JOB, job_id="endless", payload={"defer": 100})
    with pytest.raises(RunLimitError, match=r"still due after 5 tries.*endless"):
        run_jobs(limit=5)


def test_limit_holds_for_what_comes_back_after_a_moment(managed_queue: ManagedQueueService, run_jobs: RunJobs) -> None:
    def again(job: ManagedQueueJob[Any]) -> None:
        managed_queue.enqueue(**{**JOB, "job_name": "again"}, delay_ms=1)
        wait_until(lambda: _is_due(managed_queue))

    registry.register(**{**JOB, "job_name": "again"}, handler=again)
    managed_queue.enqueue(**{**JOB, "job_name": "again"})
    with pytest.raises(RunLimitError):
        run_jobs(limit=3)


def _is_due(service: ManagedQueueService) -> bool:
    """Whether the first of the delayed could be handed out."""
    client = service.get_redis()
    seconds, microseconds = client.time()
    now = seconds * 1000 + microseconds // 1000
    return client.zcount(pool_keys(service.settings.queue_name()).delayed, "-inf", now) > 0


def test_limit_that_is_just_enough_is_no_error(managed_queue: ManagedQueueService, run_jobs: RunJobs) -> None:
    managed_queue.enqueue(**JOB, payload={"defer": 4})
    assert len(run_jobs(limit=5)) == 5


def test_handler_can_not_run_jobs(managed_queue: ManagedQueueService, run_jobs: RunJobs) -> None:
    registry.register(**{**JOB, "job_name": "nested"}, handler=lambda job: run_jobs())
    managed_queue.enqueue(**{**JOB, "job_name": "nested"})
    with pytest.raises(ManagedQueueError, match="runs already"):
        run_jobs(raising=True)


def test_handlers_of_one_test_are_gone_in_the_next(managed_queue: ManagedQueueService) -> None:
    # Other modules of this process may have registered theirs when they were imported.
    ours = {one.job_name for one in registry.handlers() if one.queue_name == JOB["queue_name"]}
    assert ours == {JOB["job_name"], ASYNC_JOB["job_name"]}
    assert managed_queue.get_redis().keys("*") == []


def test_age_of_a_finished_job_goes_by(managed_queue: ManagedQueueService, run_jobs: RunJobs, advance: Advance) -> None:
    managed_queue.enqueue(**JOB, job_id="1", remove_on_complete={"age": 60})
    run_jobs()
    advance(59_000)
    assert managed_queue.get_job("1") is not None
    advance(1_000)
    run_jobs()
    assert not managed_queue.get_redis().keys(managed_queue.store.keys.jobs + "*")
    assert not managed_queue.get_redis().keys(managed_queue.store.keys.lists + "*")


def test_keys_of_a_plugin_expire_earlier(managed_queue: ManagedQueueService, advance: Advance) -> None:
    client = managed_queue.get_redis()
    client.set("lock", "1", px=10_000)
    client.set("stays", "1")
    advance(9_000)
    assert 0 < client.pttl("lock") <= 1_000
    advance(1_000)
    assert client.keys("*") == [b"stays"]


@pytest.mark.parametrize("ms", [-1, -0.5, float("nan"), float("inf"), 10**16, True, "5", None])
def test_time_goes_on_by_milliseconds(advance: Callable[[Any], None], ms: Any) -> None:
    with pytest.raises(ValueError, match=f"by 0 to 1000000000000000 milliseconds, not by {ms!r}: it can't go back"):
        advance(ms)


def test_time_goes_on_by_fractions_and_very_far(
    managed_queue: ManagedQueueService, run_jobs: RunJobs, advance: Callable[[float], None]
) -> None:
    managed_queue.enqueue(**JOB, job_id="1", delay_ms=1_000)
    advance(1_000.9)
    assert outcomes(run_jobs()) == ["completed"]
    managed_queue.enqueue(**JOB, job_id="2", delay_ms=10 * 365 * 24 * 3600 * 1000)
    advance(10**15)
    assert outcomes(run_jobs()) == ["completed"]
    assert managed_queue.get_job("1") is None, "its age is over"


def test_signals_of_celery_are_sent(managed_queue: ManagedQueueService, run_jobs: RunJobs) -> None:
    from celery import current_app, signals

    host = current_app._get_current_object()
    seen: list[tuple[str, str]] = []

    def note(sender: Any, task_id: str, **_: Any) -> None:
        seen.append((sender.name, threading.current_thread().name))

    signals.task_prerun.connect(note, weak=False)
    try:
        managed_queue.enqueue(**JOB)
        run_jobs()
    finally:
        signals.task_prerun.disconnect(note)
    assert seen == [("xpert_mq.dispatch", threading.current_thread().name)]
    assert current_app._get_current_object() is host, "the host's application stays current"


def test_time_that_a_test_with_retry_and_delay_takes_is_reported(
    managed_queue: ManagedQueueService,
    run_jobs: RunJobs,
    advance: Advance,
    request: pytest.FixtureRequest,
) -> None:
    taken: list[float] = []
    used: list[float] = []
    for number in range(10):
        started, busy = time.perf_counter(), time.process_time()
        managed_queue.enqueue(**JOB, payload={"fail": 1}, delay_ms=1_000, attempts=2, backoff_ms=60_000)
        advance(1_000)
        runs = run_jobs()
        advance(60_000)
        runs += run_jobs()
        taken.append((time.perf_counter() - started) * 1000)
        used.append((time.process_time() - busy) * 1000)
        assert outcomes(runs) == ["retry", "completed"], number
    median = statistics.median
    said = f"median {median(taken):.1f} ms, slowest {max(taken):.1f} ms; of the processor {median(used):.1f} ms"
    # Shown by `pytest -rP`.
    request.node.add_report_section("call", "time of a test with retry and delay", said)
