from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connections, transaction

from tests.contrib.django.conftest import Configure
from tests.contrib.django.site.shop.managed_jobs import SHOP
from xpert_mq import EnqueueResult, InvalidJobError, ManagedQueueService, QueueUnavailableError, request_context
from xpert_mq.contrib.django import outbox
from xpert_mq.contrib.django.models import OutboxJob
from xpert_mq.service import PreparedJob
from xpert_mq.settings import Settings

JOB = {**SHOP, "job_name": "note", "payload": {"name": "n"}}


@pytest.fixture(autouse=True)
def with_outbox(configure: Configure) -> None:
    configure(OUTBOX=["default", "other"])


def kept(alias: str = "default") -> list[str]:
    return list(OutboxJob.objects.using(alias).order_by("pk").values_list("job_id", flat=True))


def keep(queue: ManagedQueueService, *ids: str, alias: str = "default", **fields: Any) -> None:
    """Commits jobs, and ends before they are sent."""
    taken: list[PreparedJob] = []
    before, queue.commit_hook = queue.commit_hook, Taking(taken)
    for job_id in ids:
        queue.enqueue(JOB, job_id=job_id, on_commit=True, **fields)
    queue.commit_hook = before
    with transaction.atomic(using=alias):
        outbox.write(taken, alias)


class Taking:
    """Takes all, and sends nothing."""

    by_default = False

    def __init__(self, taken: list[PreparedJob]) -> None:
        self._taken = taken

    def __call__(self, jobs: Any, using: str | None) -> bool:
        self._taken += jobs
        return True


def test_job_is_kept_with_the_transaction_and_gone_when_it_is_sent(queue: ManagedQueueService) -> None:
    with transaction.atomic():
        assert queue.enqueue(JOB, job_id="id", on_commit=True) == EnqueueResult("id", True, "waiting")
        assert kept() == ["id"]

    assert kept() == []
    assert queue.get_job("id") is not None


def test_rollback_leaves_nothing(queue: ManagedQueueService) -> None:
    with transaction.atomic():
        queue.enqueue(JOB, job_id="id", on_commit=True)
        transaction.set_rollback(True)

    assert kept() == []
    assert queue.get_job("id") is None


def test_without_a_transaction_nothing_is_written(queue: ManagedQueueService) -> None:
    queue.enqueue(JOB, job_id="id", on_commit=True)

    assert kept() == []
    assert queue.get_job("id") is not None


def test_other_databases_have_their_own(queue: ManagedQueueService) -> None:
    with transaction.atomic(using="other"):
        queue.enqueue(JOB, job_id="id", using="other")
        assert (kept(), kept("other")) == ([], ["id"])

    assert kept("other") == []
    assert queue.get_job("id") is not None


def test_database_without_one_is_refused(queue: ManagedQueueService, configure: Configure) -> None:
    configure(OUTBOX=True)

    with transaction.atomic(using="other"), pytest.raises(InvalidJobError, match="has no outbox"):
        queue.enqueue(JOB, using="other")


def test_redis_away_keeps_the_jobs_for_later(queue: ManagedQueueService) -> None:
    settings = queue.settings
    queue.configure(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0", "enqueue_timeout": 0.1}))
    with transaction.atomic():
        queue.enqueue_many([{**JOB, "job_id": "one"}, {**JOB, "job_id": "two"}], on_commit=True)
    with pytest.raises(QueueUnavailableError):
        outbox.drain("default")
    assert kept() == ["one", "two"]

    queue.configure(settings)

    assert outbox.drain("default") == 2
    assert kept() == []
    assert all(queue.get_job(job_id) for job_id in ("one", "two"))


def test_drain_sends_the_oldest_first_and_what_is_old_enough(queue: ManagedQueueService) -> None:
    keep(queue, "a", "b", "c")

    assert outbox.drain("default", older_than=60) == 0
    assert outbox.drain("default", limit=2) == 2
    assert kept() == ["c"]
    assert queue.get_job("b") is not None
    assert queue.get_job("c") is None


def test_drain_keeps_owner_and_options(queue: ManagedQueueService) -> None:
    with request_context("t", "o", "u"):
        keep(queue, "id", attempts=4, delay_ms=60_000)

    outbox.drain("default")

    job = queue.get_job("id", tenant_id="t")
    assert job is not None
    assert (job.organization_id, job.user_id, job.opts.attempts, job.state) == ("o", "u", 4, "delayed")


def test_job_that_was_sent_before_the_crash_is_added_once(queue: ManagedQueueService) -> None:
    keep(queue, "id")
    PreparedJob.from_text(OutboxJob.objects.get().text).send()
    messages: Any = queue.get_redis()
    before = messages.llen(queue.settings.queue_name())

    outbox.drain("default")

    assert (before, messages.llen(queue.settings.queue_name())) == (1, 1)
    assert kept() == []


def test_row_that_cannot_be_sent_is_kept_with_its_reason(queue: ManagedQueueService) -> None:
    OutboxJob.objects.create(job_id="broken", text="{}")
    keep(queue, "id")

    assert outbox.drain("default") == 2
    assert outbox.drain("default") == 0
    assert kept() == ["broken"]
    assert "prepared job" in OutboxJob.objects.get().error
    assert queue.get_job("id") is not None


def test_conflict_ends_the_row(queue: ManagedQueueService, caplog: pytest.LogCaptureFixture) -> None:
    keep(queue, "id")
    queue.enqueue({**JOB, "job_name": "other"}, job_id="id")

    outbox.drain("default")

    assert kept() == []
    assert "commit_conflict" in [getattr(one, "action", None) for one in caplog.records]


def test_drains_side_by_side_add_each_job_once(queue: ManagedQueueService) -> None:
    ids = [f"id-{number}" for number in range(30)]
    keep(queue, *ids)

    def drain() -> None:
        try:
            while outbox.drain("default", limit=5):
                pass
        finally:
            connections.close_all()

    threads = [threading.Thread(target=drain) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    client: Any = queue.get_redis()
    assert kept() == []
    assert client.llen(queue.settings.queue_name()) == len(ids)


def test_id_with_a_nul_can_be_kept(queue: ManagedQueueService) -> None:
    keep(queue, "a\0b")

    outbox.drain("default")

    assert queue.get_job("a\0b") is not None


def test_settings_of_the_pool_are_those_of_the_drain(queue: ManagedQueueService, settings: Settings) -> None:
    keep(queue, "id", execution_pool="sandbox-browser")
    queue.configure(settings.model_copy(update={"pools": ("default",)}))

    outbox.drain("default")

    assert "sandbox-browser" in OutboxJob.objects.get().error
