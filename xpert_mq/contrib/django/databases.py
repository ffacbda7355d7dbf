"""Database connections around handlers: as around a request.

A connection that is too old or broken is closed before and after a handler, one that is to persist persists. What a
transaction around the handler holds, as in tests, is left alone. With django-tenants the schema is the job's tenant's.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.core.cache import close_caches
from django.db import connections, reset_queries

from xpert_mq.context import current_context
from xpert_mq.contrib.django import tenants
from xpert_mq.contrib.django.conf import configuration
from xpert_mq.eventloop import gevent_patched

logger = logging.getLogger(__name__)

#: Those of the thread that runs a test.
_lent: list[Any] = []

#: What a child of a fork must neither use nor close, since it is its parent's.
_inherited: list[Any] = []


@contextmanager
def around(context: object = None) -> Iterator[None]:
    """For a sync handler, in its thread."""
    # A greenlet ends with its job, and its connections with it.
    with _begun(close_all=gevent_patched()):
        yield


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
        end = await sync_to_async(_begun)(close_all=True)
        try:
            yield
        finally:
            await sync_to_async(end.close)()


def _begun(*, close_all: bool) -> ExitStack:
    """Makes this thread's connections ready for a handler; to be closed after it, in this thread."""
    with ExitStack() as end:
        end.enter_context(_borrowed())
        reset_queries()
        _close_old()
        # An open transaction is someone else's.
        before = {one.alias for one in _used() if one.in_atomic_block}
        end.callback(_end, before, close_all=close_all)
        if configuration().tenant is tenants.from_django_tenants:
            end.enter_context(tenants.schema_of(current_context().tenant_id))
        return end.pop_all()


@contextmanager
def shared_connections() -> Iterator[None]:
    """Within the block handlers of all threads use this thread's connections where no other can see what they hold.

    For tests: an uncommitted transaction, and SQLite in memory. While a handler runs, this thread must only wait.
    """
    lent = connections.all()
    for connection in lent:
        connection.inc_thread_sharing()
    _lent.extend(lent)
    try:
        yield
    finally:
        _lent.clear()
        for connection in lent:
            connection.dec_thread_sharing()


@contextmanager
def _borrowed() -> Iterator[None]:
    own = {one.alias: connections[one.alias] for one in _lent if one.in_atomic_block or _is_in_memory(one)}
    for one in _lent:
        if one.alias in own:
            connections[one.alias] = one
    try:
        yield
    finally:
        for alias, connection in own.items():
            connections[alias] = connection


def _is_in_memory(connection: Any) -> bool:
    return connection.vendor == "sqlite" and bool(connection.is_in_memory_db())


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


def check_before_use() -> None:
    """A kept connection that the database has ended meanwhile is replaced: there may be hours between two jobs."""
    for database in connections.settings.values():
        database["CONN_HEALTH_CHECKS"] = True


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
