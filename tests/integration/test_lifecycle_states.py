"""One job in each state that it can be in, also in those that the five words don't tell apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.integration.invariants import check_indexes
from tests.integration.pretend import PretendWorker, steady_node
from tests.integration.test_limits import LIMIT
from xpert_mq.errors import JobIdConflictError
from xpert_mq.models import CancelResult, JobState

HOUR_MS = 3_600_000


def waiting(worker: PretendWorker, job_id: str, **fields: object) -> None:
    worker.enqueue(job_id, **fields)


def fetched(worker: PretendWorker, job_id: str, **fields: object) -> None:
    worker.enqueue(job_id, **fields)
    assert len(worker.fetch()) == 1


def delayed(worker: PretendWorker, job_id: str, **fields: object) -> None:
    worker.enqueue(job_id, delay_ms=HOUR_MS, **fields)


def promoted(worker: PretendWorker, job_id: str, **fields: object) -> None:
    worker.enqueue(job_id, delay_ms=1, **fields)
    worker.promote_next()


def active(worker: PretendWorker, job_id: str, **fields: object) -> None:
    worker.enqueue(job_id, **fields)
    worker.claim_next()


def between_tries(worker: PretendWorker, job_id: str, **fields: object) -> None:
    worker.enqueue(job_id, attempts=3, **fields)
    worker.fail_try(worker.claim_next(), delay_ms=HOUR_MS)


def between_tries_at_once(worker: PretendWorker, job_id: str, **fields: object) -> None:
    worker.enqueue(job_id, attempts=3, **fields)
    worker.fail_try(worker.claim_next())


def second_try(worker: PretendWorker, job_id: str, **fields: object) -> None:
    between_tries_at_once(worker, job_id, **fields)
    worker.claim_next()


def deferred(worker: PretendWorker, job_id: str, **fields: object) -> None:
    worker.enqueue(job_id, **fields)
    worker.defer(worker.claim_next(), delay_ms=HOUR_MS)


def deferred_at_once(worker: PretendWorker, job_id: str, **fields: object) -> None:
    worker.enqueue(job_id, **fields)
    worker.defer(worker.claim_next())


def _fill_the_limit(worker: PretendWorker) -> None:
    worker.join()
    worker.beat(queues=[worker.queue], limits={LIMIT: 1}, handlers=[])
    worker.enqueue("running")
    worker.claim_next()


def parked(worker: PretendWorker, job_id: str, **fields: object) -> None:
    """By the claim that found the limit reached."""
    _fill_the_limit(worker)
    worker.enqueue(job_id, **fields)
    assert worker.claim(worker.take()) is None


def parked_without_a_message(worker: PretendWorker, job_id: str, **fields: object) -> None:
    """By its enqueue, since another is parked before it."""
    parked(worker, "parked-before")
    worker.enqueue(job_id, **fields)
    assert worker.messages() == []


def taken_back(worker: PretendWorker, job_id: str, **fields: object) -> None:
    worker.enqueue(job_id, **fields)
    worker.claim_next()
    worker.miss_beats()
    assert steady_node(worker.service, "healthy").recover().rerun == [f":{job_id}"]


def completed(worker: PretendWorker, job_id: str, **fields: object) -> None:
    worker.enqueue(job_id, **fields)
    worker.complete(worker.claim_next(), "1")


def failed(worker: PretendWorker, job_id: str, **fields: object) -> None:
    worker.enqueue(job_id, **fields)
    worker.fail(worker.claim_next())


def stalled_out(worker: PretendWorker, job_id: str, **fields: object) -> None:
    worker.enqueue(job_id, **fields)
    worker.claim_next()
    worker.miss_beats()
    assert steady_node(worker.service, "healthy").recover(most_stalls=0).failed == [f":{job_id}"]


def run_again(worker: PretendWorker, job_id: str, **fields: object) -> None:
    failed(worker, job_id, **fields)
    assert worker.service.retry(job_id).success


#: Each way into a state, and the word for it.
WAYS: dict[Callable[..., None], JobState] = {
    waiting: "waiting",
    fetched: "waiting",
    delayed: "delayed",
    promoted: "waiting",
    active: "active",
    between_tries: "delayed",
    between_tries_at_once: "waiting",
    second_try: "active",
    deferred: "delayed",
    deferred_at_once: "waiting",
    parked: "waiting",
    parked_without_a_message: "waiting",
    taken_back: "waiting",
    completed: "completed",
    failed: "failed",
    stalled_out: "failed",
    run_again: "waiting",
}


def _lasting_keys(worker: PretendWorker) -> set[str]:
    keys = worker.store.keys
    return {key for key in worker.all_keys() if not key.startswith((keys.answers, keys.tallies))}


def _check(worker: PretendWorker, way: Callable[..., None]) -> None:
    # Those that are parked have no message, and are in no index of the queue.
    if way not in (parked, parked_without_a_message):
        check_indexes(worker)


EACH_STATE = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@EACH_STATE
def test_enqueue_again_adds_and_changes_nothing(worker: PretendWorker, way: Callable[..., None]) -> None:
    way(worker, "id", payload="first")
    before, messages, keys = worker.job("id"), worker.messages(), _lasting_keys(worker)

    results = [worker.enqueue("id", payload="second", attempts=9, delay_ms=delay) for delay in (None, 5)]

    assert [(one.job_id, one.created, one.state) for one in results] == [("id", False, WAYS[way])] * 2
    with pytest.raises(JobIdConflictError):
        worker.enqueue("id", job_name="other")
    assert worker.enqueue("id", tenant_id="t-2", delay_ms=HOUR_MS).created
    assert worker.service.cancel("id", tenant_id="t-2").success
    assert worker.job("id") == before
    assert worker.messages() == messages
    assert _lasting_keys(worker) == keys
    _check(worker, way)


@EACH_STATE
def test_cancel_removes_what_does_not_run_and_refuses_the_rest(worker: PretendWorker, way: Callable[..., None]) -> None:
    way(worker, "id")
    state, before = WAYS[way], worker.job("id")

    result = worker.service.cancel("id")

    _check(worker, way)
    if state in ("waiting", "delayed"):
        assert result == CancelResult(True, "id", state)
        assert worker.service.get_job("id") is None
        assert worker.service.cancel("id") == CancelResult(False, "id", None, "not_found")
        assert worker.enqueue("id", job_name="other").created
    else:
        assert result == CancelResult(False, "id", state, state)
        assert worker.job("id") == before


@EACH_STATE
def test_retry_takes_only_what_has_failed(worker: PretendWorker, way: Callable[..., None]) -> None:
    way(worker, "id", payload="kept")
    state, before = WAYS[way], worker.job("id")

    result = worker.service.retry("id")

    _check(worker, way)
    if state != "failed":
        assert result == CancelResult(False, "id", state, state)
        assert worker.job("id") == before
        return
    assert result == CancelResult(True, "id", "waiting")
    again = worker.job("id")
    assert (again.state, again.attempts_made, again.data) == ("waiting", 0, "kept")
    assert (again.failed_reason, again.finished_on, again.stacktrace) == (None, None, before.stacktrace)
