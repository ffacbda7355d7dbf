"""Whoever asks Celery for a job's result is answered from its record."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import pytest
from celery import Celery, states
from celery.exceptions import TimeoutError as CeleryTimeoutError
from celery.result import AsyncResult

from tests.integration.pretend import PretendWorker, failure
from xpert_mq.backend import RecordBackend
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.store import Failure


@pytest.fixture
def backend(worker: PretendWorker) -> RecordBackend:
    """The backend over the test's own service."""

    class Backend(RecordBackend):
        @property
        def service(self) -> ManagedQueueService:
            return worker.service

    app = Celery("test", set_as_current=False, fixups=[])
    app.conf.result_cache_max = -1
    return Backend(app=app)


def result_of(backend: RecordBackend, task_id: str) -> Any:
    return AsyncResult(task_id, backend=backend, app=backend.app)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("waiting", states.PENDING),
        ("delayed", states.PENDING),
        ("active", states.STARTED),
        ("completed", states.SUCCESS),
        ("failed", states.FAILURE),
    ],
)
def test_result_state(worker: PretendWorker, backend: RecordBackend, state: str, expected: str) -> None:
    worker.bring_to(state, "id", tenant_id="t:1")

    result = result_of(backend, worker.task_id("id", "t:1"))

    assert result.state == expected
    assert result.ready() is (state in ("completed", "failed"))
    assert result.successful() is (state == "completed")


@pytest.mark.parametrize("backoff", [0, 60_000])
def test_result_between_tries_is_retry(worker: PretendWorker, backend: RecordBackend, backoff: int) -> None:
    worker.enqueue("id", attempts=3)
    worker.fail_try(worker.claim_next(), "first", delay_ms=backoff)

    result = result_of(backend, worker.task_id("id"))

    assert (result.state, result.retries) == (states.RETRY, 1)
    assert isinstance(result.result, ValueError)
    assert str(result.result) == "first"
    assert result.traceback == "Traceback: first"


def test_result_of_second_try_is_started(worker: PretendWorker, backend: RecordBackend) -> None:
    worker.enqueue("id", attempts=3)
    worker.fail_try(worker.claim_next())
    worker.claim_next()

    assert result_of(backend, worker.task_id("id")).state == states.STARTED


def test_result_deferred_is_pending(worker: PretendWorker, backend: RecordBackend) -> None:
    worker.enqueue("id")
    worker.defer(worker.claim_next(), 60_000)

    assert result_of(backend, worker.task_id("id")).state == states.PENDING


def test_result_of_success(worker: PretendWorker, backend: RecordBackend) -> None:
    worker.enqueue("id")
    task_id = worker.take()
    claim = worker.claim(task_id)
    assert claim is not None
    before = time.time()
    worker.complete(claim, '{"sent":3}')

    result = result_of(backend, task_id)

    assert result.get(timeout=1) == {"sent": 3}
    assert (result.traceback, result.name) == (None, "plugin/queue/job")
    assert isinstance(result.date_done, datetime)
    assert abs(result.date_done.timestamp() - before) < 60


def test_result_of_failure(worker: PretendWorker, backend: RecordBackend) -> None:
    worker.bring_to("failed", "id")

    result = result_of(backend, worker.task_id("id"))

    with pytest.raises(ValueError, match=r"^boom$"):
        result.get(timeout=1)
    assert result.traceback == "Traceback: boom"


@pytest.mark.parametrize(
    "kind",
    [
        "no.such.module.Error",
        "tests.integration.test_backend.fixture.<locals>.Error",
        "builtins.UnicodeDecodeError",
        "xpert_mq.errors.JobIdConflictError",
        "builtins.KeyboardInterrupt",
        "Error",
        "",
    ],
)
def test_result_of_failure_of_any_type(worker: PretendWorker, backend: RecordBackend, kind: str) -> None:
    """The type comes from a record: it must neither break the answer nor call anything."""
    worker.enqueue("id")
    worker.run(worker.store.fail(worker.claim_next(), Failure("echo pwned", kind, "stack")))

    result = result_of(backend, worker.task_id("id"))

    assert result.state == states.FAILURE
    assert isinstance(result.result, BaseException)
    assert "echo pwned" in str(result.result)


def test_result_of_waiting_times_out(worker: PretendWorker, backend: RecordBackend) -> None:
    worker.enqueue("id")

    with pytest.raises(CeleryTimeoutError):
        result_of(backend, worker.task_id("id")).get(timeout=0.05, interval=0.01)


@pytest.mark.parametrize(
    "task_id", ["", "x", "1:2:3", ":id:1", ":id:x", "-:id:1", "9:t:id:1", "550e8400-e29b-41d4", "\ud800:1"]
)
def test_result_of_foreign_or_unknown_task_is_pending(backend: RecordBackend, task_id: str) -> None:
    assert backend.get_task_meta(task_id)["status"] == states.PENDING


