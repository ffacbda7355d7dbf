"""Database connections around handlers: as around a request.

A connection that is too old or broken is closed before and after a handler, one that is to persist persists. What a
transaction around the handler holds, as in tests, is left alone.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.cache import close_caches
from django.db import connections, reset_queries

from xpert_mq.eventloop import gevent_patched

logger = logging.getLogger(__name__)

#: What a child of a fork must neither use nor close, since it is its parent's.
_inherited: list[Any] = []


@contextmanager
def around(context: object = None) -> Iterator[None]:
    """For a sync handler, in its thread."""
    before = _begin()
    try:
        yield
    finally:
        # A greenlet ends with its job, and its connections with it.
        _end(before, close_all=gevent_patched())


@asynccontextmanager
async def aaround(context: object = None) -> AsyncIterator[None]:
    """For an async handler: its queries run in a thread of its own, as those of a request under ASGI.

    The thread ends with the handler, and so must its connections: a pool keeps them where they are to persist.
    """
    if gevent_patched():
        # Where asgiref has no threads; Django's async queries don't work there.
        yield
        return
    async with ThreadSensitiveContext():
        before = await sync_to_async(_begin)()
        try:
            yield
        finally:
            await sync_to_async(_end)(before, close_all=True)


def _begin() -> set[str]:
    """Gives the databases with an open transaction, which is someone else's."""
    reset_queries()
    _close_old()
    return {one.alias for one in _used() if one.in_atomic_block}


def _end(before: set[str], *, close_all: bool) -> None:
    for connection in _used():
        if connection.in_atomic_block and connection.alias not in before:
            _drop(connection)
    if close_all:
        for connection in _free():
            connection.close()
    _close_old()
    close_caches()


def _drop(connection: Any) -> None:
    """A handler began a transaction and did not end it: the next one must not go on in it."""
    logger.error(
        "a handler left a transaction open in the database %s: it is rolled back",
        connection.alias,
        extra={"action": "transaction_left_open", "database": connection.alias},
    )
    connection.close()
    # It remembers the transaction; a new one doesn't.
    del connections[connection.alias]


def _close_old() -> None:
    """As Django's `close_old_connections`, which would end a transaction, too."""
    for connection in _free():
        connection.close_if_unusable_or_obsolete()


def _free() -> list[Any]:
    return [connection for connection in _used() if not connection.in_atomic_block]


def _used() -> list[Any]:
    """This thread's connections."""
    return list(connections.all(initialized_only=True))


def close_before_fork(**_: Any) -> None:
    """Closes what was opened while a worker started."""
    for connection in _used():
        connection.close()
        if hasattr(connection, "close_pool"):
            connection.close_pool()


def forget_after_fork(**_: Any) -> None:
    """In a child: connections and pools of the parent are not used, nor closed, which would end them for the parent."""
    for alias in connections:
        connection = connections[alias]
        _inherited.append((connection, getattr(connection, "_connection_pools", {}).pop(alias, None)))
        del connections[alias]
