"""Who serves an old queue, as far as its Redis knows."""

from __future__ import annotations

import base64
from dataclasses import dataclass

from redis.exceptions import NoPermissionError

from .old_queue import OldQueue


@dataclass(frozen=True, slots=True)
class Consumers:
    """Connections by the names that the libraries give them.

    Attributes:
        workers: connections of workers; one in Python has two. None where the server does not tell.
        listeners: connections of `QueueEvents`.
        last_sign_ms: how long ago a worker looked for stalled jobs; None: not within the last period (30 s by default).
    """

    workers: int | None
    listeners: int
    last_sign_ms: int | None


_STALLED_PERIOD_MS = 30_000


def find_consumers(queue: OldQueue) -> Consumers:
    """Looks once."""
    left = queue.client.pttl(queue.key("stalled-check"))
    sign = max(0, _STALLED_PERIOD_MS - left) if left >= 0 else None
    try:
        names = [client.get("name", "") for client in queue.client.client_list()]
    except NoPermissionError:
        return Consumers(None, 0, sign)
    # The Python library does not encode it.
    encoded = f"{queue.prefix}:{base64.b64encode(queue.name.encode()).decode()}"
    bases = (encoded, queue.full_name)
    workers = sum(name in bases or name.startswith(tuple(f"{base}:w:" for base in bases)) for name in names)
    listeners = sum(name == f"{base}:qe" for name in names for base in bases)
    return Consumers(workers, listeners, sign)
