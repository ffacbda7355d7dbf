"""Who moves jobs out of an old queue: one at a time."""

from __future__ import annotations

import contextlib
import secrets
import time
from types import TracebackType
from typing import Any, Self

import redis

from .errors import DrainError
from .old_queue import OldQueue
from .scripts import Scripts

_POLL_SECONDS = 0.1


class Lease:
    """Held within its block. It ends on its own, so that a process that was killed keeps others out for so long.

    Args:
        seconds: how long it lasts without being renewed.

    Raises:
        DrainError: another process holds it, and renews it.
    """

    def __init__(self, queue: OldQueue, scripts: Scripts, seconds: float) -> None:
        self.key = queue.key("xpert-mq:lease")
        self.token = secrets.token_hex(8)
        self.ms = max(1, round(seconds * 1000))
        self._client = queue.client
        self._script: Any = scripts.lease
        self._renewed = 0.0

    def __enter__(self) -> Self:
        left = float("inf")
        while not self._client.set(self.key, self.token, nx=True, px=self.ms):
            before, left = left, self._client.pttl(self.key)
            if left > before:
                raise DrainError("another `forward` moves jobs of this queue at the moment: wait for it, or end it")
            time.sleep(_POLL_SECONDS)
        self.was_renewed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(redis.RedisError, OSError):
            self._script(keys=[self.key], args=[self.token, 0])

    def was_renewed(self) -> None:
        """A script has renewed it."""
        self._renewed = time.monotonic()

    def keep(self) -> None:
        """Renews it where a third of it is over."""
        if time.monotonic() - self._renewed > self.ms / 3000:
            self.check(self._script(keys=[self.key], args=[self.token, self.ms]) == 1)
            self.was_renewed()

    def check(self, held: bool) -> None:
        """Raises DrainError if a script found another's."""
        if not held:
            raise DrainError(
                "another `forward` took over, since this one did not get on for "
                f"{self.ms / 1000:g} s; what it was moving is safe with the other one"
            )
        self.was_renewed()
