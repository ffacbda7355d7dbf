from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis.lock

from tests.integration.conftest import ServiceFactory
from tests.integration.pretend import wait_until
from xpert_mq import ManagedQueueService, QueueUnavailableError, request_context
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.locks import AsyncLock, Lock, LockLostError, LockUnavailableError

Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def tenant(service: ManagedQueueService) -> Iterator[None]:
    """A tenant of the test's own, so that no two tests share a lock."""
    with request_context(tenant_id=service.settings.prefix):
        yield


@pytest.fixture
def lock(service: ManagedQueueService) -> Make:
    def make(*names: Any, **options: Any) -> Lock:
        return Lock(*(names or ("one",)), **{"plugin_name": "p", "service": service, **options})

    return make


@pytest.fixture
def async_lock(service: ManagedQueueService) -> Make:
    def make(*names: Any, **options: Any) -> AsyncLock:
        return AsyncLock(*(names or ("one",)), **{"plugin_name": "p", "service": service, **options})

    return make


def value(service: ManagedQueueService, key: str) -> bytes | None:
    found: Any = service.get_redis().get(key)
    return found if found is None else bytes(found)


def renewers() -> int:
    return sum(thread.name == "xpert-mq-lock" for thread in threading.enumerate())


# --- Threads ----------------------------------------------------------------------------------------------------------


def test_lock_excludes_and_gives_back(service: ManagedQueueService, lock: Make) -> None:
    with lock() as held:
        assert value(service, held.keys[0]) == held.token.encode()
        with pytest.raises(LockUnavailableError) as caught, lock():
            pytest.fail("two hold it")
        assert (caught.value.key, caught.value.waited_ms) == (held.keys[0], 0)
    assert value(service, held.keys[0]) is None
    with lock():
        pass
    assert renewers() == 0


def test_lock_takes_all_or_none(service: ManagedQueueService, lock: Make) -> None:
    names = ("one", ("two", 2), "three")
    with lock(names[1]) as other:
        with pytest.raises(LockUnavailableError) as caught, lock(*names):
            pytest.fail("two hold it")
        assert caught.value.key == other.keys[0]
        assert [value(service, key) for key in lock(*names).keys] == [None, other.token.encode(), None]
    with lock(*names) as held:
        assert {value(service, key) for key in held.keys} == {held.token.encode()}
    assert [value(service, key) for key in held.keys] == [None, None, None]


def test_lock_is_renewed_while_held(service: ManagedQueueService, lock: Make) -> None:
    with lock("one", "two", ttl_ms=600) as held:
        client: Any = service.get_redis()
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            assert all(client.pttl(key) > 0 for key in held.keys)
        held.ensure_owned()
        assert all(client.pttl(key) > 500 for key in held.keys)


def test_lock_of_a_dead_holder_expires(service: ManagedQueueService, lock: Make) -> None:
    held = lock(ttl_ms=300)
    held._begin()
    held._run("return redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) and 0")

    with lock(wait_ms=5000) as mine:
        assert value(service, mine.keys[0]) == mine.token.encode()


@pytest.mark.parametrize("taken", [None, b"another"])
def test_lock_lost_is_told_and_nobody_elses_is_deleted(
    service: ManagedQueueService, lock: Make, taken: bytes | None
) -> None:
    client = service.get_redis()
    with pytest.raises(LockLostError) as at_exit, lock("one", "two") as held:  # noqa: PT012 - the end of the block is meant
        client.set(held.keys[1], taken) if taken else client.delete(held.keys[1])
        with pytest.raises(LockLostError):
            held.ensure_owned()
        client.set(held.keys[1], held.token)  # too late
        with pytest.raises(LockLostError):
            held.ensure_owned()
        client.set(held.keys[1], taken) if taken else client.delete(held.keys[1])
    assert at_exit.value.keys == held.keys
    assert [value(service, key) for key in held.keys] == [None, taken]
    assert renewers() == 0


def test_lock_lost_in_the_background_is_told(service: ManagedQueueService, lock: Make) -> None:
    with lock(ttl_ms=150) as held:
        service.get_redis().delete(held.keys[0])
        wait_until(lambda: renewers() == 0)
        service.get_redis().set(held.keys[0], held.token)
        with pytest.raises(LockLostError):
            held.ensure_owned()
        held._owned = True


def test_lock_lost_hides_no_error_of_the_block(service: ManagedQueueService, lock: Make) -> None:
    with pytest.raises(ZeroDivisionError), lock() as held:  # noqa: PT012 - the end of the block is meant
        service.get_redis().delete(held.keys[0])
        _ = 1 / 0


def test_lock_waits_for_a_renewal_in_flight(lock: Make) -> None:
    with lock() as held, ThreadPoolExecutor(1) as pool:
        with held._renewing:
            ensured = pool.submit(held.ensure_owned)
            assert not ensured.done()
            held._owned = False
        with pytest.raises(LockLostError):
            ensured.result(5)
        held._owned = True


def test_lock_waits_as_long_as_told(lock: Make) -> None:
    with lock():
        started = time.monotonic()
        with pytest.raises(LockUnavailableError), lock(wait_ms=200):
            pytest.fail("two hold it")
        assert 0.2 <= time.monotonic() - started < 2


def test_lock_is_entered_once(lock: Make) -> None:
    with lock() as held:
        with pytest.raises(RuntimeError, match="entered already"), held:
            pass
        held.ensure_owned()


def test_lock_one_thread_at_a_time(lock: Make) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        with lock("one", "two", wait_ms=20_000):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.002)
            inside.remove(number)

    with ThreadPoolExecutor(6) as pool:
        context = [pool.submit(_in_tenant, work, number) for number in range(18)]
        for one in context:
            one.result()
    assert most == [1] * 18
    assert renewers() == 0


