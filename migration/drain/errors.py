"""What ends a command of `drain` before it is done."""

from __future__ import annotations

from xpert_mq import ManagedQueueError


class DrainError(ManagedQueueError):
    """The old queue is not what was asked for, or may not be touched now."""


class MappingError(ManagedQueueError):
    """A mapping file says something that can't be; names the file, the table and the key."""
