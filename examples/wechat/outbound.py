"""Outbound messages, as the rest of the plugin sees them. Call it in the tenant's context, from requests or handlers.

Each verb changes the rows first and the queue after it. A crash in between leaves a row that waits without a job, which
`recover` finds. The job's id is derived from the row, so that enqueueing it again adds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from xpert_mq import JobIdConflictError, ManagedQueueService

from . import keys
from .database import now_ms
from .messages import PENDING, WAITING, Message, OutboundRow
from .rows import Rows
from .settings import Integration

#: Rows that one `resume` sets going.
RESUMED_AT_ONCE = 100
_SOON_MS = 1000


class PausedError(Exception):
    """The account or the contact is paused; the message is not kept."""


class BacklogError(Exception):
    """Too many messages wait already; the message is not kept."""


class Outbound:
    """Sends messages, and changes what is to become of them."""

    def __init__(self, queue: ManagedQueueService, rows: Rows) -> None:
        self._queue = queue
        self._rows = rows

    def send(self, message: Message, delay_ms: int = 0) -> OutboundRow:
        """Keep the message, to be sent after the delay and within the limits.

        The same message again gives the row that is there, and enqueues its job if a crash had kept that from being
        done. Raises PausedError, BacklogError, and LookupError for an unknown integration.
        """
        integration = self._rows.integration(message.integration)
        row = self._rows.find_outbound(message)
        if row is None:
            self._refuse_paused(message)
            self._refuse_backlog(message, integration)
            row = self._rows.add_outbound(message, now_ms() + delay_ms)
        if row.status in WAITING:
            self._enqueue([row])
        return row

    def cancel(self, row_id: str) -> bool:
        """Whether the message is cancelled: then it is never sent. One that is being sent can't be."""
        row = self._rows.outbound(row_id)
        # The row decides, and the job that finds it cancelled does nothing. Removing the job saves only the run.
        if row is None or not self._rows.move(row, "cancelled", after=(*WAITING, "paused")):
            return False
        self._queue.cancel(keys.send_id(row))
        return True

    def pause(self, integration: str, account: str, contact: str = "", reason: str = "manual") -> int:
        """Pause an account, or one contact of it; gives how many waiting messages are paused with it."""
        rows = self._rows.pause(integration, account, contact, reason)
        for row in rows:
            self._queue.cancel(keys.send_id(row))
        return len(rows)

    def resume(self, integration: str, account: str, contact: str = "") -> int:
        """End a pause; gives how many messages wait again: the oldest. Call it again as long as it gives some."""
        rows = self._rows.resume(integration, account, contact, RESUMED_AT_ONCE)
        self._enqueue(rows)
        return len(rows)

    def retry(self, row_id: str, delay_ms: int = 0) -> bool:
        """Send a failed or cancelled message after all, with all its tries; False for any other."""
        row = self._rows.outbound(row_id)
        if row is None:
            return False
        again = self._rows.move(
            row, "queued", after=("failed", "cancelled"), due_ms=now_ms() + delay_ms, next_round=True
        )
        if again is not None:
            self._enqueue([again])
        return again is not None

    def recover(self, older_than_ms: int = 60_000) -> int:
        """Set going again what has stood still for so long; gives how many messages.

        Call it now and then. It is safe at any time, also for a message that a worker is sending right now: the next
        try waits for the lock, and then finds it sent. If the worker died in the middle, the service knows the key.
        """
        return sum(self._recover(row) for row in self._rows.open_outbound(older_than_ms))

    def _recover(self, row: OutboundRow) -> bool:
        job = self._queue.get_job(keys.send_id(row))
        if job is not None and job.state == "delayed":
            return False
        if job is not None and job.state == "failed":
            # Failed before the plugin's code was reached: as when no worker had the handler.
            return self._rows.move(row, "failed", after=PENDING, reason=job.failed_reason) is not None
        if job is not None:
            # Waits too long, or runs in a worker that may be dead, or has ended without a word.
            self._queue.cancel(keys.send_id(row))
            again = self._rows.move(row, row.status, after=(row.status,), reason=row.reason, next_round=True)
            if again is None:
                return False
            row = again
        self._enqueue([row])
        return True

    def _enqueue(self, rows: Iterable[OutboundRow]) -> None:
        """One job per row, which holds no more than the ids."""
        if not rows:
            return
        rows = list(rows)
        options = {row.integration: self._rows.integration(row.integration) for row in rows}
        results = self._queue.enqueue_many(
            {
                "plugin_name": keys.PLUGIN,
                "queue_name": keys.OUTBOUND_QUEUE,
                "job_name": keys.SEND,
                "payload": {"row": row.id, "round": row.round},
                "job_id": keys.send_id(row),
                "delay_ms": row.due_ms - now_ms(),
                "attempts": options[row.integration].attempts,
                "backoff_ms": options[row.integration].backoff_ms,
            }
            for row in rows
        )
        for result in results:
            if isinstance(result, JobIdConflictError):
                raise result

    def _refuse_paused(self, message: Message) -> None:
        reason = self._rows.paused(message)
        if reason:
            raise PausedError(f"account {message.account!r} or contact {message.contact!r} is paused: {reason}")

    def _refuse_backlog(self, message: Message, integration: Integration) -> None:
        account, contact = self._rows.backlog(message)
        if account < integration.account_backlog and contact < integration.contact_backlog:
            return
        if integration.pause_when_full:
            self.pause(message.integration, message.account, reason="backlog")
        raise BacklogError(f"{account} messages of account {message.account!r} wait, {contact} of them to this contact")
