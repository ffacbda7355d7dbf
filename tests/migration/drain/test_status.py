"""What is in an old queue, and who serves it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from functools import partial
from typing import Any

import bullmq
import pytest
import redis

from migration.drain.consumers import Consumers, find_consumers
from migration.drain.old_queue import IN_FLIGHT, OldQueue
from migration.drain.server import old_server
from tests.integration.pretend import wait_until
from tests.migration.drain.conftest import Drain, DrainFactory, OldQueueFactory
from tests.migration.drain.old_queues import AnyOldQueue, OldQueueOf

LIBRARY = {
    "bullmq5": "BullMQ 5.71.0",
    "bullmq6": "BullMQ 6.7.0",
    "bull4": "Bull",
    "python": "BullMQ, version not recorded",
}


def test_jobs_are_counted_by_state_and_name(any_old_queue: AnyOldQueue, drain_of: DrainFactory) -> None:
    oldest = any_old_queue.add("send", delay=60_000)
    time.sleep(0.002)
    any_old_queue.add_many([("send", {}, {}), ("draw", {}, {}), ("draw", {}, {"priority": 2})])
    drain = drain_of(any_old_queue)

    seen = drain.document("status")
    shown = drain("status")

    in_wait = seen["counts"]["wait"] + seen["counts"]["prioritized"]
    assert (in_wait, seen["counts"]["delayed"], seen["counts"]["active"]) == (3, 1, 0)
    assert {name: sum(places.values()) for name, places in seen["names"].items()} == {"send": 2, "draw": 2}
    assert seen["names"]["send"]["delayed"] == 1
    assert (seen["paused"], seen["workers"], seen["schedulers"], seen["names_complete"]) == (False, 0, [], True)
    assert (seen["oldest"]["id"], seen["oldest"]["in"]) == (oldest, "delayed")
    assert f"{any_old_queue.prefix}:mail: {LIBRARY[any_old_queue.lib]}" in shown
    assert f"Oldest unfinished job: {oldest} (send), delayed" in shown
    assert "Connections of workers: 0." in shown


@pytest.mark.parametrize("library", ["bullmq5", "bullmq6", "bull4"])
def test_workers_pauses_and_schedulers_are_seen(
    library: str, old_queue_factory: OldQueueFactory, drain_of: DrainFactory
) -> None:
    queue = old_queue_factory(library)
    assert isinstance(queue, OldQueueOf)
    queue.work()
    queue.call("schedule", name="nightly")
    queue.call("pause")
    drain = drain_of(queue)
    wait_until(lambda: drain.document("status")["workers"])

    seen = drain.document("status")

    assert (seen["workers"], seen["paused"]) == (1, True)
    assert seen["worker_seen_ms_ago"] < 30_000
    assert any("nightly" in name for name in seen["schedulers"])
    shown = drain("status")
    assert "paused" in shown
    assert "Job schedulers, which go on adding jobs:" in shown
    queue.call("rest")
    wait_until(lambda: drain.document("status")["workers"] == 0)


async def test_worker_in_python_is_seen(old_queue_factory: OldQueueFactory, drain_of: DrainFactory) -> None:
    queue = old_queue_factory("python")
    await asyncio.to_thread(queue.add)
    drain = drain_of(queue)

    async def run(_: Any, __: Any) -> None:
        pass

    worker = bullmq.Worker(queue.name, run, {"connection": drain.url, "prefix": queue.prefix})
    try:
        await asyncio.to_thread(wait_until, lambda: drain.document("status")["workers"])
    finally:
        await worker.close()


def test_neighbours_are_not_taken_for_it(old_queue_factory: OldQueueFactory, drain_of: DrainFactory, node: Any) -> None:
    first = old_queue_factory("bullmq5")
    first.add()
    # Its encoded name begins with the other's.
    longer = OldQueueOf(node, "bullmq5", first.prefix, "mailbox-of-another")
    shorter = OldQueueOf(node, "bullmq5", first.prefix, "mai")
    for queue in (longer, shorter):
        queue.work()

    assert drain_of(first).document("status")["workers"] == 0
    assert drain_of(longer).document("status")["workers"] == 1
    for queue in (longer, shorter):
        queue.call("rest")


def test_clients_that_are_not_shown(old_queue: OldQueueOf, drain: Drain, client: redis.Redis) -> None:
    old_queue.add()
    client.acl_setuser("blind", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-client|list"])
    url = drain.url.replace("redis://", "redis://blind:x@")
    try:
        with old_server(url) as blind:
            assert find_consumers(OldQueue(blind, "mail", old_queue.prefix)) == Consumers(None, 0, None)
    finally:
        client.acl_deluser("blind")


def test_watch_tells_again(old_queue: OldQueueOf, drain: Drain, monkeypatch: pytest.MonkeyPatch) -> None:
    old_queue.add()
    looks = 0

    def look_again(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 3:
            raise KeyboardInterrupt
        old_queue.add()

    monkeypatch.setattr("xpert_mq.cli.watch.time.sleep", look_again)

    shown = drain.run("status", "--watch", "--json").stdout.splitlines()

    assert ['"wait":1' in shown[0], '"wait":2' in shown[1], '"wait":3' in shown[2]] == [True] * 3


def test_names_of_terminals_mischief(old_queue: OldQueueOf, drain: Drain) -> None:
    old_queue.add("\x1b[31mred\nline")

    shown = drain("status")

    assert "\x1b" not in shown
    assert "\\u001b[31mred\\u000aline" in shown


@pytest.mark.parametrize("library", ["bullmq5", "bull4"])
def test_wait_ends_when_the_workers_are_done(
    library: str, old_queue_factory: OldQueueFactory, drain_of: DrainFactory, client: redis.Redis
) -> None:
    queue = old_queue_factory(library)
    assert isinstance(queue, OldQueueOf)
    queue.add_many([("send", {"takes": 100}, {})] * 3 + [("send", {}, {"delay": 200})])
    queue.work()

    done = drain_of(queue).document("wait", "--timeout", "20", "--interval", "0.1")

    assert (done["emptied"], done["left"]) == (True, {})
    assert client.llen(queue.ran_key) == 4
    queue.call("rest")


def test_wait_gives_up(old_queue: OldQueueOf, drain: Drain) -> None:
    old_queue.add()
    old_queue.add(delay=60_000)

    result = drain.run("wait", "--timeout", "0.3", "--interval", "0.1")

    assert result.exit_code == 1
    assert "is not empty after" in result.stdout
    assert "2 jobs left (1 wait, 1 delayed), not getting fewer; no worker is connected" in result.stdout
    assert drain.document("wait", "--timeout", "0", code=1)["left"] == {"wait": 1, "delayed": 1}
    assert drain.document("wait", "--timeout", "0.3", "--interval", "60", code=1)["seconds"] >= 0.3


def test_job_that_takes_off_or_lands_is_always_counted(
    old_queue: OldQueueOf, drain: Drain, client: redis.Redis
) -> None:
    old_queue.add()
    fly = client.register_script(
        "if redis.call('DEL', KEYS[1]) == 1 then redis.call('HSET', KEYS[2], '1', '') "
        "else redis.call('DEL', KEYS[2]) redis.call('LPUSH', KEYS[1], '1') end"
    )
    over = threading.Event()

    def back_and_forth() -> None:
        while not over.is_set():
            fly(keys=[old_queue.key("wait"), old_queue.key(IN_FLIGHT)])

    thread = threading.Thread(target=back_and_forth)
    thread.start()
    try:
        with old_server(drain.url) as looking:
            queue = OldQueue(looking, "mail", old_queue.prefix)
            seen = Counter(sum(queue.left().values()) for _ in range(500))
    finally:
        over.set()
        thread.join()

    assert seen == {1: 500}


def verified(drain: Drain, *, code: int = 0) -> dict[str, bool]:
    document = drain.document("verify", "--for", "0.3", code=code)
    assert document["passed"] is (code == 0)
    return {check["name"]: check["ok"] for check in document["checks"]}


def broken(drain: Drain) -> set[str]:
    return {name for name, ok in verified(drain, code=1).items() if not ok}


def test_verify_passes_when_all_is_over_and_forgets(
    any_old_queue: AnyOldQueue, drain_of: DrainFactory, service: Any, client: redis.Redis
) -> None:
    any_old_queue.add()
    drain = drain_of(any_old_queue)
    assert "no job is in wait" in broken(drain)
    drain.forward()
    adopted = f"{service.settings.prefix}:adopted:{any_old_queue.prefix}:mail"
    assert client.scard(adopted) == 1

    settings = service.settings
    service.configure(settings.model_copy(update={"prefix": "elsewhere"}))
    assert f"its jobs went to {settings.safe_redis_url} {settings.prefix}" in drain("verify", "--for", "0", code=2)
    service.configure(settings)

    shown = drain("verify", "--for", "0")

    assert "The queue is done with; the notes of 1 forwarded job were removed." in shown
    assert not client.exists(adopted, any_old_queue.key("xpert-mq:forwarded"))
    assert "The queue is done with.\n" in drain("verify", "--for", "0")


def test_verify_names_what_is_there(old_queue: OldQueueOf, drain: Drain, client: redis.Redis) -> None:
    old_queue.add(delay=60_000)
    old_queue.add(priority=1)
    old_queue.call("flow")
    old_queue.call("schedule", name="nightly")
    client.rpush(old_queue.key("active"), "7")
    client.sadd(old_queue.key("stalled"), "7")
    client.hset(old_queue.key("xpert-mq:in-flight"), "8", '{"place": "wait", "number": 1}')
    client.set(old_queue.key("xpert-mq:lease"), "x", px=60_000)

    assert broken(drain) == {
        "no job is in wait",
        "no job is in prioritized",
        "no job is in delayed",
        "no job is in active",
        "no job is in waiting-children",
        "no job is noted as stalled",
        "no job is in flight",
        "no job scheduler is there",
        "no `forward` is running",
    }


def test_verify_misses_no_job_between_its_looks(
    old_queue: OldQueueOf, drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_queue.add()
    drain.forward()
    schedulers = OldQueue.schedulers
    added: list[str] = []

    def then_feed(queue: OldQueue) -> list[str]:
        if not added:
            added.append(old_queue.add())
        return schedulers(queue)

    monkeypatch.setattr(OldQueue, "schedulers", then_feed)

    assert "no job is in wait" in broken(drain)


def test_verify_sees_workers(old_queue: OldQueueOf, drain: Drain, client: redis.Redis) -> None:
    old_queue.add()
    old_queue.work()
    wait_until(partial(client.zcard, old_queue.key("completed")))

    assert broken(drain) == {"no worker is connected", "no worker was alive a moment ago"}

    old_queue.call("rest")
    wait_until(lambda: broken(drain) == {"no worker was alive a moment ago"})
    client.delete(old_queue.key("stalled-check"))  # what half a minute does
    verified(drain)


def test_verify_sees_a_producer(
    old_queue: OldQueueOf, drain: Drain, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_queue.add()
    drain.forward()
    fed = [False]

    def feed(_: float) -> None:
        # A job that is gone before anybody can look for it.
        if not fed[0]:
            fed[0] = True
            client.delete(old_queue.key(old_queue.add()), old_queue.key("wait"))

    monkeypatch.setattr("migration.drain.verifying.time.sleep", feed)

    assert broken(drain) == {"nothing was added within 300 ms"}
