"""One try of an outbound message: the locks, the limits, the request, and what became of it.

A message that has to wait is deferred: its own job comes back (`Defer`). A new job for each wait would do too, but it
would start with all tries again, so that a failing message never failed for good; its id would change, so that `cancel`
had to look for it; and a crash between the new job and the end of the old one would leave two of them or none. A new
job with a new id is right where the old one has ended: after a pause and for a retry by hand (see `outbound`).

The request's idempotency key is the row's id. The row is `sending` before the request, and stays so in a crash: whoever
takes it up then sends it again under the same key, and the service takes it once.
"""

from __future__ import annotations

from datetime import UTC, datetime

from xpert_mq import Defer, ManagedQueueService, UnrecoverableError
from xpert_mq.locks import Lock, LockUnavailableError

from . import keys
from .client import NotDeliveredError, RefusedError, ThrottledError, deliver
from .database import now_ms
from .limits import Limits
from .messages import PENDING, OutboundRow
from .outbound import Outbound
from .rows import Rows
from .settings import Integration

_NOTHING_TO_DO = "nothing to do"


class Sending:
    """Sends one message at a time to a contact, for an account, and for an integration."""

    def __init__(self, queue: ManagedQueueService, rows: Rows) -> None:
        self._queue = queue
        self._rows = rows

    def run(self, row_id: str, round_: int, *, last_try: bool) -> str:
        """Gives the row's new status. Raises Defer to come back, and what went wrong for the next try."""
        row = self._rows.outbound(row_id)
        if row is None or row.round != round_ or row.status not in PENDING:
            return _NOTHING_TO_DO
        integration = self._rows.integration(row.integration)
        one = _One(self._queue, self._rows, row, integration, last_try=last_try)
        if one.is_paused():
            return "paused"
        # A look before the locks, so that what can't be sent now keeps nobody from sending.
        if not one.wait_for_turn(take=False):
            return _NOTHING_TO_DO
        try:
            with Lock(
                *keys.send_locks(row),
                ttl_ms=integration.lock_ttl_ms,
                plugin_name=keys.PLUGIN,
                service=self._queue,
            ) as lock:
                return one.send(lock)
        except LockUnavailableError:
            wait_ms = max(integration.interval_ms, integration.account_interval_ms, integration.lock_retry_ms)
            one.defer(wait_ms, "another message is being sent")
            return _NOTHING_TO_DO


class _One:
    """One message in one try."""

    def __init__(
        self, queue: ManagedQueueService, rows: Rows, row: OutboundRow, integration: Integration, *, last_try: bool
    ) -> None:
        self._queue = queue
        self._rows = rows
        self._row = row
        self._integration = integration
        self._last_try = last_try
        self._limits = Limits(queue, integration, row.account, row.contact)

    def send(self, lock: Lock) -> str:
        """Under the locks everything is looked at again: others have sent, paused or cancelled since."""
        if self.is_paused():
            return "paused"
        if not self.wait_for_turn(take=True):
            return _NOTHING_TO_DO
        begun = self._rows.move(self._row, "sending", after=PENDING)
        if begun is None:
            return _NOTHING_TO_DO
        # From here on nobody can cancel or pause it.
        self._row = begun
        lock.ensure_owned()
        try:
            self._request()
        except NotDeliveredError as error:
            # It may have arrived, late even: the intervals hold for every request.
            self._limits.end_turn()
            return self._not_delivered(error)
        self._rows.sent(self._row)
        self._limits.end_turn()
        self._limits.succeeded()
        return "sent"

    def is_paused(self) -> bool:
        """Pauses the row with its account or contact; but one that the service may have already goes on to its end."""
        if self._row.status == "sending" or not self._rows.paused(self._row):
            return False
        return self._rows.pause_with_others(self._row)

    def wait_for_turn(self, *, take: bool) -> bool:
        """Raises Defer if the limits don't allow it now. False: the row is not to be sent any more."""
        quiet_hours = self._integration.quiet_hours
        if quiet_hours and (quiet_ms := quiet_hours.left_ms(datetime.now(UTC))):
            return self.defer(quiet_ms, "quiet hours")
        wait_ms = self._limits.take_turn() if take else self._limits.wait_ms()
        return self.defer(wait_ms, "limit") if wait_ms else True

    def defer(self, wait_ms: int, reason: str, status: str | None = None) -> bool:
        """Raises Defer. False: the row is not to be sent any more.

        Its place in the line is part of the wait: so the older goes first, and of n that wait for one turn not all come
        back at the same time to find that n - 1 came too early.
        """
        account, contact = self._rows.ahead(self._row)
        wait_ms += max(account * self._integration.account_interval_ms, contact * self._integration.contact_interval_ms)
        now = self._row.status
        status = status or ("sending" if now == "sending" else "deferred")
        if not self._rows.move(self._row, status, after=(now,), reason=reason, due_ms=now_ms() + wait_ms):
            return False
        raise Defer(wait_ms)

    def _request(self) -> None:
        row = self._row
        content = {"account": row.account, "contact": row.contact, "message_id": row.message_id, "text": row.text}
        deliver(self._integration, "/messages", row.id, content)

    def _not_delivered(self, error: NotDeliveredError) -> str:
        """Raises Defer where the service only wants to wait, else what went wrong."""
        if isinstance(error, ThrottledError):
            # The service's own limit is no failure.
            self._limits.hold(error.retry_after_ms)
            self.defer(error.retry_after_ms, str(error), status="deferred")
            return _NOTHING_TO_DO
        if isinstance(error, RefusedError):
            # No other try can change that.
            self._note_failure(error, for_good=True)
            raise UnrecoverableError(str(error)) from error
        self._note_failure(error)
        raise error

    def _note_failure(self, error: NotDeliveredError, *, for_good: bool = False) -> None:
        if not for_good and not self._last_try:
            # Without an answer it stays `sending`, which can't be cancelled.
            status = "sending" if error.may_have_arrived else "deferred"
            due_ms = now_ms() + self._integration.backoff_ms
            self._rows.move(self._row, status, after=("sending",), reason=str(error), due_ms=due_ms)
            return
        self._rows.move(self._row, "failed", after=("sending",), reason=str(error))
        if self._limits.failed():
            Outbound(self._queue, self._rows).pause(self._row.integration, self._row.account, reason="failure_guard")
