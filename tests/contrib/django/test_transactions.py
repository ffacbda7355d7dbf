from __future__ import annotations

import logging
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.test import Client, TestCase

from tests.contrib.django.conftest import Configure
from tests.contrib.django.site.shop.managed_jobs import SHOP
from xpert_mq import EnqueueResult, InvalidJobError, ManagedQueueService, QueueUnavailableError
from xpert_mq.service import managed_queue
from xpert_mq.settings import Settings

JOB = {**SHOP, "job_name": "note"}


class Rollback(Exception):  # noqa: N818 - a way out
    """Ends a transaction."""


def rolled_back() -> Any:
    return pytest.raises(Rollback)


def test_job_is_added_after_the_commit(queue: ManagedQueueService) -> None:
    with transaction.atomic():
        result = queue.enqueue(JOB, job_id="id", on_commit=True)
        assert queue.get_job("id") is None

    assert result == EnqueueResult("id", True, "waiting")
    assert queue.get_job("id") is not None


def test_nothing_is_added_after_a_rollback(queue: ManagedQueueService) -> None:
    with rolled_back(), transaction.atomic():
        queue.enqueue(JOB, job_id="id", on_commit=True)
        raise Rollback

    assert queue.get_job("id") is None


@pytest.mark.parametrize("inner", [True, False])
@pytest.mark.parametrize("outer", [True, False])
def test_nested_blocks(queue: ManagedQueueService, outer: bool, inner: bool) -> None:
    """A job is added if all blocks around it are kept."""
    try:
        with transaction.atomic():
            queue.enqueue(JOB, job_id="outer", on_commit=True)
            try:
                with transaction.atomic():
                    queue.enqueue(JOB, job_id="inner", on_commit=True)
                    if not inner:
                        raise Rollback
            except Rollback:
                pass
            assert queue.get_job("inner") is None
            if not outer:
                raise Rollback
    except Rollback:
        pass

    assert (queue.get_job("outer") is not None, queue.get_job("inner") is not None) == (outer, outer and inner)


def test_outside_of_a_transaction_it_is_added_at_once(queue: ManagedQueueService) -> None:
    queue.enqueue(JOB, job_id="id", on_commit=True)
    with transaction.atomic(using="other"):
        queue.enqueue(JOB, job_id="of default", on_commit=True)
        assert queue.get_job("of default") is not None

    assert queue.get_job("id") is not None


def test_transaction_of_another_database(queue: ManagedQueueService) -> None:
    with transaction.atomic(using="other"):
        with transaction.atomic():
            queue.enqueue(JOB, job_id="id", using="other")
        assert queue.get_job("id") is None

    assert queue.get_job("id") is not None


def test_unknown_database(queue: ManagedQueueService) -> None:
    with pytest.raises(InvalidJobError, match="nowhere") as caught:
        queue.enqueue(JOB, using="nowhere")

    assert caught.value.field == "using"


def test_setting_makes_it_the_default(queue: ManagedQueueService, configure: Configure) -> None:
    configure(ON_COMMIT=True)
    with transaction.atomic():
        queue.enqueue(JOB, job_id="id")
        queue.enqueue_many([{**JOB, "job_id": "one"}, {**JOB, "job_id": "two"}])
        queue.enqueue(JOB, job_id="now", on_commit=False)
        assert [queue.get_job(job_id) is not None for job_id in ("id", "one", "two", "now")] == [False] * 3 + [True]

    assert all(queue.get_job(job_id) for job_id in ("id", "one", "two", "now"))


def test_coroutine_within_a_transaction(queue: ManagedQueueService) -> None:
    """It sees the transaction of the thread that it was called from."""

    async def enqueue() -> None:
        await queue.aenqueue(JOB, job_id="id", on_commit=True)

    with transaction.atomic():
        async_to_sync(enqueue)()
        assert queue.get_job("id") is None

    assert queue.get_job("id") is not None


async def test_coroutine_without_a_transaction(queue: ManagedQueueService) -> None:
    await queue.aenqueue(JOB, job_id="id", on_commit=True)

    assert await queue.aget_job("id") is not None


def test_transactions_by_hand_are_refused_as_django_does(queue: ManagedQueueService) -> None:
    transaction.set_autocommit(False)
    try:
        with pytest.raises(transaction.TransactionManagementError):
            queue.enqueue(JOB, job_id="id", on_commit=True)
    finally:
        transaction.rollback()
        transaction.set_autocommit(True)

    assert queue.get_job("id") is None


def test_conflict_is_logged_and_harms_no_other(queue: ManagedQueueService, caplog: pytest.LogCaptureFixture) -> None:
    queue.enqueue(JOB, job_id="id")
    with transaction.atomic():
        queue.enqueue({**JOB, "job_name": "other"}, job_id="id", on_commit=True)
        queue.enqueue(JOB, job_id="next", on_commit=True)

    assert queue.get_job("next") is not None
    assert [one.levelno for one in caplog.records if getattr(one, "action", "") == "commit_conflict"] == [logging.ERROR]


def test_redis_away_shows_after_the_commit(queue: ManagedQueueService) -> None:
    queue.configure(Settings(redis_url="redis://127.0.0.1:1/0", enqueue_timeout=0.1))

    with pytest.raises(QueueUnavailableError), transaction.atomic():
        queue.enqueue(JOB, on_commit=True)

    assert not connection.in_atomic_block


@pytest.mark.parametrize("fails", [True, False])
def test_view_in_a_transaction(queue: ManagedQueueService, fails: bool) -> None:
    Client().get("/order", {"name": "id", **({"fail": "1"} if fails else {})})

    assert (queue.get_job("id") is None) == fails


@pytest.mark.usefixtures("wired")
class TestWithinDjangosTestCase(TestCase):
    """Its tests run in a transaction that is never committed."""

    databases = frozenset({"default", "other"})

    def test_callbacks_are_captured(self) -> None:
        with self.captureOnCommitCallbacks() as callbacks:
            managed_queue.enqueue(JOB, job_id="id", on_commit=True)

        assert len(callbacks) == 1
        assert managed_queue.get_job("id") is None
        callbacks[0]()
        assert managed_queue.get_job("id") is not None

    def test_callbacks_are_executed(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            managed_queue.enqueue(JOB, job_id="id", on_commit=True)

        assert managed_queue.get_job("id") is not None

    def test_rollback_drops_them(self) -> None:
        with self.captureOnCommitCallbacks(execute=True) as callbacks, rolled_back(), transaction.atomic():
            managed_queue.enqueue(JOB, job_id="id", on_commit=True)
            raise Rollback

        assert callbacks == []
