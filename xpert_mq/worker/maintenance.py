"""The thread of every node that hands out delayed jobs when they are due and removes finished ones when their age is
over.

All nodes do it, and none has to: the scripts make it safe. The thread sleeps until the next due time, and a publish
wakes it when a job is added that is due earlier.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import redis

from xpert_mq.errors import QueueUnavailableError
from xpert_mq.eventloop import start_native_thread
from xpert_mq.settings import Settings
from xpert_mq.store.connection import Executor
from xpert_mq.store.store import Store

logger = logging.getLogger(__name__)

#: Jobs per script call: a few milliseconds of the server's time.
BATCH = 250

#: Seconds of sleep at the most, in case that a wake-up got lost.
LONGEST_SLEEP = 1.0

#: Held while the thread is inside a call. A fork waits for it, so that no child inherits a half-done one.
_in_call = threading.Lock()
os.register_at_fork(before=_in_call.acquire, after_in_parent=_in_call.release, after_in_child=_in_call.release)


class Maintenance:
    """Runs until it is stopped; survives Redis being away."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._store = store
        self._queues = [settings.queue_name(pool) for pool in settings.pools]
        # Of its own, since gevent's sockets belong to one thread.
        self._executor = Executor(settings)
        self._redis = redis.Redis.from_url(settings.redis_url)
        self._subscription: Any = None
        self._stopping = threading.Event()
        self._join: Callable[[], None] | None = None

    def start(self) -> None:
        """Starts the thread."""
        self._join = start_native_thread(self._run, "xpert-mq-maintenance")

    def stop(self) -> None:
        """Ends the thread and waits for its end."""
        self._stopping.set()
        if self._join:
            self._join()

    def _run(self) -> None:
        failing = False
        while not self._stopping.is_set():
            try:
                with _in_call:
                    wait = self._work()
                if failing:
                    logger.info("maintenance goes on", extra={"action": "maintenance_resumed"})
                failing = False
                self._sleep(wait)
            except (QueueUnavailableError, redis.RedisError, OSError) as error:
                if not failing:
                    logger.warning("maintenance waits for Redis: %s", error, extra={"action": "maintenance_failing"})
                failing = True
                self._unsubscribe()
                self._stopping.wait(LONGEST_SLEEP)
            except Exception:
                logger.exception("maintenance failed, and goes on", extra={"action": "maintenance_error"})
                self._stopping.wait(LONGEST_SLEEP)
        self._unsubscribe()
        self._executor.close()
        self._redis.close()

    def _work(self) -> float:
        """One round. Gives the seconds until the next is due."""
        store = self._store
        if self._subscription is None:
            # Before the first look: what is added after it is heard of.
            self._subscription = self._redis.pubsub(ignore_subscribe_messages=True)
            self._subscription.subscribe(store.keys.due)
        calls = [*(store.promote(queue, BATCH) for queue in self._queues), store.expire(BATCH)]
        wait_ms = LONGEST_SLEEP * 1000
        while calls:
            replies = self._executor.run_many(calls)
            wait_ms = min([wait_ms, *(next_ms for _, next_ms in replies if next_ms is not None)])
            # Those that found more than they could do at once go on before anything else.
            calls = [call for call, (count, _) in zip(calls, replies, strict=True) if count >= BATCH]
        return wait_ms / 1000

    def _sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        # Half a millisecond more: scripts cut theirs, and would find nothing due.
        deadline = time.monotonic() + seconds + 0.0005
        while not self._stopping.is_set():
            left = deadline - time.monotonic()
            if left <= 0 or self._subscription.get_message(timeout=left) is not None:
                return

    def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()
