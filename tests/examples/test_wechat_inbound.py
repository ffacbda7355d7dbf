from __future__ import annotations

import pytest

from examples.wechat import keys
from examples.wechat.batches import Batch, Batches, Status
from examples.wechat.debounce import Debounce
from examples.wechat.messages import InboundRow
from examples.wechat.server import ChatServer
from tests.examples.site import Site, dispatched_texts, message, outcomes
from xpert_mq import request_context
from xpert_mq.locks import AsyncLock


def texts(ids: str) -> list[str]:
    return [f"text of {id_}" for id_ in ids]


def aggregated(site: Site, row: InboundRow) -> bool:
    job = site.queue.get_job(keys.aggregate_id(row))
    return job is not None and job.state == "completed"


def test_several_messages_are_dispatched_together(site: Site, chat: ChatServer) -> None:
    site.connect(chat)
    first = site.receive(*"abcde")
    other = site.receive("x", contact="c2")
    site.all_are("dispatched", [*first, *other])
    second = site.receive(*"fg")
    site.all_are("dispatched", second)

    assert sorted(dispatched_texts(chat)) == [texts("abcde"), texts("fg"), texts("x")]
    assert outcomes(chat) == {"accepted": 3}


def test_two_tenants_with_the_same_ids(site: Site, chat: ChatServer, tenant: str) -> None:
    rows = {}
    for owner in ("first", "second"):
        with request_context(tenant_id=f"{owner}-{tenant}"):
            site.connect(chat, token=owner)
            rows[owner] = site.receive(*"abc")
    for owner, own in rows.items():
        with request_context(tenant_id=f"{owner}-{tenant}"):
            site.all_are("dispatched", own)
        assert dispatched_texts(chat, owner) == [texts("abc")]
    assert outcomes(chat) == {"accepted": 2}


def test_message_delivered_again_is_dropped(site: Site, chat: ChatServer) -> None:
    """By the webhook, and by a job that runs again after it was added."""
    site.connect(chat)
    rows = site.receive(*"ab")
    assert [row.id for row in site.receive(*"ab")] == [row.id for row in rows]
    site.wait(lambda: all(aggregated(site, row) for row in rows), "both to be aggregated")
    assert site.inbound.recover(older_than_ms=0) == 2
    site.all_are("dispatched", rows)

    assert site.receive("a")[0].status == "dispatched"
    assert dispatched_texts(chat) == [texts("ab")]
    assert outcomes(chat) == {"accepted": 1}


def test_row_without_a_job_is_recovered(site: Site, chat: ChatServer) -> None:
    """As a crash between the two leaves it."""
    site.connect(chat)
    rows = [site.rows.add_inbound(message(id_)) for id_ in "ab"]
    assert site.inbound.recover(older_than_ms=60_000) == 0
    assert site.inbound.recover(older_than_ms=0) == 2
    site.all_are("dispatched", rows)
    assert dispatched_texts(chat) == [texts("ab")]


@pytest.mark.parametrize(("status", "requests"), [("pending", 1), ("dispatching", 1), ("dispatched", 0)])
async def test_batch_without_a_flush_is_recovered(site: Site, chat: ChatServer, status: Status, requests: int) -> None:
    """As a crash leaves it: before its flush is enqueued, before it is dispatched, and before its rows say so."""
    site.connect(chat)
    row = site.rows.add_inbound(message("a"))
    async with AsyncLock(keys.inbound_lock(row), plugin_name=keys.PLUGIN, service=site.queue) as lock:
        batch = Batch.begin(row).with_messages([row]).having(status)
        await Batches(site.queue).save(batch, lock, 60_000)

    assert site.inbound.recover(older_than_ms=0) == 1
    site.all_are("dispatched", [row])
    assert [entry.key for entry in chat.taken("/dispatches")] == [batch.id] * requests


async def test_message_that_overtakes_takes_the_earlier_along(site: Site, chat: ChatServer) -> None:
    site.connect(chat, debounce_ms=3_600_000)
    debounce = Debounce(site.queue, site.rows)
    first, second = (site.rows.add_inbound(message(id_)) for id_ in "ab")
    await debounce.aggregate(second.id, second.round)
    batch = await Batches(site.queue).load(first)
    assert batch is not None

    assert await debounce.flush(second.id, batch.id, batch.version) == "2 messages"
    assert await debounce.aggregate(first.id, first.round) == "nothing to do"
    assert dispatched_texts(chat) == [texts("ab")]


