"""Worker nodes as processes, which are killed, frozen, told to go, and started again."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from bench.soak.evidence import Incident, IncidentKind
from bench.soak.notes import FOLDER_VARIABLE, NODE_VARIABLE, STACKS_SIGNAL

POOLS = ("prefork", "threads", "gevent", "solo")
State = Literal["starting", "running", "frozen", "ending", "down"]

_ROOT = Path(__file__).parents[2]
_PR_SET_PDEATHSIG = 1
#: Seconds for a few lines of a log.
_WRITTEN_WITHIN = 0.5


class Node:
    """A place for one worker after the other; each is a node of its own, and is called so.

    Attributes:
        state: as far as faults have brought it.
        unbidden: how often a worker ended that nobody had told to.
        hung: how often one did not end that had been told to.
    """

    def __init__(self, number: int, pool: str, folder: Path, environment: Mapping[str, str], patience: float) -> None:
        self.pool = pool
        self.state: State = "down"
        self.unbidden = self.hung = 0
        self._number = number
        self._life = 0
        self._folder = folder
        self._environment = environment
        self._patience = patience
        self._incidents: list[Incident] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._log = Path()
        self._freeze: Incident | None = None
        self._pause = self._end_by = self._start_at = 0.0

    @property
    def name(self) -> str:
        return f"{self.pool}-{self._number}.{self._life}"

    @property
    def pid(self) -> int:
        """Of the main process."""
        assert self._process is not None
        return self._process.pid

    @property
    def incidents(self) -> Sequence[Incident]:
        return self._incidents

    def start(self) -> None:
        """Starts the next worker."""
        self._life += 1
        options = ["-P", self.pool, "-n", f"{self.name}@soak", "-l", "INFO", "--without-gossip", "--without-mingle"]
        self._log = self._folder / "logs" / f"{self.name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "xpert_mq", "worker", *options],
                env={
                    **self._environment,
                    NODE_VARIABLE: self.name,
                    FOLDER_VARIABLE: str(self._folder / "notes"),
                    "PYTHONPATH": str(_ROOT),
                },
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Signals are for all of its processes, and for them alone.
                start_new_session=True,
                preexec_fn=_end_with_starter,
            )
        self.state = "starting"

    def children(self) -> list[int]:
        """Processes of a pool that has some; not those that are dead already, and not yet missed."""
        command = ["ps", "-A", "-o", "pid=,ppid=,stat="]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        lines = (line.split() for line in shown.stdout.splitlines())
        return [int(pid) for pid, parent, state in lines if int(parent) == self.pid and not state.startswith("Z")]

    def kill_child(self, pid: int) -> None:
        self._note("child killed", pid=pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def kill(self, pause: float, *, main_only: bool = False) -> None:
        """Ends it by SIGKILL; another starts after the pause (seconds)."""
        self._note("main killed" if main_only else "node killed")
        (os.kill if main_only else os.killpg)(self.pid, signal.SIGKILL)
        self._down(pause)

    def freeze(self, *, main_only: bool = False) -> None:
        """Holds it still."""
        (os.kill if main_only else os.killpg)(self.pid, signal.SIGSTOP)
        self._freeze = self._note("frozen")
        self.state = "frozen"

    def thaw(self) -> None:
        """Lets it go on, if it is held."""
        if self._freeze is not None:
            os.killpg(self.pid, signal.SIGCONT)
            self._freeze.until = time.monotonic()
            self._freeze = None
            self.state = "running"

    def shut_down(self, pause: float, *, cold: bool = False) -> None:
        """Tells it to end, after its jobs or at once; another starts the pause (seconds) after its end."""
        self._note("cold" if cold else "warm")
        os.kill(self.pid, signal.SIGQUIT if cold else signal.SIGTERM)
        self.state, self._pause, self._end_by = "ending", pause, time.monotonic() + self._patience

    def tend(self) -> None:
        """Sees what became of it, and starts another where it is time."""
        now = time.monotonic()
        if self.state == "down":
            if now >= self._start_at:
                self.start()
        elif self._process is not None and self._process.poll() is not None:
            self._note("exited")
            self.unbidden += self.state != "ending"
            self._down(self._pause if self.state == "ending" else 0)
        elif self.state == "starting" and b" ready." in self._log.read_bytes():
            self.state = "running"
        elif self.state == "ending" and now > self._end_by:
            self._show_stacks()
            self.kill(self._pause)

    def end(self) -> None:
        """Ends it for good, in order if that goes."""
        if self._process is None or self._process.poll() is not None:
            return
        self.thaw()
        if self.state != "ending":
            self.shut_down(0)
        try:
            self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            self._show_stacks()
            self.destroy()

    def destroy(self) -> None:
        """Ends all that is left of it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()

    def _show_stacks(self) -> None:
        self.hung += 1
        os.kill(self.pid, STACKS_SIGNAL)
        time.sleep(_WRITTEN_WITHIN)

    def _down(self, pause: float) -> None:
        assert self._process is not None
        self._process.wait()
        self.state, self._start_at = "down", time.monotonic() + pause

    def _note(self, kind: IncidentKind, pid: int | None = None) -> Incident:
        incident = Incident(kind, time.monotonic(), self.name, pid)
        self._incidents.append(incident)
        return incident


def _end_with_starter() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
