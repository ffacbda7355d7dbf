"""The one event loop of a worker process, in a thread of its own, on which async handlers run.

Handlers' clients and connections so live on between jobs. Threads and greenlets of the pool wait for the coroutine's
end. In the pool `asyncio` the jobs themselves run on the loop, each in a greenlet, so that one that waits holds no
thread: Celery's tracer is no coroutine, and needs not be one.
"""

from __future__ import annotations

import _queue
import asyncio
import contextvars
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

try:
    from greenlet import getcurrent, greenlet
except ImportError:  # without gevent and the pool `asyncio`
    greenlet = object

    def getcurrent() -> Any:
        """Never one of ours."""


T = TypeVar("T")


class Spawned(greenlet):
    """A sync function that runs in the loop's thread: `switch` starts it.

    Args:
        run: the function. Whatever it raises belongs to the loop, so it should raise nothing.
        threads: where it has blocking calls made.
    """

    def __init__(self, run: Callable[[], object], threads: Executor) -> None:
        super().__init__(run)
        self.threads = threads
        #: What it waits for, and whether that is a thread.
        self.awaits: asyncio.Future[Any] | None = None
        self.blocks = False


def is_spawned() -> bool:
    """Whether the caller is such a function, and must not block."""
    return type(getcurrent()) is Spawned


def wait_for(future: asyncio.Future[T]) -> T:
    """For a spawned function: the loop goes on until the future is done; its result, or its exception."""
    me = getcurrent()
    me.awaits = future

    def go_on(_: object) -> None:
        # Not when it has been ended meanwhile.
        if me.awaits is future:
            me.switch()

    future.add_done_callback(go_on)
    try:
        me.parent.switch()
    finally:
        me.awaits = None
    return future.result()


def in_thread(call: Callable[[], T]) -> T:
    """What the call gives, made where it may block: in a thread for a spawned function, else right here."""
    if not is_spawned():
        return call()
    me = getcurrent()
    # Boxed: not everything that a handler raises can go through a future of asyncio's.
    made = asyncio.get_running_loop().run_in_executor(me.threads, contextvars.copy_context().run, _boxed, call)
    me.blocks = True
    try:
        result: T = _unboxed(wait_for(made))
    finally:
        me.blocks = False
    return result


def _boxed(call: Callable[[], T]) -> tuple[T | None, BaseException | None]:
    try:
        return call(), None
    except BaseException as error:  # noqa: BLE001 - raised where the box is opened
        return None, error


async def _aboxed(awaitable: Awaitable[T]) -> tuple[T | None, BaseException | None]:
    try:
        return await awaitable, None
    except BaseException as error:  # noqa: BLE001 - raised where the box is opened
        return None, error


def _unboxed(box: tuple[T | None, BaseException | None]) -> Any:
    value, error = box
    if error is not None:
        raise error
    return value


def run_in_loop(awaitable: Awaitable[T]) -> T:
    """Awaits on the process' loop with the caller's context variables, and gives its result or raises its
    exception.

    An exception that ends the wait itself (a time limit, a shutdown) cancels the coroutine.
    """
    if is_spawned():
        return _run_here(awaitable)
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

    loop = running_loop()
    loop.call_soon_threadsafe(start)
    try:
        return _wait(future)
    except BaseException:
        if not future.done():
            loop.call_soon_threadsafe(lambda: task[0].cancel())
        raise


def _run_here(awaitable: Awaitable[T]) -> T:
    task = asyncio.get_running_loop().create_task(_aboxed(awaitable), context=contextvars.copy_context())
    try:
        box = wait_for(task)
    except BaseException:
        task.cancel()
        raise
    result: T = _unboxed(box)
    return result


_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None
_pid: int | None = None


def running_loop() -> asyncio.AbstractEventLoop:
    """The process' loop, which is started if it does not run yet."""
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
