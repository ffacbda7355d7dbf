"""What happens at the same moment, and messages that come when their job is another one or gone."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Callable

import pytest

from tests.integration.invariants import check_indexes
from tests.integration.pretend import JOB, STATES, PretendWorker, in_threads, steady_node, wait_until
from tests.integration.test_limits import LIMIT, LimitedNode
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.store import Claim

HOUR_MS = 3_600_000


def _claimed(worker: PretendWorker, message: str) -> Claim:
    claim = worker.claim(message)
    assert claim is not None
    return claim


def cancelled(worker: PretendWorker, message: str) -> None:
    assert worker.service.cancel("id").success


def cancelled_between_tries(worker: PretendWorker, message: str) -> None:
    worker.fail_try(_claimed(worker, message), delay_ms=HOUR_MS)
    assert worker.service.cancel("id").success


def cancelled_deferred(worker: PretendWorker, message: str) -> None:
    worker.defer(_claimed(worker, message))
    assert worker.service.cancel("id").success


def cancelled_parked(worker: PretendWorker, message: str) -> None:
    worker.beat(queues=[worker.queue], limits={LIMIT: 1}, handlers=[])
    worker.service.enqueue({**JOB, "job_id": "running"})
    claim = worker.claim_next()
    assert worker.claim(message) is None
    assert worker.service.cancel("id").state == "waiting"
    worker.complete(claim)


def cancelled_taken_back(worker: PretendWorker, message: str) -> None:
    _claimed(worker, message)
    worker.miss_beats()
    assert steady_node(worker.service, "healthy").recover().rerun == [":id"]
    assert worker.service.cancel("id").success
    # It comes back under its id.
    worker.beat(fresh=True)


def cancelled_run_again(worker: PretendWorker, message: str) -> None:
    worker.fail(_claimed(worker, message))
    assert worker.service.retry("id").success
    assert worker.service.cancel("id").success


def removed_completed(worker: PretendWorker, message: str) -> None:
    worker.complete(_claimed(worker, message))


ENDS = (
    cancelled,
    cancelled_between_tries,
    cancelled_deferred,
    cancelled_parked,
    cancelled_taken_back,
    cancelled_run_again,
    removed_completed,
)


@pytest.mark.parametrize("next_state", STATES)
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_stale_messages_miss_the_next_job_of_the_id(
    worker: PretendWorker, end: Callable[[PretendWorker, str], None], next_state: str
) -> None:
    worker.enqueue("id", payload="first", remove_on_complete=True)
    first = worker.take()
    worker.join()
    end(worker, first)
    stale = [first, *(worker.take() for _ in worker.messages())]
    worker.bring_to(next_state, "id", payload="second")
    before, messages = worker.job("id"), worker.messages()

    assert [worker.claim(message) for message in stale] == [None] * len(stale)

    assert worker.job("id") == before
    assert worker.messages() == messages
    if next_state == "waiting":
        assert worker.claim_next().payload == b'"second"'


def _lived_on(worker: PretendWorker, cancelling: threading.Event) -> set[str]:
    """Takes every job through delays, tries and Defers to its end. Gives those that got there."""
    dice, ended = random.Random(7), set()
    while not cancelling.is_set() or worker.promote() != (0, None) or worker.messages():
        worker.promote()
        for _ in worker.messages():
            claim = worker.claim(worker.take())
            what = dice.random()
            # Whoever holds the claim ends its try, whatever is cancelled meanwhile.
            if claim is None:
                continue
            if what < 0.3 and claim.attempts_made < 3:
                assert worker.fail_try(claim, delay_ms=dice.choice([0, 1]))
            elif what < 0.6:
                assert worker.defer(claim, delay_ms=dice.choice([0, 1]))
            else:
                assert worker.complete(claim)
                ended.add(claim.job_id)
    return ended


def test_cancel_races_with_every_step_of_a_life(worker: PretendWorker) -> None:
    """It ends a life between two steps, or is refused, and never both."""
    ids = [f"job-{number}" for number in range(1500)]
    worker.service.enqueue_many(
        [{**JOB, "job_id": job_id, "attempts": 4, "delay_ms": number % 2} for number, job_id in enumerate(ids)]
    )
    removed: set[str] = set()
    ended: set[str] = set()
    cancelling = threading.Event()

    def cancel() -> None:
        for job_id in random.Random(6).sample(ids, 750):
            if worker.service.cancel(job_id).success:
                removed.add(job_id)
        cancelling.set()

    in_threads(cancel, lambda: ended.update(_lived_on(worker, cancelling)))

    assert removed.isdisjoint(ended)
    assert removed | ended == set(ids)
    assert len(removed) > 100
    assert {job_id for job_id in ids if worker.service.get_job(job_id)} == ended


def test_cancel_races_with_the_admission_of_parked_jobs(service: ManagedQueueService) -> None:
    node = LimitedNode(service, limit=2)
    node.tell()
    ids = [f"job-{number}" for number in range(600)]
    service.enqueue_many([{**JOB, "job_id": job_id} for job_id in ids])
    node.work()
    removed: set[str] = set()
    ended: list[str] = []

    def cancel() -> None:
        for job_id in random.Random(6).sample(ids, 300):
            if service.cancel(job_id).success:
                removed.add(job_id)

    def work() -> None:
        while started := node.work(5):
            assert len(started) <= 2
            ended.append(started[0])
            node.end_first()

    in_threads(cancel, work)

    assert removed.isdisjoint(ended)
    assert sorted([*removed, *ended]) == sorted(ids)
    assert len(removed) > 100
    check_indexes(node)


def test_killed_producers_leave_no_job_that_never_runs(worker: PretendWorker) -> None:
    """At whatever instruction: what is recorded has its message, or its due time."""
    dice, counter = random.Random(8), f"{worker.service.settings.prefix}:started"
    # The first enqueue of a process makes the message template, which the children inherit.
    worker.bring_to("completed", "first")
    for producer in range(20):
        pid = os.fork()
        if pid == 0:
            _enqueue_for_ever(worker, producer)
        wait_until(lambda: int(worker.redis.get(counter) or 0) > producer)  # noqa: B023 # waited for in this round
        _spend(worker, dice.randrange(30))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    worker.redis.delete(counter)

    check_indexes(worker)
    waiting = worker.waiting_ids()
    assert len(waiting) > 10
    assert sorted(waiting) == sorted(_recorded(worker, "waiting"))
    assert len(_recorded(worker, "delayed")) > 10
    assert [worker.claim_next().job_id for _ in waiting] == waiting


def _enqueue_for_ever(worker: PretendWorker, producer: int) -> None:
    """In a child process, which must not come back into the test."""
    try:
        worker.service.get_redis().incr(f"{worker.service.settings.prefix}:started")
        for number in range(100_000):
            worker.enqueue(f"{producer}:{number}", delay_ms=number % 2 * HOUR_MS, payload="x" * 1000)
    finally:
        os._exit(1)


def _spend(worker: PretendWorker, reads: int) -> None:
    for _ in range(reads):
        worker.service.get_job("none")


def _recorded(worker: PretendWorker, state: str) -> list[str]:
    found: list[bytes] = worker.redis.zrange(f"{worker.queue}:{state}", 0, -1)  # type: ignore[assignment]
    return [token.decode().partition(":")[2] for token in found]
