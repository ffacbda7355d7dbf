"""What the demo shows: live bars in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from examples.demo.check import Row

_STATES = ("waiting", "delayed", "active", "completed", "failed", "cancelled")
_LINE_SECONDS = 1.0
_WIDE = 110


class Screen:
    """Shows the progress of each tenant while its `with` block lasts."""

    def __init__(self) -> None:
        live = sys.stdout.isatty()
        # A pipe has no width; the table needs this much.
        self._console = Console(width=None if live else 120, highlight=False, soft_wrap=not live)
        self._progress: Progress | None = None
        if live:
            columns = (
                TextColumn("{task.description:<8}"),
                BarColumn(24),
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
        """One line."""
        self._console.print(text, markup=False)
        self._console.file.flush()

    def show(self, states: Mapping[str, Counter[str]]) -> None:
        """The jobs' states, per tenant."""
        if self._progress:
            for tenant, counts in states.items():
                if tenant not in self._bars:
                    self._bars[tenant] = self._progress.add_task(tenant, total=counts.total(), states="")
                self._progress.update(self._bars[tenant], completed=_ended(counts), states=_said(counts))
            return
        line = "  ".join(f"{tenant} {_ended(counts)}/{counts.total()}" for tenant, counts in states.items())
        if line != self._last_line and time.monotonic() >= self._next_line:
            self.say(line)
            self._last_line, self._next_line = line, time.monotonic() + _LINE_SECONDS

    def table(self, rows: Sequence[Row]) -> None:
        """The final table, one line per tenant and logical job. A narrow terminal does without the plugins' names."""
        if self._progress:
            self._progress.stop()
        wide = self._console.width >= _WIDE
        table = Table(title="What the system says about every job", title_justify="left", box=box.SIMPLE_HEAD)
        table.show_edge = False
        table.padding = (0, 1) if wide else (0, 0)
        table.add_column("tenant", no_wrap=True)
        table.add_column("plugin/job" if wide else "job", no_wrap=True)
        for name in ("jobs", "com-\npleted", "failed", "can-\ncelled", "tries", "starts", "wait\np50"):
            table.add_column(name, justify="right", no_wrap=True)
        tenant = None
        for row in rows:
            if tenant not in (None, row.tenant):
                table.add_section()
            named = ("" if tenant == row.tenant else row.tenant, f"{row.plugin}/{row.job}" if wide else row.job)
            counts = (row.planned, row.completed, row.failed, row.cancelled, row.tries, row.starts)
            table.add_row(*named, *map(str, counts), "-" if row.wait_p50_ms is None else f"{row.wait_p50_ms:.0f} ms")
            tenant = row.tenant
        self._console.print(table)

    def faults(self, found: Iterable[str]) -> None:
        """What is off, one line each."""
        for fault in found:
            self.say(f"  wrong: {fault}")


def _ended(counts: Counter[str]) -> int:
    return counts["completed"] + counts["failed"] + counts["cancelled"]


def _said(counts: Counter[str]) -> str:
    return "  ".join(f"{counts[state]} {state}" for state in _STATES if counts[state])
