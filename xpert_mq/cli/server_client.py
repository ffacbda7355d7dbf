"""A client for looking at the server: one connection, the platform's timeout, no sending again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis

from xpert_mq.errors import QueueUnavailableError
from xpert_mq.settings import Settings
from xpert_mq.store.connection import connection_class_and_options


@contextmanager
def connected(settings: Settings) -> Iterator[redis.Redis]:
    """A client whose errors are the platform's own.

    Raises:
        QueueUnavailableError: the server can't be reached, does not let us in, or stopped answering.
    """
    kind, options = connection_class_and_options(settings.redis_url, settings.enqueue_timeout)
    pool = redis.ConnectionPool(connection_class=kind, **options)
    try:
        yield redis.Redis(connection_pool=pool)
    except (redis.RedisError, OSError) as error:
        raise QueueUnavailableError(settings.safe_redis_url, str(error).rstrip(".") or type(error).__name__) from error
    finally:
        pool.disconnect()
