"""`drain … wait`: until the old workers have emptied a queue."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from xpert_mq.cli.output import counted, duration, say, say_json

from .consumers import find_consumers
from .old_queue import OldQueue

#: Over how many looks the rate is a mean.
_LOOKS = 30
_LINE_SECONDS = 10


class Waiting:
    """Looks until nothing is left.

    Args:
        timeout: seconds; None: no limit.
        interval: seconds between two looks.
    """

    def __init__(self, queue: OldQueue, timeout: float | None, interval: float) -> None:
        self._queue = queue
        self._interval = interval
        self._started = time.monotonic()
        self._deadline = None if timeout is None else self._started + timeout
        self._seen: deque[tuple[float, int]] = deque(maxlen=_LOOKS)
        self._left: dict[str, int] = {}

    def run(self) -> bool:
        """Waits; False when the time is up."""
        with _progress() as tell:
            while True:
                left = self._look()
                if left == 0:
                    return True
                tell(left, self._in_words(left))
                if not (pause := self._pause()):
                    return False
                time.sleep(pause)

    def _pause(self) -> float:
        """Seconds until the next look; 0 when the time is up."""
        if self._deadline is None:
            return self._interval
        return max(0.0, min(self._interval, self._deadline - time.monotonic()))

    def end(self, *, emptied: bool, as_json: bool) -> None:
        """Says how it ended."""
        took = round(time.monotonic() - self._started, 1)
        if as_json:
            left = {place: count for place, count in self._left.items() if count}
            say_json({"queue": self._queue.full_name, "emptied": emptied, "left": left, "seconds": took})
        elif emptied:
            say(f"{self._queue.full_name} is empty, after {duration(took * 1000)}.")
        else:
            said = self._in_words(self._seen[-1][1])
            say(f"{self._queue.full_name} is not empty after {duration(took * 1000)}: {said}")

    def _look(self) -> int:
        self._left = self._queue.left()
        left = sum(self._left.values())
        self._seen.append((time.monotonic(), left))
        return left

    def _in_words(self, left: int) -> str:
        states = ", ".join(f"{count} {place}" for place, count in self._left.items() if count)
        return f"{counted(left, 'job')} left ({states}){self._speed(left)}{self._doubts()}"

    def _speed(self, left: int) -> str:
        (first_at, first), (last_at, last) = self._seen[0], self._seen[-1]
        if last_at == first_at:
            return ""
        rate = (first - last) / (last_at - first_at)
        if rate <= 0:
            return ", not getting fewer"
        return f", {rate:.1f}/s fewer, {duration(1000 * left / rate)} to go"

    def _doubts(self) -> str:
        """What may keep it from ever getting empty."""
        doubts = []
        if find_consumers(self._queue).workers == 0:
            doubts.append("no worker is connected")
        if self._queue.is_paused():
            doubts.append("the queue is paused")
        if self._queue.schedulers():
            doubts.append("job schedulers go on adding jobs")
        return f"; {', '.join(doubts)}" if doubts else ""


@contextmanager
def _progress() -> Iterator[Callable[[int, str], Any]]:
    """On standard error: a bar in a terminal, else a line from time to time."""
    screen = Console(stderr=True)
    if not screen.is_terminal:
        yield _now_and_then()
        return
    with Progress(console=screen, transient=True) as bar:
        task = bar.add_task("Waiting", total=None)
        most = 0

        def tell(left: int, words: str) -> None:
            nonlocal most
            most = max(most, left)
            bar.update(task, total=most, completed=most - left, description=words)

        yield tell


def _now_and_then() -> Callable[[int, str], Any]:
    told = float("-inf")

    def tell(_: int, words: str) -> None:
        nonlocal told
        if time.monotonic() - told >= _LINE_SECONDS:
            told = time.monotonic()
            click.echo(words, err=True)

    return tell
