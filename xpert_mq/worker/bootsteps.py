"""Where the worker's own parts enter Celery's consumer."""

from __future__ import annotations

import logging
from typing import Any

import redis
from celery import bootsteps

from xpert_mq.errors import QueueUnavailableError
from xpert_mq.handlers import registry
from xpert_mq.service import managed_queue
from xpert_mq.store.connection import too_old
from xpert_mq.worker.maintenance import Maintenance

logger = logging.getLogger(__name__)


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
            self._maintenance = Maintenance(managed_queue.settings, managed_queue.store)
            self._maintenance.start()
            _tell_what_is_served()

    def stop(self, consumer: Any) -> None:
        """Nothing: see the class."""

    def shutdown(self, consumer: Any) -> None:
        """Ends the thread; the only hook after the last job has ended."""
        if self._maintenance is not None:
            self._maintenance.stop()
            self._maintenance = None


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
