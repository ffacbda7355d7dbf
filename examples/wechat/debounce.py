"""Debounced inbound messages: aggregate each into its conversation's batch, and flush the batch when it is quiet.

Every message schedules a flush of the batch's version. Earlier ones are not cancelled: their version has passed.
"""

from __future__ import annotations

import asyncio

from xpert_mq import Defer, ManagedQueueService, UnrecoverableError
from xpert_mq.locks import AsyncLock, LockUnavailableError

from . import keys
from .batches import Batch, Batches
from .client import NotDeliveredError, RefusedError, ThrottledError, deliver
from .messages import InboundRow
from .rows import Rows
from .settings import Integration

#: How long a job waits for the lock in its place; then it gives up the place, and comes back.
_WAIT_MS = 100
_KEPT_MS = 3600 * 1000
_NOTHING_TO_DO = "nothing to do"


class Debounce:
    """The two handlers' work. SQLite and the service's client block, so they run in threads beside the loop."""

    def __init__(self, queue: ManagedQueueService, rows: Rows) -> None:
        self._queue = queue
        self._rows = rows
        self._batches = Batches(queue)

    async def aggregate(self, row_id: str, round_: int) -> str:
        """Adds the message, and those that wait with it, to the batch, and schedules its flush.

        Run again, it adds nothing and schedules the same.
        """
        row, integration = await self._row(row_id)
        if row is None or integration is None or row.round != round_:
            return _NOTHING_TO_DO
        try:
            async with self._lock(row, integration) as lock:
                batch = await self._aggregated(row, integration, lock)
                if batch is None:
                    return _NOTHING_TO_DO
                await self._schedule_flush(row, batch, integration)
                return f"version {batch.version}"
        except LockUnavailableError as error:
            raise Defer(integration.lock_retry_ms) from error

    async def flush(self, row_id: str, batch_id: str, version: int) -> str:
        """Dispatches the batch, if no message has come since."""
        row, integration = await self._row(row_id)
        if row is None or integration is None:
            return _NOTHING_TO_DO
        try:
            async with self._lock(row, integration) as lock:
                batch = await self._batches.load(row)
                if batch is None or (batch.id, batch.version) != (batch_id, version):
                    return _NOTHING_TO_DO
                await self._dispatch(batch, integration, lock)
                return f"{len(batch.messages)} messages"
        except LockUnavailableError as error:
            raise Defer(integration.lock_retry_ms) from error

    def _lock(self, row: InboundRow, integration: Integration) -> AsyncLock:
        return AsyncLock(
            keys.inbound_lock(row),
            ttl_ms=integration.lock_ttl_ms,
            wait_ms=_WAIT_MS,
            plugin_name=keys.PLUGIN,
            service=self._queue,
        )

    async def _row(self, row_id: str) -> tuple[InboundRow | None, Integration | None]:
        row = await asyncio.to_thread(self._rows.inbound, row_id)
        if row is None:
            return None, None
        return row, await asyncio.to_thread(self._rows.integration, row.integration)

    async def _aggregated(self, row: InboundRow, integration: Integration, lock: AsyncLock) -> Batch | None:
        """The batch that has the message; None if it has been dispatched."""
        batch = await self._batches.load(row)
        if batch is not None and batch.status != "pending":
            # Left by a worker that died, or by tries without an answer: nothing may be added to it, so it ends first.
            await self._dispatch(batch, integration, lock)
            batch = None
        # All that the conversation has, not this message alone: jobs overtake each other, and a later message that is
        # dispatched before an earlier one would be out of order.
        received = await asyncio.to_thread(self._rows.received_with, row)
        if row.id not in [one.id for one in received]:
            return None
        batch = (batch or Batch.begin(row)).with_messages(received)
        return await self._save(batch, integration, lock)

    async def _schedule_flush(self, row: InboundRow, batch: Batch, integration: Integration) -> None:
        await self._queue.aenqueue(
            plugin_name=keys.PLUGIN,
            queue_name=keys.INBOUND_QUEUE,
            job_name=keys.FLUSH,
            payload={"row": row.id, "batch": batch.id, "version": batch.version},
            job_id=keys.flush_id(batch.id, batch.version, row.round),
            delay_ms=integration.debounce_ms,
            attempts=integration.dispatch_attempts,
            backoff_ms=integration.dispatch_backoff_ms,
        )

    async def _dispatch(self, batch: Batch, integration: Integration, lock: AsyncLock) -> None:
        """Hands the batch to the service, ends its rows, and removes it.

        A batch that is found `dispatching` is dispatched again, since the service takes a key once. With a service that
        does not, it would have to end here: better lost than twice.
        """
        if batch.status != "dispatched":
            batch = await self._save(batch.having("dispatching"), integration, lock)
            await lock.ensure_owned()
            await self._request(batch, integration, lock)
            batch = await self._save(batch.having("dispatched"), integration, lock)
        await asyncio.to_thread(self._rows.end_inbound, batch.row_ids, "dispatched")
        await self._batches.remove(batch, lock)

    async def _request(self, batch: Batch, integration: Integration, lock: AsyncLock) -> None:
        content = {"account": batch.account, "contact": batch.contact, "texts": batch.texts}
        try:
            await asyncio.to_thread(deliver, integration, "/dispatches", batch.id, content)
        except RefusedError as error:
            await asyncio.to_thread(self._rows.end_inbound, batch.row_ids, "failed", str(error))
            await self._batches.remove(batch, lock)
            raise UnrecoverableError(str(error)) from error
        except NotDeliveredError as error:
            # Back to pending, where messages may be added. But what may have arrived must go out again as it was.
            if not error.may_have_arrived:
                await self._save(batch.having("pending"), integration, lock)
            if isinstance(error, ThrottledError):
                raise Defer(error.retry_after_ms) from error
            raise

    async def _save(self, batch: Batch, integration: Integration, lock: AsyncLock) -> Batch:
        return await self._batches.save(batch, lock, max(_KEPT_MS, 3 * integration.debounce_ms))