def _in_tenant(work: Callable[[int], None], number: int) -> None:
    with request_context(tenant_id="threads"):
        work(number)


def test_lock_and_redis_pys_own_exclude_each_other(service: ManagedQueueService, lock: Make) -> None:
    theirs = redis.lock.Lock(service.get_redis(), lock().keys[0], timeout=5, blocking=False)
    with lock():
        assert not theirs.acquire()
    assert theirs.acquire()
    with pytest.raises(LockUnavailableError), lock():
        pytest.fail("two hold it")
    theirs.release()


def test_lock_without_redis_is_unavailable(service_factory: ServiceFactory) -> None:
    away = service_factory("redis://:secret@127.0.0.1:1/0")
    with pytest.raises(QueueUnavailableError) as caught, Lock("one", plugin_name="p", service=away):
        pytest.fail("nobody holds it")
    assert "secret" not in str(caught.value)


def test_lock_outlives_a_server_that_is_away_for_a_moment(
    server_factory: Callable[..., EmbeddedServer], service_factory: ServiceFactory
) -> None:
    server = server_factory(appendonly=True)
    with Lock("one", ttl_ms=9_000, plugin_name="p", service=service_factory(server.url)) as held:
        server.restart()
        held.ensure_owned()


# --- Coroutines -------------------------------------------------------------------------------------------------------


async def test_async_lock_excludes_and_gives_back(service: ManagedQueueService, async_lock: Make, lock: Make) -> None:
    async with async_lock("one", "two") as held:
        with pytest.raises(LockUnavailableError):
            async with async_lock("two"):
                pytest.fail("two hold it")
        with pytest.raises(LockUnavailableError), lock("one"):
            pytest.fail("two hold it")
        await held.ensure_owned()
    assert [value(service, key) for key in held.keys] == [None, None]
    assert all(task.get_name() != "xpert-mq-lock" for task in asyncio.all_tasks())


async def test_async_lock_is_renewed_while_held(service: ManagedQueueService, async_lock: Make) -> None:
    async with async_lock(ttl_ms=600) as held:
        client = await service.aget_redis()
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            assert await client.pttl(held.keys[0]) > 0
        await held.ensure_owned()


async def test_async_lock_lost_is_told(service: ManagedQueueService, async_lock: Make) -> None:
    with pytest.raises(LockLostError):  # noqa: PT012 - the end of the block is meant
        async with async_lock() as held:
            service.get_redis().set(held.keys[0], "another")
            with pytest.raises(LockLostError):
                await held.ensure_owned()
    assert value(service, held.keys[0]) == b"another"


async def test_async_lock_waits_for_a_renewal_in_flight(async_lock: Make) -> None:
    async with async_lock() as held:
        async with held._renewing:
            ensured = asyncio.create_task(held.ensure_owned())
            await asyncio.sleep(0)
            assert not ensured.done()
            held._owned = False
        with pytest.raises(LockLostError):
            await ensured
        held._owned = True


async def test_async_lock_ends_while_it_is_renewed(async_lock: Make) -> None:
    """Blocks that end about when a renewal is on its way: none of them hangs."""

    async def take_often(number: int) -> None:
        for turn in range(30):
            async with async_lock(f"lock-{number}", ttl_ms=100):
                await asyncio.sleep(0.1 / 3 + turn * 0.0001)

    async with asyncio.timeout(20):
        await asyncio.gather(*(take_often(number) for number in range(20)))


async def test_async_lock_one_at_a_time(async_lock: Make) -> None:
    inside: list[int] = []
    most: list[int] = []

    async def work(number: int) -> None:
        async with async_lock(wait_ms=20_000):
            inside.append(number)
            most.append(len(inside))
            await asyncio.sleep(0.001)
            inside.remove(number)

    await asyncio.gather(*map(work, range(10)))
    assert most == [1] * 10


async def test_async_lock_cancelled_is_given_back(service: ManagedQueueService, async_lock: Make) -> None:
    entered = asyncio.Event()
    held = async_lock()

    async def work() -> None:
        async with held:
            entered.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert value(service, held.keys[0]) is None


async def test_async_lock_cancelled_while_it_is_taken(service: ManagedQueueService, async_lock: Make) -> None:
    """At every moment: after each step of the loop, until it is held."""
    await service.aget_redis()
    for steps in range(30):
        held = async_lock()
        task = asyncio.create_task(held.__aenter__())
        for _ in range(steps):
            await asyncio.sleep(0)
        if task.done():
            await held.__aexit__(None, None, None)
            continue
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass
        else:  # redis-py's client has swallowed it
            await held.__aexit__(None, None, None)
        assert value(service, held.keys[0]) is None, steps


# --- gevent -----------------------------------------------------------------------------------------------------------

GEVENT = """
from gevent import monkey; monkey.patch_all()
import sys, time, gevent
from xpert_mq import ManagedQueueService, Settings, request_context
from xpert_mq.locks import Lock, LockUnavailableError

service = ManagedQueueService(Settings(redis_url=sys.argv[1]))
inside, most = [], []

def work(number):
    options = {"ttl_ms": 400, "wait_ms": 9000, "plugin_name": "p", "service": service}
    with request_context(tenant_id=sys.argv[2]), Lock("g", **options) as lock:
        inside.append(number)
        most.append(len(inside))
        time.sleep(0.6)
        lock.ensure_owned()
        inside.remove(number)

gevent.joinall([gevent.spawn(work, number) for number in range(3)], raise_error=True)
import threading
print(most, [thread.name for thread in threading.enumerate() if "lock" in thread.name])
"""


def test_lock_in_greenlets_is_renewed_and_excludes(service: ManagedQueueService) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", GEVENT, service.settings.redis_url, service.settings.prefix],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("[1, 1, 1] []\n", 0), done.stderr
