"""Inbound messages, as the rest of the plugin sees them: a webhook hands each one in."""

from __future__ import annotations

from xpert_mq import ManagedQueueService

from . import keys
from .messages import InboundRow, Message
from .rows import Rows

_ATTEMPTS = 5
_BACKOFF_MS = 1000


class Inbound:
    """Takes messages in. Call it in the tenant's context."""

    def __init__(self, queue: ManagedQueueService, rows: Rows) -> None:
        self._queue = queue
        self._rows = rows

    def receive(self, message: Message) -> InboundRow:
        """Keep the message, to be dispatched together with those that come shortly before or after it.

        A webhook that is called again with the same message gets the row that is there.
        """
        self._rows.integration(message.integration)
        row = self._rows.add_inbound(message)
        if row.status == "received":
            self._enqueue(row)
        return row

    def recover(self, older_than_ms: int = 60_000) -> int:
        """Set going again what came in so long ago and is not dispatched; gives how many messages.

        Call it now and then. It is safe at any time: a message is in a batch once, and a batch has one key, under which
        the service takes it once.
        """
        rows = self._rows.next_round_inbound(older_than_ms)
        for row in rows:
            self._enqueue(row)
        return len(rows)

    def _enqueue(self, row: InboundRow) -> None:
        self._queue.enqueue(
            plugin_name=keys.PLUGIN,
            queue_name=keys.INBOUND_QUEUE,
            job_name=keys.AGGREGATE,
            payload={"row": row.id, "round": row.round},
            job_id=keys.aggregate_id(row),
            attempts=_ATTEMPTS,
            backoff_ms=_BACKOFF_MS,
        )
