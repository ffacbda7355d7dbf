"""Which worker node this process is.

A node has an id in Redis that is new at every start. When the others have declared it dead, what it held belongs to
them, and it takes a new one: nothing that is said under the old id counts any more.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time

logger = logging.getLogger(__name__)


class Node:
    """The id of the process' node, and when its consumer was last seen at work. Safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ticked = time.monotonic()
        self._id = ""
        self._fresh = True

    @property
    def id(self) -> str:
        """The present id."""
        with self._lock:
            return self._present()

    @property
    def id_and_fresh(self) -> tuple[str, bool]:
        """The present id, and whether Redis may not know it yet."""
        with self._lock:
            return self._present(), self._fresh

    def _present(self) -> str:
        if not self._id:
            self._id = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        return self._id

    def known(self, node_id: str) -> None:
        """Redis knows the id from now on."""
        with self._lock:
            if node_id == self._id:
                self._fresh = False

    def renew(self, dead: str) -> None:
        """Takes a new id in place of one that was declared dead. Whoever hears of it first says so in the log."""
        if self.leave(dead):
            logger.warning(
                "node %s was declared dead: its jobs are others' now, and it takes a new id",
                dead,
                extra={"action": "node_renewed", "node": dead},
            )

    def leave(self, node_id: str) -> bool:
        """The id is given up; False when it was not the present one."""
        with self._lock:
            if node_id != self._id:
                return False
            self._id, self._fresh = "", True
            return True

    def tick(self) -> None:
        """The consumer's loop runs."""
        self._ticked = time.monotonic()

    @property
    def tick_age_ms(self) -> int:
        """Milliseconds since the consumer's loop was seen."""
        return round((time.monotonic() - self._ticked) * 1000)


#: Of this process.
node = Node()
