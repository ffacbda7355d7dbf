"""A client for looking at the server: one connection, the platform's timeout, no sending again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

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


def clock_difference(client: redis.Redis) -> float:
    """The server's clock minus this machine's in milliseconds, exact to half a round trip."""
    before = time.time()
    answer: Any = client.time()
    seconds, microseconds = answer
    middle = (before + time.time()) / 2
    return float((seconds + microseconds / 1_000_000 - middle) * 1000)


class ServerClock:
    """The server's time, which jobs' times are; it is asked once."""

    def __init__(self, settings: Settings) -> None:
        with connected(settings) as client:
            self._difference = clock_difference(client)

    def now(self) -> float:
        """Milliseconds since 1970."""
        return time.time() * 1000 + self._difference