def test_dispatch_that_fails_is_pending_again_and_takes_more(site: Site, chat: ChatServer) -> None:
    site.connect(chat, dispatch_backoff_ms=60_000)
    chat.behave(fail=1)
    rows = site.receive(*"ab")
    site.wait(lambda: outcomes(chat)["failed"], "the failure")

    rows += site.receive("c")
    site.all_are("dispatched", rows)
    assert dispatched_texts(chat) == [texts("abc")]


def test_dispatch_that_fails_is_tried_again(site: Site, chat: ChatServer) -> None:
    site.connect(chat)
    chat.behave(fail=2)
    rows = site.receive(*"ab")
    site.all_are("dispatched", rows)
    assert dispatched_texts(chat) == [texts("ab")]
    assert outcomes(chat) == {"failed": 2, "accepted": 1}


def test_dispatch_without_an_answer_goes_out_again_as_it_was(site: Site, chat: ChatServer) -> None:
    """The service may have it: what comes meanwhile is not added, and is not lost."""
    site.connect(chat, dispatch_backoff_ms=60_000)
    chat.behave(lose=1)
    rows = site.receive(*"ab")
    site.wait(lambda: outcomes(chat)["accepted"], "the answer to be lost")

    rows += site.receive("c")
    site.all_are("dispatched", rows)
    assert dispatched_texts(chat) == [texts("ab"), texts("c")]
    assert outcomes(chat) == {"accepted": 2, "duplicate": 1}


def test_refused_dispatch_fails_its_rows(site: Site, chat: ChatServer) -> None:
    site.connect(chat)
    chat.behave(refuse=["text of b"])
    rows = site.receive(*"ab")
    site.all_are("failed", rows)
    assert "refuses it" in str(site.received(rows[0]).reason)
    chat.behave()
    site.all_are("dispatched", site.receive("c"))
    assert dispatched_texts(chat) == [texts("c")]


def test_throttled_dispatch_waits(site: Site, chat: ChatServer) -> None:
    site.connect(chat, dispatch_attempts=1, debounce_ms=50)
    chat.behave(throttle=1, throttle_ms=300)
    rows = site.receive("a") + site.receive("b", contact="c2") + site.receive("c", contact="c3")
    site.all_are("dispatched", rows)
    assert sorted(dispatched_texts(chat)) == [texts("a"), texts("b"), texts("c")]
    assert outcomes(chat)["throttled"]


def test_slow_dispatch_keeps_its_lock_and_later_messages_wait(site: Site, chat: ChatServer) -> None:
    """The service takes twice as long as the lock lives without being renewed."""
    site.connect(chat, lock_ttl_ms=500, debounce_ms=50)
    chat.behave(delay_ms=1000)
    rows = site.receive("a")
    site.wait(lambda: outcomes(chat)["accepted"], "the dispatch")
    rows += site.receive("b")
    site.all_are("dispatched", rows)

    assert dispatched_texts(chat) == [texts("a"), texts("b")]
    assert outcomes(chat) == {"accepted": 2}


async def test_flush_of_an_earlier_version_or_batch_does_nothing(site: Site, chat: ChatServer) -> None:
    """Called without a worker, as in a plugin's unit tests."""
    site.connect(chat, debounce_ms=3_600_000)
    debounce = Debounce(site.queue, site.rows)
    one = site.rows.add_inbound(message("a"))
    for _ in range(2):
        await debounce.aggregate(one.id, one.round)
    two = site.rows.add_inbound(message("b"))
    await debounce.aggregate(two.id, two.round)
    batch = await Batches(site.queue).load(one)
    assert batch is not None
    assert (batch.version, batch.status, batch.row_ids) == (2, "pending", [one.id, two.id])

    for batch_id, version in ((batch.id, 1), (batch.id, 3), ("another", 2)):
        assert await debounce.flush(one.id, batch_id, version) == "nothing to do"
    assert not chat.service.log()
    assert await debounce.flush(one.id, batch.id, 2) == "2 messages"
    assert await debounce.flush(one.id, batch.id, 2) == "nothing to do"
    assert await debounce.aggregate(one.id, one.round) == "nothing to do"
    assert dispatched_texts(chat) == [texts("ab")]
