from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tests.integration.pretend import JOB, PretendWorker, wait_until
from xpert_mq import message
from xpert_mq.service import ManagedQueueService


def test_threads_share_a_service(any_worker: PretendWorker) -> None:
    service = any_worker.service

    def work(thread: int) -> None:
        for number in range(50):
            job_id = f"{thread}-{number}"
            assert service.enqueue(JOB, job_id=job_id, payload=job_id).job_id == job_id
            found = service.get_job(job_id)
            assert found is not None
            assert (found.id, found.data) == (job_id, job_id)
            assert service.get_redis().set(f"{service.settings.prefix}:own:{job_id}", job_id)
            assert service.get_redis().get(f"{service.settings.prefix}:own:{job_id}") == job_id.encode()
            if number % 2:
                assert service.cancel(job_id).success

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(work, range(10)))

    live = [claim for claim in (any_worker.claim(any_worker.take()) for _ in range(500)) if claim]
    assert len(live) == 250


def test_threads_enqueue_one_id_once(any_worker: PretendWorker) -> None:
    start = threading.Barrier(10)

    def work(_: int) -> int:
        start.wait()
        return sum(any_worker.service.enqueue(JOB, job_id=f"id-{number}").created for number in range(50))

    with ThreadPoolExecutor(10) as pool:
        assert sum(pool.map(work, range(10))) == 50
    assert len(any_worker.messages()) == 50


def test_threads_claim_each_message_once(any_worker: PretendWorker) -> None:
    any_worker.service.enqueue_many([JOB] * 100)
    messages = [any_worker.take() for _ in range(100)]

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(any_worker.claim, messages * 4))

    assert len([claim for claim in claims if claim]) == 100


def test_threads_reuse_connections(service: ManagedQueueService) -> None:
    with ThreadPoolExecutor(10) as pool:
        list(pool.map(lambda _: service.enqueue(JOB), range(300)))

    assert sum(len(free) for free in service.executor._pools.values()) <= 10


def test_threads_first_use_of_the_message_template() -> None:
    """Several threads' first enqueue, rerun and promote all need it."""
    errors: list[BaseException] = []

    def make(start: threading.Barrier) -> None:
        try:
            start.wait()
            assert "FILL" in message.lua_fill_function()
        except BaseException as error:  # noqa: BLE001 - asserted on below
            errors.append(error)

    for _ in range(15):
        message.lua_fill_function.cache_clear()
        message.template.cache_clear()
        start = threading.Barrier(10)
        threads = [threading.Thread(target=make, args=(start,)) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert errors == []


def test_close_and_use_again(service: ManagedQueueService) -> None:
    for _ in range(3):
        assert service.enqueue(JOB).created
        assert service.get_redis().ping()
        service.close()


def _in_child(work: Callable[[], bool]) -> int:
    """Runs `work` in a fork. Gives its pid; its exit code is 0 if it returned True."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(20)
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return pid


def _exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_fork_after_use_both_go_on(any_service: ManagedQueueService) -> None:
    service = any_service
    own = f"{service.settings.prefix}:own"
    service.enqueue(JOB)
    service.get_redis().set(own, "0")

    def work(name: str) -> bool:
        for number in range(200):
            job_id = f"{name}-{number}"
            if service.enqueue(JOB, job_id=job_id, payload=job_id).job_id != job_id:
                return False
            found = service.get_job(job_id)
            if found is None or found.data != job_id:
                return False
            if service.get_redis().get(f"{own}:{name}") not in (None, str(number - 1).encode()):
                return False
            service.get_redis().set(f"{own}:{name}", number)
        return True

    children = [_in_child(lambda name=name: work(name)) for name in ("child-1", "child-2")]  # type: ignore[misc]
    assert work("parent")
    assert [_exit_code(pid) for pid in children] == [0, 0]
    assert service.get_redis().llen(service.settings.queue_name()) == 1 + 3 * 200


def test_fork_child_s_end_leaves_the_parent_s_connections(service: ManagedQueueService) -> None:
    service.enqueue(JOB)
    service.get_redis().ping()
    connections = list(service.executor._pools[0])

    def work() -> bool:
        service.close()
        return service.enqueue(JOB).created

    for _ in range(3):
        assert _exit_code(_in_child(work)) == 0

    service.enqueue(JOB)
    assert list(service.executor._pools[0]) == connections


def test_fork_while_threads_are_inside_a_call(service: ManagedQueueService) -> None:
    stop = threading.Event()
    counts = [0] * 4

    def enqueue(place: int) -> None:
        while not stop.is_set():
            service.enqueue(JOB)
            service.get_redis().ping()
            counts[place] += 1

    threads = [threading.Thread(target=enqueue, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: min(counts) > 5)
        for _ in range(5):
            pid = _in_child(lambda: all(service.enqueue(JOB).created and service.get_redis().ping() for _ in range(20)))
            assert _exit_code(pid) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_fork_after_async_use(service: ManagedQueueService) -> None:
    asyncio.run(service.aenqueue(JOB))

    def work() -> bool:
        return asyncio.run(service.aenqueue(JOB)).created

    pid = _in_child(work)
    assert asyncio.run(service.aenqueue(JOB)).created
    assert _exit_code(pid) == 0
