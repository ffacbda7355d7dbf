"""The plugin's worker is killed, or stands still, in the middle of a send and of a flush.

The platform runs again what the worker held, when it counts as dead. The plugin can also recover by its own rows, at
any time and sooner.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from examples.wechat import keys
from examples.wechat.batches import Batches
from examples.wechat.debounce import Debounce
from examples.wechat.messages import InboundRow, OutboundRow
from examples.wechat.sending import Sending
from examples.wechat.server import ChatServer
from tests.examples.site import Site, dispatched_texts, message, outcomes, sent_ids
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.locks import Lock, LockLostError


@pytest.fixture
def crash_site(server: EmbeddedServer, tmp_path: Path) -> Iterator[Site]:
    """A platform whose workers the test starts and kills."""
    beats = {"XPERT_MQ_HEARTBEAT_INTERVAL": "0.3", "XPERT_MQ_NODE_TIMEOUT": "1.5"}
    site = Site(server, tmp_path, **beats)
    with closing(site.deployment):
        yield site


def kill_in_the_middle(site: Site, chat: ChatServer, where: str) -> tuple[list[OutboundRow], list[InboundRow]]:
    """Kills the worker while the service has a message and a dispatch in its hands: before it takes them, or after."""
    site.connect(chat, lock_ttl_ms=500, debounce_ms=50, contact_interval_ms=0)
    gate = chat.service.before if where == "before" else chat.service.after
    gate.clear()
    worker = site.deployment.worker()
    outbound = site.send(*"abcdef")
    inbound = site.receive(*"xyz")
    site.wait(lambda: {"/messages", "/dispatches"} <= set(chat.service.arrived), "both to be at the service")
    if where == "after":
        site.wait(lambda: outcomes(chat)["accepted"] == 2, "both to be taken")
    later = site.receive("later")
    worker.process.kill("SIGKILL")
    gate.set()
    assert site.statuses(outbound)["sending"] == 1
    assert site.statuses(inbound) == {"received": 3}
    return outbound, [*inbound, *later]


@pytest.mark.parametrize("where", ["before", "after"])
def test_killed_in_the_middle_all_is_sent_once(crash_site: Site, chat: ChatServer, where: str) -> None:
    site = crash_site
    outbound, inbound = kill_in_the_middle(site, chat, where)

    assert site.outbound.recover(older_than_ms=0) > 0
    assert site.inbound.recover(older_than_ms=0) > 0
    site.deployment.worker()
    site.all_are("sent", outbound)
    site.all_are("dispatched", inbound)

    assert sorted(sent_ids(chat.taken())) == list("abcdef")
    texts = [text for batch in dispatched_texts(chat) for text in batch]
    assert sorted(texts) == ["text of later", "text of x", "text of y", "text of z"]
    # What the service had taken before the kill, it was asked again.
    assert outcomes(chat)["gone" if where == "before" else "duplicate"] == 2
    for row in outbound:
        assert site.finished(row).state == "completed"


async def taken_over(site: Site, chat: ChatServer, run: Callable[[], Coroutine[Any, Any, str]], locks: Any) -> str:
    """Runs it, deletes its locks while it is at the service, and runs it again; gives what the second run says."""
    first = asyncio.create_task(run())
    await asyncio.to_thread(site.wait, lambda: len(chat.service.arrived) == 1, "it to be at the service")
    site.queue.get_redis().delete(*Lock(*locks, plugin_name=keys.PLUGIN, service=site.queue).keys)

    second = asyncio.create_task(run())
    await asyncio.to_thread(site.wait, lambda: len(chat.service.arrived) == 2, "it to be there again")
    chat.service.before.set()
    said = await second
    with pytest.raises(LockLostError):
        await first
    return said


async def test_send_that_lost_its_locks_is_taken_over_and_sent_once(site: Site, chat: ChatServer) -> None:
    """As where a worker stood still for longer than they live, and then goes on."""
    site.connect(chat, account_interval_ms=0, contact_interval_ms=0)
    chat.service.before.clear()
    row = site.rows.add_outbound(message("m"), 0)
    sending = Sending(site.queue, site.rows)

    async def run() -> str:
        return await asyncio.to_thread(sending.run, row.id, row.round, last_try=False)

    assert await taken_over(site, chat, run, keys.send_locks(row)) == "sent"

    assert site.sent(row).status == "sent"
    assert outcomes(chat) == {"accepted": 1, "duplicate": 1}


async def test_dispatch_that_lost_its_lock_is_taken_over_and_happens_once(site: Site, chat: ChatServer) -> None:
    """The same for a batch: who lost the lock changes nothing of it any more."""
    site.connect(chat, debounce_ms=3_600_000)
    chat.service.before.clear()
    debounce, row = Debounce(site.queue, site.rows), site.rows.add_inbound(message("m"))
    await debounce.aggregate(row.id, row.round)
    batch = await Batches(site.queue).load(row)
    assert batch is not None

    async def run() -> str:
        return await debounce.flush(row.id, batch.id, batch.version)

    assert await taken_over(site, chat, run, [keys.inbound_lock(row)]) == "1 messages"

    assert site.received(row).status == "dispatched"
    assert await Batches(site.queue).load(row) is None
    assert outcomes(chat) == {"accepted": 1, "duplicate": 1}


def test_killed_in_the_middle_the_platform_runs_it_again(crash_site: Site, chat: ChatServer) -> None:
    site = crash_site
    outbound, inbound = kill_in_the_middle(site, chat, "after")

    site.deployment.worker()
    site.all_are("sent", outbound, timeout=4)
    site.all_are("dispatched", inbound, timeout=4)

    assert sorted(sent_ids(chat.taken())) == list("abcdef")
    assert sorted(text for batch in dispatched_texts(chat) for text in batch) == [
        f"text of {id_}" for id_ in ("later", "x", "y", "z")
    ]
