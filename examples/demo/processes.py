"""The demo's processes: each with a log, and all of them ended with the block that started them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_STARTED_WITHIN = 30
_STOPPED_WITHIN = 10
_LOG_LINES = 20


class DemoError(Exception):
    """The demo can't go on."""


class Process:
    """A Python process.

    Attributes:
        name: for people.
        log: all that it writes.
    """

    def __init__(self, name: str, words: tuple[str, ...], env: Mapping[str, str], folder: Path) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("wb") as output:
            # A session of its own: Ctrl-C reaches the demo alone, which then stops the process in order.
            self._process = subprocess.Popen(
                [sys.executable, *words],
                env=dict(env),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._process.pid

    def wait_for(self, text: str) -> str:
        """The first line of the log that has the text."""
        deadline = time.monotonic() + _STARTED_WITHIN
        while True:
            self.check()
            # Complete lines only.
            for line in self.log.read_text(errors="replace").split("\n")[:-1]:
                if text in line:
                    return line
            if time.monotonic() > deadline:
                raise DemoError(f"{self.name} was not ready within {_STARTED_WITHIN} s\n{self.tail()}")
            time.sleep(0.05)

    def check(self) -> None:
        """Raises DemoError if it has ended."""
        if self._process.poll() is not None:
            raise DemoError(f"{self.name} ended with status {self._process.returncode}\n{self.tail()}")

    def ask_to_end(self) -> None:
        self._process.terminate()

    def has_ended(self, deadline: float) -> bool:
        """Whether it has ended by the deadline."""
        try:
            self._process.wait(max(0, deadline - time.monotonic()))
            return True
        except subprocess.TimeoutExpired:
            return False

    def kill(self) -> None:
        """Does nothing where it has ended."""
        self._process.kill()
        self._process.wait()

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:])


class Processes:
    """Starts processes; the end of its `with` block ends them, all at the same time."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._env = env
        self._all: list[Process] = []

    def start(self, name: str, *words: str) -> Process:
        """Starts `python` with these words."""
        process = Process(name, words, self._env, self._folder)
        self._all.append(process)
        return process

    def check(self) -> None:
        """Raises DemoError if one has ended."""
        for process in self._all:
            process.check()

    def tails(self) -> str:
        """The last lines of all logs."""
        return "\n".join(f"--- {process.name}\n{process.tail()}" for process in self._all)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._all:
            process.ask_to_end()
        deadline = time.monotonic() + _STOPPED_WITHIN
        try:
            hung = [process.name for process in self._all if not process.has_ended(deadline)]
        finally:
            # Also where Ctrl-C comes again.
            for process in self._all:
                process.kill()
        if hung and error is None:
            raise DemoError(f"{' and '.join(hung)} did not end within {_STOPPED_WITHIN} s")
