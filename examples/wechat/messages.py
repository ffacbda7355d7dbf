"""Messages, and the rows that the plugin keeps of them."""

from __future__ import annotations

from dataclasses import dataclass

#: An outbound message that is still to be sent; with `sending` the service may have it already.
WAITING = ("queued", "deferred")
PENDING = (*WAITING, "sending")


@dataclass(frozen=True, slots=True)
class Message:
    """A message as the rest of the plugin knows it. The same `message_id` of an integration is the same message."""

    integration: str
    account: str
    contact: str
    message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Row:
    """A message's row. `id` is unique among all tenants, `seq` the order of arrival.

    Jobs name the `round` that they were enqueued in: one of an earlier round has nothing to do any more.
    """

    seq: int
    integration: str
    account: str
    contact: str
    message_id: str
    id: str
    text: str
    status: str
    round: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class InboundRow(Row):
    """Its status: received, then dispatched or failed."""


@dataclass(frozen=True, slots=True)
class OutboundRow(Row):
    """Its status: queued, deferred, sending or paused; at the end sent, failed or cancelled."""

    due_ms: int
