"""The asynchronous twins: the same answers, an event loop that goes on, and nothing left when it ends."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
import weakref
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.integration.conftest import ServiceFactory
from tests.integration.pretend import JOB, PretendWorker
from xpert_mq import request_context
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.errors import InvalidJobError, JobIdConflictError, QueueUnavailableError, ScopeMismatchError
from xpert_mq.models import CancelResult, EnqueueResult
from xpert_mq.service import ManagedQueueService


async def test_async_twins_give_the_same_answers(any_worker: PretendWorker) -> None:
    service = any_worker.service

    assert await service.aenqueue(JOB, job_id="id") == EnqueueResult("id", True, "waiting")
    assert await service.aenqueue({**JOB, "job_id": "id"}) == service.enqueue(JOB, job_id="id")
    assert await service.aget_job("id") == service.get_job("id")
    assert await service.aget_job("none") is None
    assert await service.acancel("id") == CancelResult(True, "id", "waiting")
    assert await service.acancel({"jobId": "id"}) == CancelResult(False, "id", None, "not_found")
    assert await service.aretry(job_id="id") == CancelResult(False, "id", None, "not_found")
    any_worker.take()
    any_worker.bring_to("failed", "id")
    assert await service.aretry("id") == CancelResult(True, "id", "waiting")
    assert await service.aenqueue_many([{**JOB, "job_id": "id"}, {**JOB, "job_id": "b", "delay_ms": 60_000}]) == [
        EnqueueResult("id", False, "waiting"),
        EnqueueResult("b", True, "delayed"),
    ]
    client = await service.aget_redis()
    assert await client.ping()


async def test_async_twins_raise_the_same_errors(worker: PretendWorker) -> None:
    service = worker.service
    worker.enqueue("id")

    with pytest.raises(JobIdConflictError):
        await service.aenqueue({**JOB, "job_id": "id", "job_name": "other"})
    with pytest.raises(InvalidJobError):
        await service.aenqueue(JOB, attempts=0)
    with pytest.raises(InvalidJobError) as caught:
        await service.aenqueue_many([JOB, {}])
    assert caught.value.index == 1
    with request_context(tenant_id="t"), pytest.raises(ScopeMismatchError):
        await service.acancel("id", tenant_id="other")
    assert isinstance((await service.aenqueue_many([{**JOB, "job_id": "id", "job_name": "x"}]))[0], JobIdConflictError)


async def test_async_context_of_each_task_is_its_own(worker: PretendWorker) -> None:
    async def enqueue(tenant_id: str) -> None:
        with request_context(tenant_id=tenant_id):
            await asyncio.sleep(0)
            await worker.service.aenqueue(JOB, job_id="id", payload=tenant_id)

    await asyncio.gather(*(enqueue(f"t{number}") for number in range(20)))

    assert [worker.job("id", f"t{number}").data for number in range(20)] == [f"t{number}" for number in range(20)]


async def test_async_many_concurrent_tasks(any_worker: PretendWorker) -> None:
    service = any_worker.service

    async def life(number: int) -> bool:
        job_id = f"job-{number}"
        await service.aenqueue(JOB, job_id=job_id)
        return (await service.acancel(job_id)).success and await service.aget_job(job_id) is None

    assert all(await asyncio.gather(*(life(number) for number in range(300))))
    results = await asyncio.gather(*(service.aenqueue(JOB, job_id=f"new-{number}") for number in range(300)))
    assert [result.job_id for result in results] == [f"new-{number}" for number in range(300)]
    assert len(any_worker.messages()) == 600


class Ticker:
    """Counts how long the event loop was ever held up."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.ticks = 0

    async def __aenter__(self) -> Ticker:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _tick(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(0.005)
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            self.ticks += 1
            last = now


@pytest.mark.parametrize("warm", [False, True])
async def test_async_never_blocks_while_the_server_is_frozen(
    server_factory: ServerFactory, service_factory: ServiceFactory, warm: bool
) -> None:
    server = server_factory()
    service = service_factory(server.url, enqueue_timeout=0.5)
    service.enqueue(JOB)  # Celery is imported by then
    if warm:
        await service.aenqueue(JOB)
    server.freeze()

    async with Ticker() as ticker:
        verbs = [service.aenqueue(JOB), service.aenqueue_many([JOB]), service.acancel("a"), service.aget_job("a")]
        results = await asyncio.gather(*verbs, return_exceptions=True)

    server.thaw()
    assert [type(result) for result in results] == [QueueUnavailableError] * 4
    assert ticker.ticks >= 20
    assert ticker.longest < 0.3


async def test_async_never_blocks_while_the_server_is_down(
    server_factory: ServerFactory, service_factory: ServiceFactory
) -> None:
    server = server_factory()
    service = service_factory(server.url, enqueue_timeout=0.5)
    service.enqueue(JOB)
    await service.aenqueue(JOB)
    server.kill()

    async with Ticker() as ticker:
        with pytest.raises(QueueUnavailableError):
            await service.aenqueue(JOB)

    assert ticker.longest < 0.3


async def test_async_cancelled_task_breaks_no_other(
    server_factory: ServerFactory, service_factory: ServiceFactory
) -> None:
    """A reply that was not read must not be taken for another call's."""
    server = server_factory()
    service = service_factory(server.url, enqueue_timeout=10)
    service.enqueue(JOB)
    await asyncio.gather(*(service.aenqueue(JOB) for _ in range(5)))
    server.freeze()
    tasks = [asyncio.create_task(service.aenqueue(JOB, job_id=f"cut-{number}")) for number in range(5)]
    await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    server.thaw()

    results = await asyncio.gather(*(service.aenqueue(JOB, job_id=f"job-{number}") for number in range(20)))

    assert [result.job_id for result in results] == [f"job-{number}" for number in range(20)]


def test_async_loops_one_after_another(service: ManagedQueueService) -> None:
    loops: list[weakref.ref[Any]] = []

    async def use() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        await asyncio.gather(*(service.aenqueue(JOB) for _ in range(5)))
        client = await service.aget_redis()
        assert client is await service.aget_redis()
        await client.set(f"{service.settings.prefix}:x", "1")

    for _ in range(5):
        asyncio.run(use())

    gc.collect()
    assert [loop() for loop in loops] == [None] * 5


def test_async_connections_end_with_their_loop(server_factory: ServerFactory, service_factory: ServiceFactory) -> None:
    server = server_factory()
    service = service_factory(server.url)
    watcher = service_factory(server.url).get_redis()
    before = len(watcher.client_list())

    async def use() -> int:
        await asyncio.gather(*(service.aenqueue(JOB) for _ in range(5)))
        await (await service.aget_redis()).ping()
        return len(watcher.client_list())

    during = asyncio.run(use())

    assert during > before
    deadline = time.monotonic() + 5
    while len(watcher.client_list()) > before:
        assert time.monotonic() < deadline


LOOPS = """
import asyncio, sys, threading
from xpert_mq import ManagedQueueService
from xpert_mq.settings import Settings
service = ManagedQueueService(Settings(redis_url=sys.argv[1], prefix=sys.argv[2]))
JOB = {"plugin_name": "p", "queue_name": "q", "job_name": "j"}

async def use(size):
    await asyncio.gather(*(service.aenqueue(JOB) for _ in range(size)))
    await service.aenqueue_many([JOB] * size)
    await (await service.aget_redis()).ping()

for _ in range(3):
    asyncio.run(use(4))
threads = [threading.Thread(target=asyncio.run, args=(use(3),)) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
service.enqueue(JOB)
service.close()
print(service.get_redis().llen(service.settings.queue_name()))
service.close()
"""


def test_async_loops_in_a_process_with_warnings_as_errors(server: EmbeddedServer, service: ManagedQueueService) -> None:
    prefix = f"{service.settings.prefix}-child"
    command = [sys.executable, "-W", "error", "-c", LOOPS, server.url, prefix]

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)

    # Unraisable warnings, as of unclosed sockets, end up here too.
    assert (done.stderr, done.stdout.strip()) == ("", str(3 * 8 + 4 * 6 + 1))
