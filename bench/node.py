"""Worker processes that are started, warmed up, and then held still until a measure needs them.

A worker that is stopped by SIGSTOP takes nothing from the queue and no processor time. So both systems' workers are
there during one measure and take turns, and the time that a worker needs to start is not in any figure.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.jobs import STAMP
from bench.systems import Pool, System

ROOT = Path(__file__).parent.parent
_WARM_UP = 50


class Node:
    """One worker; as a context manager it is started and ended. `prepare` makes it ready for a measure.

    Args:
        options: of the command, beside those of all workers.
    """

    def __init__(self, system: System, pool: Pool, *options: str) -> None:
        self.system = system
        self._pool = pool
        self._options = options

    def __enter__(self) -> Self:
        # In a session of its own: signals are for all of its processes, and for them alone.
        self._process = subprocess.Popen(
            [*self.system.worker_command(self._pool), *self._options],
            env=self.system.worker_environment(),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # It holds nothing that anybody needs, and an orderly end takes seconds.
        self.signal(signal.SIGKILL)
        self._process.wait()

    @property
    def pid(self) -> int:
        """Of the main process."""
        return self._process.pid

    def warm_up(self) -> None:
        """Runs some jobs, and forgets them."""
        self.system.add_many(STAMP, _WARM_UP)
        self.system.stamps.wait_for(_WARM_UP)
        self.system.wait_until_idle()
        self.system.stamps.clear()

    def resident_bytes(self) -> int:
        """Memory of the main process, as the system counts it."""
        shown = subprocess.run(["ps", "-o", "rss=", "-p", str(self.pid)], check=True, capture_output=True, text=True)
        return int(shown.stdout) * 1024

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to all processes of the worker."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)


def prepare(*nodes: Node) -> None:
    """Warms up workers that were just started, one of each system at most, and holds them still."""
    for node in nodes:
        node.warm_up()
    freeze(*nodes)


@contextlib.contextmanager
def running(*nodes: Node) -> Iterator[None]:
    """Lets workers of one system go on for a while."""
    for node in nodes:
        node.signal(signal.SIGCONT)
    yield
    freeze(*nodes)


def freeze(*nodes: Node) -> None:
    """Holds all processes of the workers still."""
    for node in nodes:
        node.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, node.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    # A wait that a worker has begun would take what is enqueued next, though nobody is there to run it.
    client = nodes[0].system.client
    for other in client.client_list():
        if "b" in other["flags"]:
            client.client_unblock(int(other["id"]))
