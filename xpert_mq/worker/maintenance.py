"""The thread of every node that says that it is alive, hands out delayed jobs when they are due, removes finished ones
when their age is over, and takes back what dead nodes hold.

All nodes do it, and none has to: the scripts make it safe. The thread sleeps until the next thing is due, and a publish
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
from celery.worker import state as worker_state

from xpert_mq.errors import QueueUnavailableError
from xpert_mq.eventloop import start_native_thread
from xpert_mq.node import node
from xpert_mq.running import running
from xpert_mq.settings import Settings
from xpert_mq.store.connection import Executor
from xpert_mq.store.store import NodeInfo, Store

logger = logging.getLogger(__name__)

#: Jobs per script call: a few milliseconds of the server's time.
BATCH = 250

#: Seconds of sleep at the most, in case that a wake-up got lost.
LONGEST_SLEEP = 1.0

#: Held while the thread is inside a call. A fork waits for it, so that no child inherits a half-done one.
_in_call = threading.Lock()
os.register_at_fork(before=_in_call.acquire, after_in_parent=_in_call.release, after_in_child=_in_call.release)

_DISOWNED = {"rerun": "it runs again", "failed": "it stalled too often and has failed"}


class Maintenance:
    """Runs until it is stopped; survives Redis being away.

    Args:
        info: gives what the node says of itself to the others.
    """

    def __init__(self, settings: Settings, store: Store, info: Callable[[], NodeInfo]) -> None:
        self._settings = settings
        self._store = store
        self._info = info
        self._consuming = True
        self._queues = [settings.queue_name(pool) for pool in settings.pools]
        # Of its own, since gevent's sockets belong to one thread.
        self._executor = Executor(settings)
        self._redis = redis.Redis.from_url(settings.redis_url)
        self._subscription: Any = None
        self._next_beat = float("-inf")
        self._stopping = threading.Event()
        self._join: Callable[[], None] | None = None

    def start(self) -> None:
        """Says that the node is alive, and starts the thread."""
        self._beat()
        self._join = start_native_thread(self._run, "xpert-mq-maintenance")

    def consume(self, consuming: bool) -> None:
        """Says soon whether the node takes jobs: what is kept for one that does not goes to the others."""
        self._consuming = consuming
        self._next_beat = float("-inf")

    def stop(self) -> None:
        """Ends the thread, and hands back what the node still holds."""
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
        self._leave()
        self._unsubscribe()
        self._executor.close()
        self._redis.close()

    def _work(self) -> float:
        """One round. Gives the seconds until the next is due."""
        if time.monotonic() >= self._next_beat:
            self._beat()
            self._recover()
            self._disown()
            self._sweep()
        return min(self._promote_and_expire(), self._next_beat - time.monotonic())

    def _beat(self) -> None:
        settings, info = self._settings, self._info()
        node_id, fresh = node.id_and_fresh
        tick_age_ms, timeout_ms = node.tick_age_ms, round(1000 * settings.node_timeout)
        hangs = info.ticks and tick_age_ms > timeout_ms
        call = self._store.beat(
            node_id,
            info,
            fresh=fresh,
            consuming=self._consuming,
            hangs=hangs,
            tick_age_ms=tick_age_ms,
            gap_ms=timeout_ms // 2,
        )
        if self._executor.run(call):
            node.known(node_id)
            self._next_beat = time.monotonic() + settings.heartbeat_interval
        else:
            node.renew(node_id)
            self._beat()

    def _recover(self) -> None:
        settings, more = self._settings, True
        while more:
            done = self._executor.run(
                self._store.recover(node.id, round(1000 * settings.node_timeout), settings.max_stalled, BATCH)
            )
            more = done.more
            for dead in done.dead_nodes:
                logger.warning("node %s is dead", dead, extra={"action": "node_dead", "node": dead})
            for token in done.rerun:
                logger.warning("job %s was on a node that is gone: it runs again", token, extra={"action": "job_rerun"})
            for token in done.failed:
                logger.error("job %s stalled too often and has failed", token, extra={"action": "job_stalled_failed"})
            if done.messages:
                logger.info("%d messages of gone nodes went back", done.messages, extra={"action": "messages_returned"})

    def _disown(self) -> None:
        """Gives back what the node runs by Redis' account and not by its own.

        Such is a claim that Redis carried out when nobody waited for it any more, or an outcome that it never got. And
        what a child ran that has died: Celery may learn of that later than we do, and then it would not count.
        """
        node_id = node.id
        # In this order: what begins meanwhile is in the last, and what ends meanwhile is not what Redis has any more.
        # What dies meanwhile is left to the next time.
        died = running.died()
        claimed = self._executor.run(self._store.running(node_id))
        own = running.nonces() | (running.died() - died)
        for token, nonce in claimed.items():
            if nonce in own:
                continue
            # What a shutdown kills does not count.
            counts = nonce in died and worker_state.should_terminate is None
            most = self._settings.max_stalled if counts else None
            what = self._executor.run(self._store.stall(token, node_id, nonce=nonce, most_stalls=most))
            if what != "other":
                logger.warning(
                    "job %s does not run here any more: %s", token, _DISOWNED[what], extra={"action": "job_disowned"}
                )
        running.forget(died)

    def _sweep(self) -> None:
        for queue in self._queues:
            tokens = [""] * BATCH
            while len(tokens) >= BATCH:
                tokens = self._executor.run(self._store.sweep(queue, BATCH))
                for token in tokens:
                    logger.warning("job %s had lost its message", token, extra={"action": "message_replaced"})

    def _promote_and_expire(self) -> float:
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

    def _leave(self) -> None:
        """Hands back at once what the node holds. If that fails, the others find it dead in time."""
        try:
            self._executor.run(self._store.leave(node.id))
            self._recover()
        except QueueUnavailableError as error:
            logger.warning("node %s could not say that it goes: %s", node.id, error, extra={"action": "leave_failed"})
        node.leave(node.id)

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
