from __future__ import annotations

import pytest

from tests.integration.pretend import PretendWorker


def test_claim_gives_the_job(any_worker: PretendWorker) -> None:
    any_worker.enqueue("id", payload={"a": [1]}, attempts=3, backoff_ms=5, tenant_id="t", scope_key="s")

    claim = any_worker.claim_next()

    assert (claim.job_id, claim.payload, claim.attempts_made, claim.stacks) == ("id", b'{"a":[1]}', 0, ())
    assert (claim.envelope.tenant_id, claim.envelope.scope_key) == ("t", "s")
    assert (claim.opts.attempts, claim.opts.backoff_ms) == (3, {"type": "fixed", "delay": 5})
    assert any_worker.job("id", "t").state == "active"


def test_claim_twice_with_one_message(any_worker: PretendWorker) -> None:
    any_worker.enqueue("id")
    message = any_worker.take()

    assert any_worker.claim(message) is not None
    assert any_worker.claim(message) is None


def test_claim_with_messages_of_earlier_tries(any_worker: PretendWorker) -> None:
    any_worker.enqueue("id", attempts=5)
    first = any_worker.take()
    claim = any_worker.claim(first)
    assert claim is not None
    any_worker.fail_try(claim)

    assert any_worker.claim(first) is None
    second = any_worker.claim_next()
    assert second.attempts_made == 1
    assert any_worker.claim(first) is None


@pytest.mark.parametrize("task_id", [":none:1", "1:t:id:99", ":id:0", ":id:999999999999"])
def test_claim_of_what_is_not_there(worker: PretendWorker, task_id: str) -> None:
    worker.enqueue("id")

    assert worker.claim(task_id) is None


def test_claim_of_delayed_finds_nothing(worker: PretendWorker) -> None:
    worker.enqueue("id", delay_ms=60_000)

    assert worker.claim(worker.task_id("id")) is None


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_claim_of_finished_finds_nothing(worker: PretendWorker, end: str) -> None:
    worker.bring_to(end, "id")

    assert worker.claim(worker.task_id("id")) is None


def test_queue_is_first_in_first_out(any_worker: PretendWorker) -> None:
    ids = [f"job-{number}" for number in range(300)]
    for job_id in ids:
        any_worker.enqueue(job_id)

    assert [any_worker.claim_next().job_id for _ in ids] == ids


def test_retry_without_backoff_goes_to_the_back(any_worker: PretendWorker) -> None:
    for job_id in "abc":
        any_worker.enqueue(job_id, attempts=2)
    any_worker.fail_try(any_worker.claim_next())

    assert [any_worker.claim_next().job_id for _ in range(3)] == ["b", "c", "a"]


def test_retry_with_backoff_counts_from_the_end_of_the_try(any_worker: PretendWorker) -> None:
    any_worker.enqueue("id", attempts=2)
    claim = any_worker.claim_next()
    ended = any_worker.server_ms()
    any_worker.fail_try(claim, delay_ms=50)
    assert any_worker.job("id").state == "delayed"

    any_worker.promote_next()

    assert any_worker.server_ms() >= int(ended) + 50
    assert any_worker.claim_next().attempts_made == 1


def test_attempts_made_counts_ended_tries(any_worker: PretendWorker) -> None:
    any_worker.enqueue("id", attempts=3)
    seen = []
    for ended in range(3):
        assert any_worker.job("id").attempts_made == ended
        claim = any_worker.claim_next()
        assert any_worker.job("id").attempts_made == ended
        seen.append(claim.attempts_made)
        assert any_worker.fail(claim) if ended == 2 else any_worker.fail_try(claim)

    assert seen == [0, 1, 2]
    assert any_worker.job("id").attempts_made == 3


def test_attempts_made_of_completed_is_one(worker: PretendWorker) -> None:
    worker.bring_to("completed", "id")

    assert worker.job("id").attempts_made == 1


def test_failed_reason_is_there_between_and_during_tries(any_worker: PretendWorker) -> None:
    any_worker.enqueue("id", attempts=4)
    assert any_worker.job("id").failed_reason is None
    any_worker.fail_try(any_worker.claim_next(), "first")
    assert any_worker.job("id").failed_reason == "first"
    any_worker.fail_try(any_worker.claim_next(), "second ünï", delay_ms=1)
    assert any_worker.job("id").failed_reason == "second ünï"
    any_worker.promote_next()
    claim = any_worker.claim_next()
    assert any_worker.job("id").failed_reason == "second ünï"

    any_worker.complete(claim)

    job = any_worker.job("id")
    assert (job.state, job.failed_reason) == ("completed", "second ünï")
    assert job.stacktrace == ["Traceback: first", "Traceback: second ünï"]


def test_failed_reason_may_be_empty(worker: PretendWorker) -> None:
    worker.enqueue("id")
    worker.fail(worker.claim_next(), "")

    assert worker.job("id").state == "failed"
    assert not worker.job("id").failed_reason


