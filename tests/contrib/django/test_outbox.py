from __future__ import annotations

import functools
import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from tests.contrib.django.conftest import Configure
from tests.contrib.django.site.shop.managed_jobs import SHOP
from xpert_mq import EnqueueResult, InvalidJobError, ManagedQueueService, QueueUnavailableError, request_context
from xpert_mq.contrib.django import outbox
from xpert_mq.contrib.django.models import OutboxJob
from xpert_mq.service import PreparedJob
from xpert_mq.store.store import FORMAT

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


def test_redis_away_is_waited_for_once(
    queue: ManagedQueueService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queue.configure(queue.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/1", "enqueue_timeout": 0.1}))

    def commit(*ids: str) -> int:
        """Gives how many have waited."""
        caplog.clear()
        with transaction.atomic():
            for job_id in ids:
                queue.enqueue(JOB, job_id=job_id, on_commit=True)
        return len(caplog.records)

    assert [commit("a", "b"), commit("c")] == [1, 0]
    monkeypatch.setattr(outbox, "_away_until", {})
    assert commit("d") == 1
    assert kept() == ["a", "b", "c", "d"]


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


def spoiled(text: str, *, job_id: str = "id", envelope: dict[str, Any]) -> str:
    """The text of a job with these parts in place of its own."""
    data = json.loads(text)
    return json.dumps({**data, "jobId": job_id, "envelope": json.dumps({**json.loads(data["envelope"]), **envelope})})


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: "{}", "prepared job"),
        (lambda text: spoiled(text, envelope={"v": FORMAT + 1}), "later release"),
        (lambda text: spoiled(text, envelope={"v": "x"}), ""),
        (lambda text: spoiled(text, envelope={"tenantId": 7}), ""),
        (lambda text: spoiled(text, envelope={"executionPool": "gone"}), "gone"),
        (lambda text: spoiled(text, envelope={}, job_id="\ud800"), "surrogates"),
    ],
    ids=["nothing", "later", "version", "tenant", "pool", "surrogate"],
)
def test_row_that_cannot_be_sent_is_kept_and_holds_up_no_other(
    queue: ManagedQueueService, spoil: Callable[[str], str], reason: str
) -> None:
    keep(queue, "bad", "good")
    row = OutboxJob.objects.get(job_id="bad")
    text, row.text = row.text, spoil(row.text)
    row.save()

    assert outbox.drain("default") == 2
    assert outbox.drain("default") == 0
    assert kept() == ["bad"]
    row.refresh_from_db()
    assert row.error
    assert reason in row.error
    assert queue.get_job("good") is not None

    # One that knows better sends it later.
    OutboxJob.objects.update(text=text, retry_at=timezone.now())
    outbox.drain("default")
    assert kept() == []
    assert queue.get_job("bad") is not None


def test_row_that_still_cannot_be_sent_is_told_once(
    queue: ManagedQueueService, caplog: pytest.LogCaptureFixture
) -> None:
    OutboxJob.objects.create(job_id="broken", text="{}")
    for _ in range(2):
        outbox.drain("default")
        OutboxJob.objects.update(retry_at=timezone.now())

    assert [getattr(one, "action", None) for one in caplog.records] == ["outbox_unsendable"]


def test_database_that_fails_after_the_commit_fails_no_transaction(queue: ManagedQueueService) -> None:
    with closing(sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)) as other:
        with transaction.atomic():
            transaction.on_commit(functools.partial(other.execute, "BEGIN IMMEDIATE"))
            queue.enqueue(JOB, job_id="id", on_commit=True)
            connection.connection.execute("PRAGMA busy_timeout = 1")
        assert queue.get_job("id") is not None
        assert kept() == ["id"]

    assert outbox.drain("default") == 1
    assert kept() == []


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
