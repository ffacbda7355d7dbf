"""Where the worker's own parts enter Celery's consumer."""

from __future__ import annotations

import functools
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from celery import bootsteps
from celery.concurrency import solo, thread
from celery.worker import state as worker_state

from xpert_mq.errors import QueueUnavailableError
from xpert_mq.handlers import Handler, registry
from xpert_mq.node import node
from xpert_mq.service import managed_queue
from xpert_mq.settings import SANDBOX_BROWSER, Settings
from xpert_mq.store.connection import too_old
from xpert_mq.store.keys import handler_limit, logical_of, pool_limit
from xpert_mq.store.store import NodeInfo
from xpert_mq.worker.maintenance import Maintenance

logger = logging.getLogger(__name__)

#: Between two signs of life of the consumer's loop.
TICK_SECONDS = 1.0


class MaintenanceStep(bootsteps.StartStopStep):
    """Starts the maintenance thread with the consumer, and ends it when the pool has joined.

    A consumer restarts when its connection is lost; the thread goes on meanwhile, and minds the loss itself.
    """

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._maintenance: Maintenance | None = None

    def start(self, consumer: Any) -> None:
        """Checks the server, and starts the thread once."""
        if self._maintenance is None:
            _check(managed_queue.get_redis())
            started = round(time.time() * 1000)
            info = functools.partial(_info, consumer, started)
            self._maintenance = Maintenance(managed_queue.settings, managed_queue.store, info)
            self._maintenance.start()
            _tell_what_is_served()
        self._maintenance.consume(True)
        node.tick()
        if not _is_solo(consumer):
            consumer.timer.call_repeatedly(TICK_SECONDS, _tick_of(consumer.pool))

    def stop(self, consumer: Any) -> None:
        """The consumer stops, to end or to connect again; the thread goes on."""
        if self._maintenance is not None:
            self._maintenance.consume(False)

    def shutdown(self, consumer: Any) -> None:
        """Ends the thread; the only hook after the last job has ended."""
        if self._maintenance is not None:
            self._maintenance.stop()
            self._maintenance = None
        if worker_state.should_terminate is not None and _has_threads(consumer.pool):
            # Threads can't be ended, and Python would wait for them; what they run has been handed back.
            logging.shutdown()
            sys.stdout.flush()
            os._exit(int(worker_state.should_terminate))


def _is_solo(consumer: Any) -> bool:
    # Its loop stands still while a job runs, which is no fault.
    return isinstance(consumer.pool, solo.TaskPool)


def _has_threads(pool: Any) -> bool:
    return isinstance(pool, thread.TaskPool) or hasattr(pool, "tick")


def _tick_of(pool: Any) -> Callable[[], None]:
    """The sign of life; where jobs run on a loop of their own, that must be alive, too."""
    return functools.partial(pool.tick, node.tick) if hasattr(pool, "tick") else node.tick


def _info(consumer: Any, started: int) -> NodeInfo:
    # Remote control may change what it consumes.
    queues = sorted(consumer.app.amqp.queues.consume_from)
    handlers = registry.handlers()
    names = sorted(handler_limit(one.scope_key, logical_of(one)) for one in handlers)
    limits = _limits(managed_queue.settings, queues, handlers)
    more = {
        "host": consumer.hostname,
        "pid": os.getpid(),
        "pool": type(consumer.pool).__module__.rpartition(".")[2],
        "concurrency": consumer.pool.limit,
        "started": started,
    }
    return NodeInfo(queues, names, limits, not _is_solo(consumer), more)


def _limits(settings: Settings, queues: Sequence[str], handlers: Sequence[Handler]) -> dict[str, int]:
    """The limits of handlers and pools by their names."""
    limits = {handler_limit(one.scope_key, logical_of(one)): one.concurrency for one in handlers if one.concurrency}
    # The scope's own handler goes before the one for all scopes, also with its lack of a limit.
    for one in handlers:
        if one.scope_key is not None and not one.concurrency and handler_limit(None, logical_of(one)) in limits:
            limits[handler_limit(one.scope_key, logical_of(one))] = 0
    if SANDBOX_BROWSER in settings.pools and (queue := settings.queue_name(SANDBOX_BROWSER)) in queues:
        limits[pool_limit(queue)] = settings.sandbox_browser_concurrency
    return limits


def _tell_what_is_served() -> None:
    names = sorted({f"{one.plugin_name}/{one.queue_name}/{one.job_name}" for one in registry.handlers()})
    logger.info("handlers: %s", ", ".join(names) or "none", extra={"action": "handlers_served", "handlers": names})


def _check(client: redis.Redis) -> None:
    info: Any = client.info()
    if reason := too_old(info["redis_version"]):
        raise QueueUnavailableError(managed_queue.settings.safe_redis_url, reason)
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        logger.warning(
            "the server's maxmemory-policy is %s: it may drop jobs when memory is short; set it to noeviction",
            policy,
            extra={"action": "server_policy"},
        )
