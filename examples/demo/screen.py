"""What the demo shows: live bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from .figures import JobFigures, ServiceFigures, Times

#: Statuses of rows that are not at their end, as the bars call them.
OPEN = {"queued": "waiting", "deferred": "waiting", "sending": "sending", "paused": "paused", "received": "gathered"}

_LINE_SECONDS = 1.0
_WIDE = 110
#: Faults of a kind: one that happens everywhere need not be told of everything.
_SHOWN = 10
_NOTES = (
    "wait: from the moment when a try was due (enqueued; or after its delay, its backoff or its Defer) to its start in"
    " a worker. run: from there until its outcome was recorded. In milliseconds, over all tries. A Defer ends a try and"
    " spends no attempt: a send within limits runs several times. cancelled: removed by a cancel or by a pause. A send"
    " that had begun by then finds its message paused or cancelled, and completes too: so more sends complete than"
    " messages are taken."
)
_SERVICE_NOTES = (
    "messages, dispatches: taken; texts: the inbound messages in the dispatches. Not taken are throttled (too many at a"
    " time, to come again later), failed (the service's own trouble, to be tried again) and refused (this try is the"
    " last). asked again: taken before, but the answer was lost; nothing is taken twice."
)


class Screen:
    """Shows the progress of each tenant while its `with` block lasts."""

    def __init__(self) -> None:
        live = sys.stdout.isatty()
        plain = not live or bool(os.environ.get("NO_COLOR"))
        self._console = Console(color_system=None if plain else "auto", highlight=False, markup=False, emoji=False)
        self._wide = self._console.width >= _WIDE
        self._progress: Progress | None = None
        if live:
            columns = (
                TextColumn("{task.description:<8}"),
                BarColumn(40 if self._wide else 20),
                MofNCompleteColumn(),
                TextColumn("{task.fields[states]}"),
            )
            self._progress = Progress(*columns, console=self._console)
        self._bars: dict[str, TaskID] = {}
        self._next_line = 0.0
        self._last_line = ""

    def __enter__(self) -> Self:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress:
            self._progress.stop()

    def say(self, text: str) -> None:
        """One line, however long, so that it can be copied."""
        self._console.print(text, soft_wrap=True)
        self._console.file.flush()

    def show(self, statuses: Mapping[str, Counter[str]], totals: Mapping[str, int]) -> None:
        """The rows' statuses, and how many there will be, per tenant."""
        if self._progress:
            for tenant, counts in statuses.items():
                if tenant not in self._bars:
                    self._bars[tenant] = self._progress.add_task(tenant, total=totals[tenant], states="")
                self._progress.update(self._bars[tenant], completed=_ended(counts), states=_said(counts))
            return
        line = "  ".join(f"{tenant} {_ended(counts)}/{totals[tenant]}" for tenant, counts in statuses.items())
        if line != self._last_line and time.monotonic() >= self._next_line:
            self.say(line)
            self._last_line, self._next_line = line, time.monotonic() + _LINE_SECONDS

    def tables(self, jobs: Sequence[JobFigures], service: Sequence[ServiceFigures]) -> None:
        """The final tables; a narrow terminal does without the names of queues."""
        if self._progress:
            self._progress.stop()
        self._jobs(jobs)
        self._console.print(_NOTES)
        self._console.print()
        self._service(service)
        self._console.print(_SERVICE_NOTES)
        self._console.print()

    def _jobs(self, rows: Sequence[JobFigures]) -> None:
        numbers = ("jobs", "com-\npleted", "fail-\ned", "can-\ncelled", "tries", "de-\nferred")
        times = ("wait\np50", "wait\np95", "run\np50", "run\np95")
        table = self._table("Jobs", ("tenant", "job"), numbers + times)
        for place, row in enumerate(rows):
            first = not place or rows[place - 1].tenant != row.tenant
            if first and place:
                table.add_section()
            job = row.logical.partition("/")[2] if self._wide else row.logical.rpartition("/")[2]
            counts = (row.jobs, row.completed, row.failed, row.cancelled, row.tries, row.deferred)
            table.add_row(row.tenant if first else "", job, *map(str, counts), *_ms(row.wait), *_ms(row.run))
        self._console.print(table)

    def _service(self, rows: Sequence[ServiceFigures]) -> None:
        numbers = ("requests", "messages", "dispatches", "texts in\nthem")
        troubles = ("throt-\ntled", "failed", "re-\nfused", "asked\nagain")
        table = self._table("What the chat service took, and what it did not", ("tenant",), numbers + troubles)
        for row in rows:
            taken = (row.requests, row.messages, row.dispatches, row.texts)
            table.add_row(row.tenant, *map(str, (*taken, row.throttled, row.failed, row.refused, row.duplicate)))
        self._console.print(table)

    def _table(self, title: str, names: Sequence[str], numbers: Sequence[str]) -> Table:
        table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
        table.padding = (0, 2 if self._wide else 0, 0, 0)
        for name in names:
            table.add_column(name, no_wrap=True)
        for name in numbers:
            table.add_column(name, justify="right", no_wrap=True)
        return table

    def checks(self, found: Mapping[str, Sequence[str]]) -> None:
        """What was checked, and below each what is wrong."""
        for what, faults in found.items():
            self.say(f"{'WRONG' if faults else 'ok':<5} {what}")
            for fault in faults[:_SHOWN]:
                self.say(f"      {fault}")
            if len(faults) > _SHOWN:
                self.say(f"      and {len(faults) - _SHOWN} more")


def _ms(times: Times) -> tuple[str, str]:
    first, second = ("-" if value is None else f"{value:.0f}" for value in (times.p50, times.p95))
    return first, second


def _ended(counts: Counter[str]) -> int:
    return sum(number for status, number in counts.items() if status not in OPEN)


def _said(counts: Counter[str]) -> str:
    shown: Counter[str] = Counter()
    for status, name in OPEN.items():
        shown[name] += counts[status]
    return "  ".join(f"{number} {name}" for name, number in shown.items() if number)
