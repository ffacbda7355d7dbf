"""A pool for async handlers: `xpert-mq worker --pool asyncio`.

Each job runs in a greenlet on the process' event loop. While it waits, for its handler or for Redis, it holds neither a
thread nor a process, so a node may run thousands. Sync handlers run in threads.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from celery.concurrency.base import BasePool, apply_target
from greenlet import GreenletExit

from xpert_mq.eventloop import Spawned, running_loop

logger = logging.getLogger(__name__)


class Job:
    """What runs, as Celery sees it."""

    def __init__(self, pool: TaskPool, number: int, arguments: tuple[Any, ...]) -> None:
        self._pool = pool
        self._arguments = arguments
        #: Celery's process id.
        self.number = number
        self.greenlet: Spawned | None = None

    def run(self) -> None:
        """In the greenlet."""
        try:
            apply_target(*self._arguments, pid=self.number)
        except BaseException:
            # Of Celery's own code, around the job. It must not end the loop.
            logger.exception("the pool's job %d", self.number, extra={"action": "pool_failed"})
        finally:
            self._pool.ended(self)


class TaskPool(BasePool):
    """Celery's pool."""

    body_can_be_buffer = True
    signal_safe = False

    def on_start(self) -> None:
        """Starts the loop."""
        self._loop = running_loop()
        self._threads = ThreadPoolExecutor(self.limit, "xpert-mq-sync")
        self._numbers = itertools.count(1)
        self._jobs: dict[int, Job] = {}
        self._empty = threading.Condition()
        #: Jobs that the loop has not started; it is told of the first one.
        self._new: deque[Job] = deque()

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        callback: Any = None,
        accept_callback: Any = None,
        **_: Any,
    ) -> None:
        """Starts a job, from Celery's thread."""
        job = Job(self, next(self._numbers), (target, args, kwargs, callback, accept_callback))
        self._jobs[job.number] = job
        self._new.append(job)
        if len(self._new) == 1:  # else the loop has been told, and will come to this one, too
            self._loop.call_soon_threadsafe(self._start_new)

    def _start_new(self) -> None:
        while self._new:
            job = self._new.popleft()
            job.greenlet = Spawned(job.run, self._threads)
            job.greenlet.switch()

    def ended(self, job: Job) -> None:
        """A job tells that it has ended."""
        del self._jobs[job.number]
        if not self._jobs:
            with self._empty:
                self._empty.notify_all()

    def tick(self, tick: Callable[[], None]) -> None:
        """Calls it on the loop, which does not come to it while a handler holds it."""
        self._loop.call_soon_threadsafe(tick)

    def on_stop(self) -> None:
        """Waits for all jobs."""
        with self._empty:
            while self._jobs:
                self._empty.wait()
        self._threads.shutdown()

    def terminate_job(self, pid: int, signal: Any = None) -> None:
        """Ends an async handler. One that runs in a thread can't be ended: NotImplementedError."""
        job = self._jobs.get(pid)
        greenlet = job.greenlet if job else None
        if greenlet is None:
            return
        if greenlet.blocks:
            raise NotImplementedError("a sync handler runs in a thread, which can't be ended")
        self._loop.call_soon_threadsafe(_end, greenlet)

    def _get_info(self) -> dict[str, Any]:
        return {**super()._get_info(), "running-jobs": len(self._jobs)}


def _end(greenlet: Spawned) -> None:
    if not greenlet.dead:
        greenlet.throw(GreenletExit)
