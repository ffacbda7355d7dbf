from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.integration.pretend import PretendWorker, in_threads
from xpert_mq.models import CancelResult
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.keys import split_task_id


@pytest.mark.parametrize("state", ["waiting", "delayed"])
def test_cancel_removes_what_has_not_started(any_worker: PretendWorker, state: str) -> None:
    any_worker.bring_to(state, "id")

    assert any_worker.service.cancel("id") == CancelResult(True, "id", state)  # type: ignore[arg-type]

    assert any_worker.service.get_job("id") is None
    assert any_worker.service.cancel("id") == CancelResult(False, "id", None, "not_found")
    assert any_worker.keys_left() == set()


@pytest.mark.parametrize("state", ["active", "completed", "failed"])
def test_cancel_refuses_what_has_started(any_worker: PretendWorker, state: str) -> None:
    any_worker.bring_to(state, "id")
    before = any_worker.job("id")

    assert any_worker.service.cancel("id") == CancelResult(False, "id", state, state)  # type: ignore[arg-type]
    assert any_worker.job("id") == before


def test_cancel_unknown(service: ManagedQueueService) -> None:
    assert service.cancel("id") == CancelResult(False, "id", None, "not_found")
    assert service.cancel({"jobId": "id", "tenantId": "t"}) == CancelResult(False, "id", None, "not_found")


@pytest.mark.parametrize(("backoff", "state"), [(0, "waiting"), (60_000, "delayed")])
def test_cancel_between_tries(worker: PretendWorker, backoff: int, state: str) -> None:
    worker.enqueue("id", attempts=3)
    worker.fail_try(worker.claim_next(), delay_ms=backoff)

    assert worker.service.cancel("id").state == state
    assert worker.keys_left() == set()


def test_cancel_while_a_worker_holds_the_message(any_worker: PretendWorker) -> None:
    any_worker.enqueue("id")
    message = any_worker.take()

    assert any_worker.service.cancel("id").success

    assert any_worker.claim(message) is None


def test_cancel_stale_message_misses_the_next_job_of_the_id(any_worker: PretendWorker) -> None:
    held = []
    for life in range(5):
        any_worker.enqueue("id", payload=life)
        held.append(any_worker.take())
        if life < 4:
            assert any_worker.service.cancel("id").success

    assert [any_worker.claim(message) for message in held[:4]] == [None] * 4
    claim = any_worker.claim(held[4])
    assert claim is not None
    assert claim.payload == b"4"


def test_cancel_stale_message_misses_the_next_delayed_job(worker: PretendWorker) -> None:
    worker.enqueue("id")
    held = worker.take()
    worker.service.cancel("id")
    worker.enqueue("id", delay_ms=60_000)

    assert worker.claim(held) is None
    assert worker.job("id").state == "delayed"


def test_cancel_delayed_is_never_promoted(worker: PretendWorker) -> None:
    worker.enqueue("id", delay_ms=1)
    worker.service.cancel("id")
    worker.enqueue("later", delay_ms=2)

    worker.promote_next()

    assert worker.waiting_ids() == ["later"]


def test_cancel_and_enqueue_repeated_runs_once_with_the_last(worker: PretendWorker) -> None:
    for life in range(10):
        worker.enqueue("id", payload=life, delay_ms=1 if life % 2 else None)
        if life < 9:
            assert worker.service.cancel("id").success
    worker.promote_next()

    claims = [claim for claim in map(worker.claim, _all_messages(worker)) if claim]

    assert [claim.payload for claim in claims] == [b"9"]


def test_cancel_after_retry_of_failed(worker: PretendWorker) -> None:
    worker.bring_to("failed", "id")
    worker.service.retry("id")

    assert worker.service.cancel("id") == CancelResult(True, "id", "waiting")
    assert worker.service.get_job("id") is None


def test_cancel_frees_the_id_for_another_logical_job(worker: PretendWorker) -> None:
    worker.enqueue("id")
    worker.service.cancel("id")

    assert worker.enqueue("id", job_name="other").created


def _all_messages(worker: PretendWorker) -> list[str]:
    return [worker.take() for _ in worker.messages()]


def test_cancel_races_claimin_threads(any_worker: PretendWorker) -> None:
    count = 2000
    ids = [f"job-{number}" for number in range(count)]
    any_worker.service.enqueue_many(
        [{"plugin_name": "p", "queue_name": "q", "job_name": "j", "job_id": job_id} for job_id in ids]
    )
    messages = _all_messages(any_worker)
    cancelled: dict[str, CancelResult] = {}
    claimed: set[str] = set()

    def cancel() -> None:
        for job_id in ids:
            cancelled[job_id] = any_worker.service.cancel(job_id)

    def claim() -> None:
        for message in messages:
            if found := any_worker.claim(message):
                claimed.add(found.job_id)

    in_threads(cancel, claim)

    assert claimed.isdisjoint(job_id for job_id in ids if cancelled[job_id].success)
    assert {(result.success, result.state, result.reason) for result in cancelled.values()} <= {
        (True, "waiting", None),
        (False, "active", "active"),
    }
    for job_id in ids:
        assert cancelled[job_id].success is (job_id not in claimed)


def test_cancel_races_claim_in_processes(worker: PretendWorker) -> None:
    ids = [f"job-{number}" for number in range(1000)]
    worker.service.enqueue_many(
        [{"plugin_name": "p", "queue_name": "q", "job_name": "j", "job_id": job_id} for job_id in ids]
    )
    messages = _all_messages(worker)

    pid = os.fork()
    if pid == 0:
        try:
            done = all(_cancelled_or_active(worker.service.cancel(job_id)) for job_id in reversed(ids))
            os._exit(0 if done else 1)
        finally:
            os._exit(2)
    claimed = [message for message in messages if worker.claim(message)]
    _, status = os.waitpid(pid, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    left = [job_id for job_id in ids if worker.service.get_job(job_id)]
    assert sorted(split_task_id(message)[0].partition(":")[2] for message in claimed) == sorted(left)


def _cancelled_or_active(result: CancelResult) -> bool:
    return result.success or result.reason == "active"


def test_cancel_races_enqueue_of_the_same_id(worker: PretendWorker) -> None:
    """Each created job is cancelled once, or is there in the end."""
    created = [0, 0]
    cancelled = 0

    def enqueue(place: int) -> Callable[[], None]:
        def run() -> None:
            for _ in range(300):
                created[place] += worker.enqueue("id").created

        return run

    def cancel() -> None:
        nonlocal cancelled
        for _ in range(600):
            cancelled += worker.service.cancel("id").success

    in_threads(enqueue(0), enqueue(1), cancel)

    left = worker.service.get_job("id") is not None
    assert sum(created) == cancelled + left
    assert len([claim for claim in map(worker.claim, _all_messages(worker)) if claim]) == left
