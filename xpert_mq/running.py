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

#: Two for each child; so many children of a node, at the most, have some of their own.
_SLOTS = 2 * 4096


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
        place = self._place(self._shared)
        _SLOT.pack_into(self._shared, place, os.getpid(), nonce.encode())
        try:
            yield
        finally:
            _SLOT.pack_into(self._shared, place, 0, b"")

    def nonces(self) -> set[str]:
        """What runs. Children that have died run nothing."""
        return self._own | {nonce for pid, nonce in self._of_children() if _is_alive(pid)}

    def died(self) -> set[str]:
        """What children ran that have died, until it is forgotten."""
        return {nonce for pid, nonce in self._of_children() if not _is_alive(pid)}

    def forget(self, died: set[str]) -> None:
        """Frees the places of children that have died."""
        if self._shared is not None:
            for number, (pid, nonce) in enumerate(_SLOT.iter_unpack(self._shared[:])):
                if pid and nonce.rstrip(b"\0").decode() in died:
                    _SLOT.pack_into(self._shared, number * _SLOT.size, 0, b"")

    def _of_children(self) -> Iterator[tuple[int, str]]:
        if self._shared is not None:
            for pid, nonce in _SLOT.iter_unpack(self._shared[:]):
                if pid:
                    yield pid, nonce.rstrip(b"\0").decode()

    def _place(self, shared: mmap.mmap) -> int:
        """The child's own, or where one that died in it has left something, the one beside."""
        from billiard.process import current_process

        index: int = current_process().index
        place = index % (_SLOTS // 2) * _SLOT.size
        pid, _ = _SLOT.unpack_from(shared, place)
        return place if pid in (0, os.getpid()) else place + _SLOTS // 2 * _SLOT.size


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


#: Of this process and its children.
running = Running()