def test_stacktrace_keeps_the_last_ten(any_worker: PretendWorker) -> None:
    any_worker.enqueue("id", attempts=14)
    for number in range(13):
        any_worker.fail_try(any_worker.claim_next(), str(number))
    any_worker.fail(any_worker.claim_next(), "13")

    assert any_worker.job("id").stacktrace == [f"Traceback: {number}" for number in range(4, 14)]


@pytest.mark.parametrize("delay_ms", [0, 1])
def test_defer_spends_no_attempt(any_worker: PretendWorker, delay_ms: int) -> None:
    any_worker.enqueue("id", attempts=1)
    any_worker.enqueue("next")
    for _ in range(3):
        claim = any_worker.claim_next()
        if claim.job_id == "next":
            claim = any_worker.claim_next()
        assert claim.attempts_made == 0
        assert any_worker.defer(claim, delay_ms)
        job = any_worker.job("id")
        assert (job.state, job.attempts_made) == ("delayed" if delay_ms else "waiting", 0)
        assert (job.failed_reason, job.stacktrace) == (None, [])
        if delay_ms:
            any_worker.promote_next()

    assert any_worker.complete(any_worker.claim_next())


def test_defer_after_failure_keeps_what_failed(worker: PretendWorker) -> None:
    worker.enqueue("id", attempts=3)
    worker.fail_try(worker.claim_next(), "first")
    worker.defer(worker.claim_next())

    claim = worker.claim_next()
    assert (claim.attempts_made, claim.stacks) == (1, ("Traceback: first",))
    assert worker.job("id").failed_reason == "first"


def test_checkpoint_is_seen_at_once_and_by_the_next_try(any_worker: PretendWorker) -> None:
    any_worker.enqueue("id", payload={"step": 0}, attempts=2)
    claim = any_worker.claim_next()

    assert any_worker.checkpoint(claim, '{"step":1}')
    assert any_worker.job("id").data == {"step": 1}
    any_worker.fail_try(claim)
    second = any_worker.claim_next()
    assert second.payload == b'{"step":1}'
    assert any_worker.checkpoint(second, "null")
    any_worker.fail(second)
    assert any_worker.job("id").data is None
    any_worker.service.retry("id")
    assert any_worker.claim_next().payload == b"null"


FINISHERS = ("complete", "fail", "fail_try", "defer", "checkpoint")


def _finish(worker: PretendWorker, claim: object, how: str) -> bool:
    more = ("1",) if how == "checkpoint" else ()
    return bool(getattr(worker, how)(claim, *more))


@pytest.mark.parametrize("late", FINISHERS)
@pytest.mark.parametrize("first", ["complete", "fail", "fail_try", "defer"])
def test_finisher_after_the_end_changes_nothing(any_worker: PretendWorker, first: str, late: str) -> None:
    any_worker.enqueue("id", payload=0, attempts=2)
    claim = any_worker.claim_next()
    assert _finish(any_worker, claim, first)
    before, messages = any_worker.job("id"), any_worker.messages()

    done = _finish(any_worker, claim, late)

    # The same call again is told that it is done; it must not act again.
    again = first == late or {first, late} == {"fail_try", "defer"}
    assert done is False or again
    assert any_worker.job("id") == before
    assert any_worker.messages() == messages


@pytest.mark.parametrize("late", FINISHERS)
@pytest.mark.parametrize("next_state", ["waiting", "delayed", "active", "completed", "failed", "gone"])
def test_finisher_of_an_earlier_life_is_refused(any_worker: PretendWorker, next_state: str, late: str) -> None:
    any_worker.enqueue("id", payload=0, remove_on_complete=True)
    old = any_worker.claim_next()
    any_worker.complete(old)
    if next_state != "gone":
        any_worker.bring_to(next_state, "id", payload=1, remove_on_complete=False)
    before, messages = any_worker.service.get_job("id"), any_worker.messages()

    assert _finish(any_worker, old, late) is False
    assert any_worker.service.get_job("id") == before
    assert any_worker.messages() == messages


@pytest.mark.parametrize("late", FINISHERS)
def test_finisher_of_an_earlier_try_is_refused(any_worker: PretendWorker, late: str) -> None:
    any_worker.enqueue("id", payload=0, attempts=3)
    old = any_worker.claim_next()
    any_worker.fail_try(old)
    any_worker.claim_next()
    before = any_worker.job("id")

    assert _finish(any_worker, old, late) is False
    assert any_worker.job("id") == before


@pytest.mark.parametrize("late", FINISHERS)
def test_finisher_after_rerun_is_refused(any_worker: PretendWorker, late: str) -> None:
    old = any_worker.bring_to("failed", "id", payload=0)
    any_worker.service.retry("id")
    before, messages = any_worker.job("id"), any_worker.messages()

    assert _finish(any_worker, old, late) is False
    assert any_worker.job("id") == before
    assert any_worker.messages() == messages
