"""Jobs that wait for the commit of Flask-SQLAlchemy's session."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from flask import current_app, has_app_context

from xpert_mq.errors import InvalidJobError, JobIdConflictError, QueueUnavailableError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, SessionTransaction

    from xpert_mq.service import ManagedQueueService, PreparedJob

logger = logging.getLogger(__name__)

#: What sessions keep: their jobs, and the transaction that has just been committed.
_WAITING = "xpert_mq.waiting"
_COMMITTED = "xpert_mq.committed"


class SessionCommits:
    """The service's commit hook: jobs are sent after the commit of the session that the current application has.

    A session with nothing begun (no statement run, nothing added) has no transaction: the job is sent at once.
    """

    def __init__(self, service: ManagedQueueService) -> None:
        self._service = service
        _listen()

    @property
    def by_default(self) -> bool:
        """What an enqueue does that says nothing: the current application's XPERT_MQ_ON_COMMIT."""
        return has_app_context() and bool(current_app.config.get("XPERT_MQ_ON_COMMIT"))

    def __call__(self, jobs: Sequence[PreparedJob], using: str | None) -> bool:
        """Takes the jobs, or gives False where no transaction has begun.

        Args:
            using: a bind key, or None: the session commits all of its databases together.

        Raises:
            InvalidJobError: the application has no Flask-SQLAlchemy, or no such bind.
        """
        if not has_app_context():
            return False
        database = current_app.extensions.get("sqlalchemy")
        if database is None:
            raise InvalidJobError(
                "on_commit: this application has no transactions to wait for; it takes Flask-SQLAlchemy, initialised"
                " for it",
                field="on_commit",
            )
        if using not in (None, *database.engines):
            raise InvalidJobError(f"using: {using!r} is none of this application's SQLALCHEMY_BINDS", field="using")
        session = database.session()
        if not session.in_transaction():
            return False
        session.info.setdefault(_WAITING, _Waiting(self._service)).add(_innermost(session), jobs)
        return True


def _listen() -> None:
    """To all sessions. One that got its listeners by its first job might be calling listeners just then."""
    if find_spec("flask_sqlalchemy") is None:
        return
    from sqlalchemy import event
    from sqlalchemy.orm import Session

    if not event.contains(Session, "after_commit", _note_commit):
        event.listen(Session, "after_commit", _note_commit)
        event.listen(Session, "after_transaction_end", _end)


def _innermost(session: Session) -> SessionTransaction | None:
    return session.get_nested_transaction() or session.get_transaction()


def _note_commit(session: Session) -> None:
    # Comes for savepoints, too.
    session.info[_COMMITTED] = _innermost(session)


def _end(session: Session, transaction: SessionTransaction) -> None:
    # Not at `after_commit`: an error there would leave the session in the middle of its commit.
    committed = session.info.pop(_COMMITTED, None) is transaction
    waiting: _Waiting | None = session.info.get(_WAITING)
    if waiting is not None:
        waiting.end(transaction, committed)


class _Waiting:
    """The jobs that wait for the commits of one session, each with its innermost transaction or savepoint."""

    def __init__(self, service: ManagedQueueService) -> None:
        self._service = service
        self._jobs: list[tuple[SessionTransaction | None, PreparedJob]] = []

    def add(self, transaction: SessionTransaction | None, jobs: Sequence[PreparedJob]) -> None:
        self._jobs += [(transaction, job) for job in jobs]

    def end(self, transaction: SessionTransaction, committed: bool) -> None:
        mine = [job for owner, job in self._jobs if owner is transaction]
        self._jobs = [(owner, job) for owner, job in self._jobs if owner is not transaction]
        if not committed or not mine:
            return
        if transaction.parent is None:
            self._send(mine)
        else:
            self._jobs += [(transaction.parent, job) for job in mine]

    def _send(self, jobs: Sequence[PreparedJob]) -> None:
        try:
            results = self._service.send_prepared(jobs)
        except QueueUnavailableError:
            ids = ", ".join(job.job_id for job in jobs)
            logger.error("committed, but perhaps not enqueued: %s", ids, extra={"action": "commit_not_enqueued"})
            raise
        for result in results:
            if isinstance(result, JobIdConflictError):
                raise result