def test_result_every_hand_out_of_a_life_answers(worker: PretendWorker, backend: RecordBackend) -> None:
    worker.enqueue("id", attempts=3, delay_ms=1)
    ids = [worker.task_id("id")]
    worker.promote_next()
    for _ in range(2):
        ids.append(worker.task_id("id"))
        worker.fail_try(worker.claim_next())
    ids.append(worker.task_id("id"))
    worker.complete(worker.claim_next(), "1")

    assert len(set(ids)) == 4
    assert [result_of(backend, task_id).state for task_id in ids] == [states.SUCCESS] * 4


@pytest.mark.parametrize("end", ["cancelled", "removed", "run again"])
def test_result_of_an_earlier_life_does_not_answer_for_a_later(
    worker: PretendWorker, backend: RecordBackend, end: str
) -> None:
    worker.enqueue("id", remove_on_complete=True)
    old = worker.task_id("id")
    if end == "cancelled":
        worker.service.cancel("id")
        worker.take()
    elif end == "removed":
        worker.complete(worker.claim_next())
    else:
        worker.fail(worker.claim_next())
        worker.service.retry("id")
    if end != "run again":
        worker.enqueue("id", remove_on_complete=False)
    worker.run(worker.store.complete(worker.claim_next(), "1"))

    assert result_of(backend, old).state == states.PENDING
    if end != "run again":
        assert result_of(backend, worker.task_id("id")).state == states.SUCCESS


def test_result_is_never_cached_beyond_its_job(worker: PretendWorker, backend: RecordBackend) -> None:
    worker.bring_to("completed", "id", remove_on_complete={"age": 0.3})
    task_id = worker.task_id("id")
    assert result_of(backend, task_id).state == states.SUCCESS

    deadline = time.monotonic() + 5
    while result_of(backend, task_id).state != states.PENDING:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("state", ["waiting", "delayed"])
def test_revoke_cancels(worker: PretendWorker, backend: RecordBackend, state: str) -> None:
    worker.bring_to(state, "id", tenant_id="t")

    backend.store_result(worker.task_id("id", "t"), None, states.REVOKED)

    assert worker.service.get_job("id", tenant_id="t") is None


def test_revoke_of_an_earlier_hand_out_cancels_the_same_job(worker: PretendWorker, backend: RecordBackend) -> None:
    worker.enqueue("id", attempts=3)
    first = worker.task_id("id")
    worker.fail_try(worker.claim_next())

    backend.store_result(first, None, states.REVOKED)

    assert worker.service.get_job("id") is None


@pytest.mark.parametrize("state", ["active", "completed", "failed"])
def test_revoke_touches_no_started_job(worker: PretendWorker, backend: RecordBackend, state: str) -> None:
    worker.bring_to(state, "id")
    before = worker.job("id")

    backend.store_result(worker.task_id("id"), None, states.REVOKED)

    assert worker.job("id") == before


@pytest.mark.parametrize("state", ["waiting", "delayed"])
@pytest.mark.parametrize("end", ["cancelled", "run again"])
def test_revoke_touches_no_later_job_of_the_id(
    worker: PretendWorker, backend: RecordBackend, state: str, end: str
) -> None:
    worker.enqueue("id")
    old = worker.take()
    if end == "cancelled":
        worker.service.cancel("id")
        worker.bring_to(state, "id")
    else:
        claim = worker.claim(old)
        assert claim is not None
        worker.fail(claim)
        worker.service.retry("id")
    before = worker.job("id")

    backend.store_result(old, None, states.REVOKED)

    assert worker.job("id") == before


@pytest.mark.parametrize("task_id", ["x", "", "1:2:3"])
def test_revoke_of_a_foreign_task_does_nothing(backend: RecordBackend, task_id: str) -> None:
    assert backend.store_result(task_id, "result", states.REVOKED) == "result"


@pytest.mark.parametrize("state", [states.SUCCESS, states.FAILURE, states.RETRY, states.STARTED])
def test_store_result_changes_no_record(worker: PretendWorker, backend: RecordBackend, state: str) -> None:
    worker.bring_to("active", "id")
    before = worker.job("id")

    backend.store_result(worker.task_id("id"), failure(), state)

    assert worker.job("id") == before


def test_backend_uri_has_no_password(service_factory: Any, server: Any) -> None:
    service = service_factory(f"redis://:s3cret@127.0.0.1:{server.port}/0")

    class Backend(RecordBackend):
        @property
        def service(self) -> ManagedQueueService:
            found: ManagedQueueService = service
            return found

    backend = Backend(app=Celery("test", set_as_current=False, fixups=[]))
    assert "s3cret" not in backend.as_uri() + backend.as_uri(include_password=False)
