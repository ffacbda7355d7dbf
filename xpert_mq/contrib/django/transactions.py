"""`on_commit`: jobs that are added when the transaction of a database is committed."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import Any

from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.utils.connection import ConnectionDoesNotExist

from xpert_mq.contrib.django.conf import configuration
from xpert_mq.errors import InvalidJobError, JobIdConflictError
from xpert_mq.models import EnqueueResult
from xpert_mq.service import PreparedJob, managed_queue

logger = logging.getLogger(__name__)


class DjangoCommitHook:
    """The CommitHook of Django's transactions, also nested ones.

    Without an outbox a QueueUnavailableError comes out of the commit, and then other callbacks of it are not called.
    """

    @property
    def by_default(self) -> bool:
        """The setting `ON_COMMIT`."""
        return configuration().on_commit

    def __call__(self, jobs: Sequence[PreparedJob], using: str | None) -> bool:
        """As the protocol says. Raises InvalidJobError for a database that is unknown, or has no outbox."""
        alias = DEFAULT_DB_ALIAS if using is None else using
        if not _in_transaction(alias):
            return False
        if not configuration().outbox:
            transaction.on_commit(functools.partial(_send, jobs), using=alias)
            return True
        from xpert_mq.contrib.django import outbox

        ids = outbox.write(jobs, alias)
        transaction.on_commit(functools.partial(outbox.send, alias, ids, jobs), using=alias)
        return True

    async def acall(self, jobs: Sequence[PreparedJob], using: str | None) -> bool:
        """For a coroutine: its transaction, if there is one, is of the thread that it belongs to."""
        taken: bool = await sync_to_async(self)(jobs, using)
        return taken


hook = DjangoCommitHook()


def _in_transaction(alias: str) -> bool:
    try:
        connection: Any = connections[alias]
    except ConnectionDoesNotExist as error:
        raise InvalidJobError(f"using: {error}", field="using") from error
    if connection.in_atomic_block:
        return True
    # Django refuses on_commit where transactions are managed by hand, in words of its own.
    opened = connection.connection is not None
    return not (connection.autocommit if opened else connection.settings_dict["AUTOCOMMIT"])


def _send(jobs: Sequence[PreparedJob]) -> None:
    for result in managed_queue.send_prepared(jobs):
        tell_conflict(result)


def tell_conflict(result: EnqueueResult | JobIdConflictError) -> None:
    """Nobody is left to be told that an id was not free."""
    if isinstance(result, JobIdConflictError):
        logger.error("a job was not added after a commit: %s", result, extra={"action": "commit_conflict"})
