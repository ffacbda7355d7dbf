"""What a node runs, by the nonces of its claims: its own account, beside Redis'.

Celery's is no such account: after a lost connection it forgets jobs that its children have begun. In the pool `prefork`
the children write into memory that they share with their main process.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Iterator

#: The child's process id, 0 where it runs nothing, and the nonce.
_SLOT = struct.Struct("q24s")

#: Children of a node, at the most, that have a slot of their own.
_SLOTS = 4096


class Running:
    """The account of the process, or of a main process and its children. Safe in threads."""

    def __init__(self) -> None:
        self._own: set[str] = set()
        self._main = os.getpid()
        self._shared: mmap.mmap | None = None

    def share(self) -> None:
        """Lets the children that this process forks from now on take part."""
        self._main, self._shared = os.getpid(), mmap.mmap(-1, _SLOTS * _SLOT.size)

    @contextlib.contextmanager
    def job(self, nonce: str) -> Iterator[None]:
        """From before the claim until its outcome is recorded."""
        if self._shared is None or os.getpid() == self._main:
            self._own.add(nonce)
            try:
                yield
            finally:
                self._own.discard(nonce)
            return
        place = self._place()
        _SLOT.pack_into(self._shared, place, os.getpid(), nonce.encode())
        try:
            yield
        finally:
            _SLOT.pack_into(self._shared, place, 0, b"")

    def nonces(self) -> set[str]:
        """What runs. Children that have died run nothing."""
        found = set(self._own)
        if self._shared is not None:
            for pid, nonce in _SLOT.iter_unpack(self._shared[:]):
                if pid and _is_alive(pid):
                    found.add(nonce.rstrip(b"\0").decode())
        return found

    def _place(self) -> int:
        from billiard.process import current_process

        index: int = current_process().index
        return index % _SLOTS * _SLOT.size


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


#: Of this process and its children.
running = Running()
