"""`drain … status`: what is in an old queue, and who serves it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xpert_mq.cli.output import age, console, duration, one_line, safe, table

from .consumers import Consumers, find_consumers
from .old_queue import ALL_PLACES, IN_FLIGHT, UNFINISHED, OldQueue, text
from .scripts import Scripts

if TYPE_CHECKING:
    from rich.console import RenderableType

_BATCH = 1000

#: Jobs of a place whose names are read.
_NAMES_READ = 50_000


@dataclass(frozen=True, slots=True)
class Oldest:
    """The unfinished job that was made first, of those that were read."""

    id: str
    name: str
    place: str
    age_ms: int


class Status:
    """A look at a queue; `look` looks anew."""

    def __init__(self, queue: OldQueue) -> None:
        self._queue = queue
        self._read_names: Any = Scripts(queue.client).names
        self.look()

    def look(self) -> None:
        """Asks the server."""
        queue = self._queue
        seconds, micros = queue.client.time()
        self._now_ms = seconds * 1000 + micros // 1000
        self._counts = queue.counts()
        self._paused = queue.is_paused()
        self._schedulers = queue.schedulers()
        self._in_flight = int(queue.client.hlen(queue.key(IN_FLIGHT)))
        self._consumers: Consumers = find_consumers(queue)
        self._names: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._oldest: Oldest | None = None
        for place, count in self._counts.items():
            for first in range(0, min(count, _NAMES_READ), _BATCH):
                self._count_names(place, first)

    def _count_names(self, place: str, first: int) -> None:
        keys = [self._queue.key(place), self._queue.key("")]
        for job_id, raw_name, made in self._read_names(keys=keys, args=[ALL_PLACES[place], first, _BATCH]):
            name = text(raw_name or b"?")
            self._names[name][place] += 1
            if place in UNFINISHED and made is not None and made.isdigit():
                age_ms = self._now_ms - int(made)
                if self._oldest is None or age_ms > self._oldest.age_ms:
                    self._oldest = Oldest(text(job_id), name, place, age_ms)

    def document(self) -> dict[str, Any]:
        """What was seen, for machines."""
        oldest = self._oldest
        return {
            "queue": self._queue.full_name,
            "library": self._queue.library.name,
            "version": self._queue.library.version,
            "paused": self._paused,
            "counts": self._counts,
            "in_flight": self._in_flight,
            "names": {name: dict(places) for name, places in sorted(self._names.items())},
            "names_complete": max(self._counts.values()) <= _NAMES_READ,
            "oldest": oldest and {"id": oldest.id, "name": oldest.name, "in": oldest.place, "age_ms": oldest.age_ms},
            "workers": self._consumers.workers,
            "worker_seen_ms_ago": self._consumers.last_sign_ms,
            "listeners": self._consumers.listeners,
            "schedulers": self._schedulers,
        }

    def picture(self) -> RenderableType:
        """What was seen, for people."""
        from rich.console import Group
        from rich.text import Text

        places = [place for place, count in self._counts.items() if count]
        rows: list[list[object]] = [
            [name, *(found[place] or "" for place in places)] for name, found in sorted(self._names.items())
        ]
        if places:
            rows.append(["all", *(self._counts[place] for place in places)])
        title = f"{self._queue.full_name}: {self._queue.library}{', paused' if self._paused else ''}"
        parts: list[RenderableType] = [Text(safe(title), style="bold")]
        if places:
            parts += [table("", ("job name", *places), rows, right=places), ""]
        return Group(*parts, Text("\n".join(map(one_line, self._lines()))))

    def show(self) -> None:
        """Prints it."""
        console().print(self.picture())

    def _lines(self) -> list[str]:
        lines = []
        if not any(self._counts.values()):
            lines.append("There are no jobs.")
        if max(self._counts.values()) > _NAMES_READ:
            lines.append(f"Names are those of the first {_NAMES_READ} jobs of each state.")
        if self._oldest:
            oldest = self._oldest
            lines.append(
                f"Oldest unfinished job: {oldest.id} ({oldest.name}), {oldest.place}, {age(oldest.age_ms)} old."
            )
        lines.append(consumers_in_words(self._consumers))
        if self._schedulers:
            lines.append(f"Job schedulers, which go on adding jobs: {', '.join(self._schedulers)}.")
        if self._in_flight:
            lines.append(f"In flight to the managed queue: {self._in_flight}.")
        return lines


def consumers_in_words(consumers: Consumers) -> str:
    """Who serves the queue, in one sentence."""
    if consumers.workers is None:
        said = "Connections of workers: not known, since the server refuses CLIENT LIST"
    else:
        said = f"Connections of workers: {consumers.workers}"
    if consumers.last_sign_ms is not None:
        said += f"; one looked for stalled jobs {duration(consumers.last_sign_ms)} ago"
    if consumers.listeners:
        said += f"; listeners to its events: {consumers.listeners}"
    return f"{said}."
