from __future__ import annotations

from typing import Any

import pytest

from tests.integration.pretend import JOB, PretendWorker, wait_until
from xpert_mq.store.keys import job_token

YEAR_MS = 366 * 24 * 3600 * 1000


def test_delay_is_by_the_server_clock_and_never_early(any_worker: PretendWorker) -> None:
    """The hand-out is found by looking without a break; it must not be there before the job is due."""
    for number in range(20):
        before = any_worker.server_ms()
        any_worker.enqueue(f"job-{number}", delay_ms=7)
        any_worker.promote_next()
        waited = any_worker.server_ms() - before

        claim = any_worker.claim_next()
        job = any_worker.job(claim.job_id)
        assert job.processed_on is not None
        assert job.processed_on >= job.timestamp + 7
        assert waited >= 6


def test_delay_never_early_to_the_microsecond(worker: PretendWorker) -> None:
    """Whole milliseconds are the server's unit here; a part of one must not be cut off the delay."""
    shortest = 1e9
    for number in range(60):
        before = worker.server_ms()
        worker.enqueue(f"job-{number}", delay_ms=3)
        count = 0
        while not count:
            count, _ = worker.promote()
            after = worker.server_ms()
        shortest = min(shortest, after - before)

    assert shortest >= 3


def test_delay_promote_tells_when_the_next_is_due(any_worker: PretendWorker) -> None:
    assert any_worker.promote() == (0, None)
    any_worker.enqueue(delay_ms=60_000)
    count, wait = any_worker.promote()
    assert count == 0
    assert wait is not None
    assert 59_000 < wait <= 60_001
    any_worker.enqueue(delay_ms=20_000)
    assert (any_worker.promote()[1] or 0) <= 20_001


@pytest.mark.parametrize("delay_ms", [10 * YEAR_MS, 100 * YEAR_MS])
def test_delay_of_years_stays_exact(any_worker: PretendWorker, delay_ms: int) -> None:
    any_worker.enqueue("first", delay_ms=delay_ms)
    any_worker.enqueue("second", delay_ms=delay_ms)

    scores = _delayed(any_worker)
    assert [token for token, _ in scores] == [job_token(None, "first"), job_token(None, "second")]
    for job_id, (_, score) in zip(("first", "second"), scores, strict=True):
        assert 0 <= score - any_worker.job(job_id).timestamp - delay_ms < 2
    assert any_worker.promote()[0] == 0


def _delayed(worker: PretendWorker) -> list[tuple[str, float]]:
    found: Any = worker.redis.zrange(f"{worker.queue}:delayed", 0, -1, withscores=True)
    return [(token.decode(), score) for token, score in found]


def test_delay_equal_due_times_keep_their_order(any_worker: PretendWorker) -> None:
    # Names that sort backwards, so that no order of names can pass for the order of time.
    ids = [f"{999 - number}" for number in range(500)]
    any_worker.service.enqueue_many([{**JOB, "job_id": job_id, "delay_ms": 30} for job_id in ids])
    wait_until(lambda: any_worker.promote(0)[1] == 0)

    wait_until(lambda: any_worker.promote(70) and len(any_worker.messages()) == len(ids))

    assert any_worker.waiting_ids() == ids


def test_delay_due_earlier_goes_first_whatever_the_order_added(any_worker: PretendWorker) -> None:
    for delay_ms in (40, 10, 30, 20):
        any_worker.enqueue(f"{delay_ms}", delay_ms=delay_ms)
    wait_until(lambda: any_worker.promote(0)[1] == 0)

    wait_until(lambda: any_worker.promote() and len(any_worker.messages()) == 4)

    assert any_worker.waiting_ids() == ["10", "20", "30", "40"]


def test_delay_promote_in_batches(any_worker: PretendWorker) -> None:
    any_worker.service.enqueue_many([{**JOB, "job_id": str(number), "delay_ms": 1} for number in range(25)])
    # All are due once one that is due later is.
    any_worker.enqueue("last", delay_ms=5)
    wait_until(lambda: any_worker.server_ms() > any_worker.job("last").timestamp + 6)

    assert [any_worker.promote(10)[0] for _ in range(4)] == [10, 10, 6, 0]
    assert any_worker.promote(10) == (0, None)
    assert len(any_worker.messages()) == 26


def test_delay_promoted_goes_behind_those_that_wait(worker: PretendWorker) -> None:
    worker.enqueue("delayed", delay_ms=1)
    worker.enqueue("waiting")
    worker.promote_next()

    assert worker.waiting_ids() == ["waiting", "delayed"]


def test_delay_promoted_twice_is_handed_out_once(worker: PretendWorker) -> None:
    worker.enqueue("id", delay_ms=1)
    worker.promote_next()

    assert worker.promote() == (0, None)
    assert len(worker.messages()) == 1


def test_delay_promoted_in_its_own_pool(worker: PretendWorker) -> None:
    queue = worker.service.settings.queue_name("sandbox-browser")
    worker.enqueue("id", delay_ms=1, execution_pool="sandbox-browser")
    wait_until(lambda: worker.run(worker.store.promote(queue, 10))[0])

    assert worker.messages() == []
    assert worker.claim_next(queue).job_id == "id"


def test_delay_publish_wakes_for_an_earlier_due_time(any_worker: PretendWorker) -> None:
    subscription = any_worker.redis.pubsub(ignore_subscribe_messages=True)
    try:
        subscription.subscribe(any_worker.store.keys.due)
        wait_until(lambda: subscription.get_message(timeout=0.01) is None and subscription.subscribed)

        def heard() -> list[int]:
            any_worker.redis.publish(any_worker.store.keys.due, "end")
            due = []
            while (message := wait_until(lambda: subscription.get_message(timeout=1)))["data"] != b"end":
                due.append(int(message["data"]))
            return due

        any_worker.enqueue("a", delay_ms=60_000)
        assert heard()[0] - any_worker.job("a").timestamp - 60_000 in (0, 1)
        any_worker.enqueue("later", delay_ms=90_000)
        any_worker.enqueue("now")
        assert heard() == []
        any_worker.enqueue("earlier", delay_ms=30_000)
        assert heard()[0] - any_worker.job("earlier").timestamp - 30_000 in (0, 1)
        any_worker.fail_try(any_worker.claim_next(), delay_ms=500)
        assert len(heard()) == 1
    finally:
        subscription.close()


def test_delay_waiting_job_wakes_an_idle_worker(worker: PretendWorker) -> None:
    wake = f"{worker.queue}:wake"
    for hand_out in (
        lambda: worker.enqueue("a"),
        lambda: worker.fail_try(worker.claim_next()),
        lambda: worker.fail(worker.claim_next()),
        lambda: worker.service.retry("a"),
    ):
        worker.redis.delete(wake)
        hand_out()
        assert worker.redis.exists(wake) == (0 if worker.messages() == [] else 1)
    worker.redis.delete(wake)
    worker.enqueue("b", delay_ms=1)
    assert not worker.redis.exists(wake)
    worker.promote_next()
    assert worker.redis.exists(wake)
