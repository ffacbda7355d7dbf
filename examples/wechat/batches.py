"""What has been gathered of a contact's messages, in Redis: changed only by who holds the conversation's lock."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Literal, Self

from xpert_mq import ManagedQueueService
from xpert_mq.locks import AsyncLock, LockLostError

from .keys import Keys
from .messages import InboundRow

Status = Literal["pending", "dispatching", "dispatched"]

# KEYS: the lock's, the batch's. ARGV: the lock's token; to save it the batch and its life in ms, to remove it nothing.
# Gives 1, or 0 if the lock is lost. One step: a holder that has lost the lock can't overwrite what the next one does.
_WRITE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] then redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3]) else redis.call('DEL', KEYS[2]) end
return 1
"""


@dataclass(frozen=True, slots=True)
class Batch:
    """The messages of one dispatch.

    Attributes:
        id: the dispatch's idempotency key.
        version: grows with every message; a flush of an earlier version has nothing to do.
        status: only a pending one takes messages. While it is dispatching, the service may have it already.
        messages: [order of arrival, row id, text] of each.
    """

    id: str
    integration: str
    account: str
    contact: str
    version: int = 0
    status: Status = "pending"
    messages: tuple[tuple[int, str, str], ...] = ()

    @classmethod
    def begin(cls, row: InboundRow) -> Self:
        return cls(uuid.uuid4().hex, row.integration, row.account, row.contact)

    @property
    def row_ids(self) -> list[str]:
        return [id_ for _, id_, _ in self.messages]

    @property
    def texts(self) -> list[str]:
        return [text for _, _, text in self.messages]

    def with_messages(self, rows: Iterable[InboundRow]) -> Self:
        """The same batch if the rows are in it already. Jobs come in any order, messages stand in that of arrival."""
        messages = tuple(sorted({*self.messages, *((row.seq, row.id, row.text) for row in rows)}))
        return self if messages == self.messages else replace(self, version=self.version + 1, messages=messages)

    def having(self, status: Status) -> Self:
        return replace(self, status=status)


class Batches:
    """The batch of each conversation of the current tenant."""

    def __init__(self, queue: ManagedQueueService) -> None:
        self._queue = queue

    async def load(self, row: InboundRow) -> Batch | None:
        client = await self._queue.aget_redis()
        found = await client.get(self._key(row))
        if found is None:
            return None
        fields = json.loads(found)
        return Batch(**{**fields, "messages": tuple((seq, id_, text) for seq, id_, text in fields["messages"])})

    async def save(self, batch: Batch, lock: AsyncLock, keep_ms: int) -> Batch:
        """Raises LockLostError, having changed nothing, if the lock is lost."""
        await self._write(batch, lock, json.dumps(asdict(batch)), keep_ms)
        return batch

    async def remove(self, batch: Batch, lock: AsyncLock) -> None:
        """As `save`."""
        await self._write(batch, lock)

    async def _write(self, batch: Batch, lock: AsyncLock, *what: str | int) -> None:
        client = await self._queue.aget_redis()
        if not await client.eval(_WRITE, 2, lock.keys[0], self._key(batch), lock.token, *what):
            raise LockLostError(lock.keys)

    def _key(self, of: Batch | InboundRow) -> str:
        return Keys(self._queue, of.integration, of.account, of.contact).batch()
