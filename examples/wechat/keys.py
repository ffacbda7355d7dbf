"""Every name of the plugin in one place: logical jobs, ids, keys and locks.

Keys and locks are the current tenant's and organization's own. They name the plugin, because the same ones are built
outside of handlers too, where the platform doesn't know whose code runs.
"""

from __future__ import annotations

from xpert_mq import ManagedQueueService

from .messages import InboundRow, OutboundRow

PLUGIN = "wechat-example"
OUTBOUND_QUEUE = "wechat.outbound"
SEND = "send-message"
INBOUND_QUEUE = "wechat.inbound"
AGGREGATE = "aggregate"
FLUSH = "flush"

Name = tuple[str | int, ...]


# --- Job ids: derived from what the job is for, so that enqueueing again after a crash adds nothing -------------------


def send_id(row: OutboundRow) -> str:
    """A new round (after a pause, a failure or a crash) is a new job: the ended one keeps its id for its history."""
    return f"send:{row.id}:{row.round}"


def aggregate_id(row: InboundRow) -> str:
    return f"aggregate:{row.id}:{row.round}"


def flush_id(batch_id: str, version: int, round_: int) -> str:
    return f"flush:{batch_id}:{version}:{round_}"


# --- Locks ------------------------------------------------------------------------------------------------------------


def send_locks(row: OutboundRow) -> tuple[Name, ...]:
    """From wide to narrow: the integration, the account, the contact."""
    return (
        ("outbound", row.integration),
        ("account", row.integration, row.account),
        ("contact", row.integration, row.account, row.contact),
    )


def inbound_lock(row: InboundRow) -> Name:
    return ("inbound", row.integration, row.account, row.contact)


# --- Keys -------------------------------------------------------------------------------------------------------------


class Keys:
    """The keys of an account, and of one of its contacts."""

    def __init__(self, queue: ManagedQueueService, integration: str, account: str, contact: str) -> None:
        self._queue = queue
        self._parts: dict[str, Name] = {
            "integration": (integration,),
            "account": (integration, account),
            "contact": (integration, account, contact),
        }

    def next(self, of: str) -> str:
        """There as long as nobody may send."""
        return self._key("next", of, *self._parts[of])

    def hold(self) -> str:
        """There as long as the service wants nothing from the account."""
        return self._key("hold", *self._parts["account"])

    def counter(self, of: str, window: str) -> str:
        """Counts what was sent in a window."""
        return self._key("counter", of, window, *self._parts[of])

    def failures(self) -> str:
        """Counts the account's failures since its last success."""
        return self._key("failures", *self._parts["account"])

    def batch(self) -> str:
        """What is gathered of a contact's messages."""
        return self._key("batch", *self._parts["contact"])

    def _key(self, *parts: str | int) -> str:
        return self._queue.redis_key(*parts, plugin_name=PLUGIN)
