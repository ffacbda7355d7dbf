"""The lines of `xpert-mq queues`, in a wide or in a narrow terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from xpert_mq.cli.filters import nothing_there
from xpert_mq.cli.output import age, console, head_lines, one_line, safe, table
from xpert_mq.cli.server_client import ServerClock
from xpert_mq.inspector import RATE_MINUTES, Inspector, QueueLine
from xpert_mq.store.listing import STATES, Event, JobFilter, Tenants

if TYPE_CHECKING:
    from xpert_mq.service import ManagedQueueService

#: Columns of a terminal below which the names stand above their numbers.
_WIDE = 120

_EVENTS: tuple[Event, ...] = ("added", "completed", "failed")
_COUNTS = (*STATES, "oldest")
_RATES = ("added/m", "done/m", "failed/m")


class QueueLines:
    """The logical jobs that match a filter, with counts and rates as they are when one looks."""

    def __init__(self, service: ManagedQueueService, wanted: JobFilter) -> None:
        self._settings = service.settings
        self._inspector = Inspector(service)
        self._wanted = wanted
        #: Rates are of all tenants together.
        self._with_rates = wanted.tenant_id is Tenants.ALL
        self._clock = ServerClock(service.settings)
        self._lines: list[QueueLine] = []

    def look(self) -> None:
        """Counts."""
        self._lines = self._inspector.queues(self._wanted)

    def document(self) -> dict[str, Any]:
        """What was counted, for machines."""
        return {"queues": [self._entry(line) for line in self._lines], "total": self._entry(self._total(), names=False)}

    def _entry(self, line: QueueLine, names: bool = True) -> dict[str, Any]:
        of_whom = {name: getattr(line, name) for name in ("plugin_name", "queue_name", "job_name") if names}
        rates = {event: round(line.rates.get(event, 0), 3) for event in _EVENTS} if self._with_rates else None
        return {**of_whom, "states": line.states, "oldest_wait": line.oldest_wait, "per_minute": rates}

    def picture(self) -> RenderableType:
        """What was counted, for people."""
        if not self._lines:
            lately = " Nor were there any in the last minutes." if self._with_rates else ""
            return Text(safe(nothing_there(self._wanted, self._settings) + lately))
        columns = (*_COUNTS, *(_RATES if self._with_rates else ()))
        lines = [*self._lines, self._total()]
        rows = [[_names(line), *self._numbers(line)] for line in lines]
        wide = console().width >= _WIDE
        body = (
            [table("", ("plugin/queue/job", *columns), rows, right=columns, whole=columns)]
            if wide
            else _narrow(columns, rows)
        )
        return Group(*body, Text(), Text(self._explained(), style="dim"))

    def _total(self) -> QueueLine:
        total = QueueLine("", "", "")
        for line in self._lines:
            for state, number in line.states.items():
                total.states[state] += number
            for event, rate in line.rates.items():
                total.rates[event] = total.rates.get(event, 0) + rate
        total.oldest_wait = min((line.oldest_wait for line in self._lines if line.oldest_wait), default=None)
        return total

    def _numbers(self, line: QueueLine) -> Iterator[str]:
        yield from (str(line.states[state]) for state in STATES)
        yield "-" if line.oldest_wait is None else age(self._clock.now() - line.oldest_wait)
        if self._with_rates:
            yield from (f"{line.rates.get(event, 0):.1f}" for event in _EVENTS)

    def _explained(self) -> str:
        if self._with_rates:
            return f"/m: per minute, mean over the last {RATE_MINUTES} full minutes and the present one."
        return "Rates are of all tenants together, so they are left out."

    def show(self) -> None:
        """Prints it."""
        console().print(self.picture(), crop=False)


def _names(line: QueueLine) -> str:
    return f"{line.plugin_name}/{line.queue_name}/{line.job_name}" if line.plugin_name else "total"


def _narrow(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[RenderableType]:
    sizes = [max(len(cells[i]) for cells in [columns, *(row[1:] for row in rows)]) for i in range(len(columns))]

    def aligned(cells: Sequence[str]) -> str:
        return "  ".join(cell.rjust(size) for cell, size in zip(cells, sizes, strict=True))

    yield head_lines("plugin/queue/job", aligned(columns))
    for names, *numbers in rows:
        yield Text(one_line(names), overflow="fold")
        yield Text(aligned(numbers))
