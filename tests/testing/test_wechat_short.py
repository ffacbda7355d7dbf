"""The wechat plugin's handlers, tested as its author would: no worker, no sleep, real Redis and a real service."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.wechat import handlers, keys
from examples.wechat.inbound import Inbound
from examples.wechat.messages import Message, OutboundRow
from examples.wechat.outbound import Outbound
from examples.wechat.rows import Rows
from examples.wechat.server import ChatServer
from examples.wechat.settings import Integration, get_settings
from xpert_mq import ManagedQueueService, PluginContext, registry
from xpert_mq.testing import EnqueuedJobs, JobRun, QueueKit, assert_scoped, no_bytes

RunJobs = Callable[..., list[JobRun]]
Advance = Callable[[int], None]

HELLO = Message("main", "alice", "bob", "m-1", "Hello")


@pytest.fixture(autouse=True)
def rows(
    managed_queue: ManagedQueueService,
    use_context: Callable[..., Any],
    chat: ChatServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Rows]:
    """The plugin with a database of its own, and the tenant acme, which has an integration."""
    monkeypatch.setenv("WECHAT_DATABASE", str(tmp_path / "wechat.sqlite3"))
    get_settings.cache_clear()
    for handler in (handlers.SendMessage, handlers.AggregateInbound, handlers.FlushInbound):
        registry.register_processor(handler(PluginContext(keys.PLUGIN)))
    use_context(tenant_id="acme", organization_id="hq")
    rows = Rows(get_settings().database)
    rows.save_integration(Integration(id="main", url=chat.url, token="token"))
    yield rows
    get_settings.cache_clear()


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture
def outbound(managed_queue: ManagedQueueService, rows: Rows) -> Outbound:
    return Outbound(managed_queue, rows)


@pytest.fixture
def hello(outbound: Outbound) -> OutboundRow:
    return outbound.send(HELLO)


def status(rows: Rows, row: OutboundRow) -> str:
    found = rows.outbound(row.id)
    assert found is not None
    return found.status


def outcomes(chat: ChatServer) -> Counter[str]:
    return Counter(entry.outcome for entry in chat.service.log())


def test_message_is_sent(
    hello: OutboundRow,
    rows: Rows,
    chat: ChatServer,
    enqueued: EnqueuedJobs,
    run_jobs: RunJobs,
    managed_queue: ManagedQueueService,
) -> None:
    job = enqueued(job_name=keys.SEND, payload={"row": hello.id, "round": 1}, tenant_id="acme", attempts=4)
    assert no_bytes(job.data)
    assert [run.result for run in run_jobs()] == ["sent"]
    assert status(rows, hello) == "sent"
    assert outcomes(chat) == {"accepted": 1}
    assert_scoped(managed_queue.get_redis())


def test_service_that_fails_is_asked_again_after_a_minute(
    hello: OutboundRow, rows: Rows, chat: ChatServer, run_jobs: RunJobs, advance: Advance
) -> None:
    chat.behave(fail=1)
    assert [run.outcome for run in run_jobs()] == ["retry"]
    advance(59_000)
    assert run_jobs() == []
    advance(1_000)
    assert [run.outcome for run in run_jobs()] == ["completed"]
    assert status(rows, hello) == "sent"
    assert outcomes(chat) == {"failed": 1, "accepted": 1}


def test_second_message_to_a_contact_waits_its_turn(
    hello: OutboundRow, outbound: Outbound, rows: Rows, run_jobs: RunJobs, advance: Advance
) -> None:
    second = outbound.send(Message("main", "alice", "bob", "m-2", "Again"))
    assert [run.outcome for run in run_jobs()] == ["completed", "deferred"]
    advance(60_000)
    assert [run.outcome for run in run_jobs()] == ["completed"]
    assert (status(rows, hello), status(rows, second)) == ("sent", "sent")


def test_worker_that_dies_after_the_request_sends_it_again_under_the_same_key(
    hello: OutboundRow,
    rows: Rows,
    chat: ChatServer,
    run_jobs: RunJobs,
    advance: Advance,
    queue_kit: QueueKit,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as broken:

        def die(*_: object) -> None:
            assert status(rows, hello) == "sending"
            broken.undo()
            queue_kit.crash()

        broken.setattr(Rows, "sent", die)
        assert run_jobs()[0].outcome == "crashed"
    advance(60_000)
    run_jobs()
    assert status(rows, hello) == "sent"
    assert [(entry.outcome, entry.key) for entry in chat.service.log()] == [
        ("accepted", hello.id),
        ("duplicate", hello.id),
    ]


def test_outcome_that_is_lost_sends_nothing_again(
    hello: OutboundRow, chat: ChatServer, run_jobs: RunJobs, queue_kit: QueueKit
) -> None:
    queue_kit.crash_after_handler()
    assert [(run.outcome, run.result) for run in run_jobs()] == [("crashed", None), ("completed", "nothing to do")]
    assert outcomes(chat) == {"accepted": 1}


def test_cancelled_message_is_not_sent_even_by_a_stale_wake_up(
    hello: OutboundRow, outbound: Outbound, chat: ChatServer, run_jobs: RunJobs, queue_kit: QueueKit
) -> None:
    assert outbound.cancel(hello.id)
    queue_kit.deliver_stale(keys.send_id(hello), "acme")
    assert run_jobs() == []
    assert outcomes(chat) == {}


def test_messages_that_come_together_are_dispatched_together(
    managed_queue: ManagedQueueService, rows: Rows, chat: ChatServer, run_jobs: RunJobs, advance: Advance
) -> None:
    inbound = Inbound(managed_queue, rows)
    for number, text in enumerate(("Hello", "How are you?")):
        inbound.receive(Message("main", "alice", "bob", f"in-{number}", text))
        run_jobs()
        advance(1_000)
    assert not list(chat.taken("/dispatches"))
    advance(3_000)
    run_jobs()
    assert [entry.content["texts"] for entry in chat.taken("/dispatches")] == [["Hello", "How are you?"]]
