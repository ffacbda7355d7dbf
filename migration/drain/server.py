"""The Redis that has the old queue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AskError
from redis.retry import Retry

from xpert_mq import QueueUnavailableError, Settings, SettingsError

from .errors import DrainError

_TIMEOUT_SECONDS = 10


def shown_url(url: str) -> str:
    """The URL without its password.

    Raises:
        DrainError: it is none of a Redis server.
    """
    try:
        return Settings(redis_url=url).safe_redis_url
    except SettingsError as error:
        raise DrainError(str(error).replace("XPERT_MQ_REDIS_URL", "the URL of the old queue")) from None


@contextmanager
def old_server(url: str) -> Iterator[redis.Redis]:
    """A client that sends nothing twice, and whose errors are sentences.

    Raises:
        QueueUnavailableError: the server can't be reached, or stopped answering.
        DrainError: it refused a command, or the URL is wrong.
    """
    shown = shown_url(url)
    client = redis.Redis.from_url(
        url,
        protocol=2,  # the only one that servers of Bull's time speak
        socket_timeout=_TIMEOUT_SECONDS,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        yield client
    except redis.AuthenticationError as error:
        raise DrainError(f"Redis at {shown} does not let us in: {error}") from error
    # An OSError is one of the output: the client makes its own of a server's.
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise QueueUnavailableError(shown, _reason(error)) from error
    except redis.RedisError as error:
        raise DrainError(f"Redis at {shown} refused a command: {_reason(error)}{_hint(error)}") from error
    finally:
        client.close()


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or type(error).__name__


def _hint(error: Exception) -> str:
    if isinstance(error, AskError):
        host, port = error.node_addr
        return f"; it is a node of a cluster, and this queue is on the node at {host}:{port}: give the URL of that one"
    return ""
