"""The one event loop of a worker process, in a thread of its own, on which async handlers run.

Handlers' clients and connections so live on between jobs. Threads and greenlets of the pool wait for the coroutine's
end.
"""

from __future__ import annotations

import _queue
import asyncio
import contextvars
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def run_in_loop(awaitable: Awaitable[T]) -> T:
    """Awaits on the process' loop with the caller's context variables, and gives its result or raises its
    exception.

    An exception that ends the wait itself (a time limit, a shutdown) cancels the coroutine.
    """
    future: Future[T] = Future()
    context = contextvars.copy_context()
    task: list[asyncio.Task[None]] = []

    async def carry() -> None:
        try:
            future.set_result(await awaitable)
        except asyncio.CancelledError as error:
            future.set_exception(error)
            raise
        except BaseException as error:  # noqa: BLE001 - it belongs to the waiting thread; here it would end the loop
            future.set_exception(error)

    def start() -> None:
        task.append(loop.create_task(carry(), context=context))

    loop = _running_loop()
    loop.call_soon_threadsafe(start)
    try:
        return _wait(future)
    except BaseException:
        if not future.done():
            loop.call_soon_threadsafe(lambda: task[0].cancel())
        raise


_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_pid: int | None = None


def _running_loop() -> asyncio.AbstractEventLoop:
    global _loop, _pid
    with _lock:
        if _loop is None or _pid != os.getpid():
            _loop, _pid = _new_loop(), os.getpid()
            start_native_thread(_loop.run_forever, "xpert-mq-loop")
        return _loop


def is_running() -> bool:
    """Whether this process has started its loop."""
    return _loop is not None and _pid == os.getpid()


def _new_loop() -> asyncio.AbstractEventLoop:
    if not gevent_patched():
        return asyncio.new_event_loop()
    from gevent import monkey

    # gevent's own selector and threads serve the thread of its hub alone.
    loop = asyncio.SelectorEventLoop(monkey.get_original("selectors", "DefaultSelector")())
    loop.set_default_executor(_NativeThreads(monkey.get_original("_thread", "start_new_thread")))
    return loop


class _NativeThreads(ThreadPoolExecutor):
    """Threads of the system for `asyncio.to_thread` and name look-ups, where gevent has replaced `threading`."""

    MOST = 16

    def __init__(self, start: Callable[[Callable[[], None], tuple[()]], int]) -> None:
        super().__init__()
        self._start = start
        self._calls: _queue.SimpleQueue[Callable[[], None]] = _queue.SimpleQueue()
        self._started = 0

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As the base class; called by the loop alone, so there is nothing to lock."""
        future: Future[Any] = Future()

        def call() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - it belongs to who waits
                    future.set_exception(error)

        self._calls.put(call)
        if self._started < self.MOST:
            self._started += 1
            self._start(self._work, ())
        return future

    def _work(self) -> None:
        while True:
            self._calls.get()()


# A fork may come while another thread holds the lock; the child has no such thread.
os.register_at_fork(after_in_child=lambda: globals().update(_lock=threading.Lock()))


def start_native_thread(target: Callable[[], object], name: str) -> Callable[[], None]:
    """Starts a thread of the operating system, also where gevent has replaced `threading`. Returns what waits for its
    end.
    """
    if gevent_patched():
        from gevent.threadpool import ThreadPool

        job = ThreadPool(1).spawn(target)
        return lambda: job.get()
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread.join


def _wait(future: Future[T]) -> T:
    if not gevent_patched():
        return future.result()
    import gevent

    # A wake-up from another thread that lets the other greenlets of this one go on.
    hub = gevent.get_hub()
    done = gevent.event.Event()
    watcher = hub.loop.async_()
    watcher.start(done.set)
    try:
        future.add_done_callback(lambda _: watcher.send())
        done.wait()
    finally:
        watcher.stop()
        watcher.close()
    return future.result()


def gevent_patched() -> bool:
    """Whether gevent has replaced `threading`, and threads are greenlets."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))
