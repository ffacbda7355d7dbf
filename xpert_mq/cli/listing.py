"""Jobs in a list: reading a stretch of it, and showing it in a wide or in a narrow terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from xpert_mq.cli.filters import cursor_of, nothing_there
from xpert_mq.cli.output import age, as_document, console, head_lines, one_line, safe, table, tenant_shown
from xpert_mq.cli.server_client import ServerClock
from xpert_mq.inspector import LONGEST_PAGE, Inspector
from xpert_mq.store.listing import JobFilter, ListedJob, Position

if TYPE_CHECKING:
    from xpert_mq.service import ManagedQueueService

#: Columns of a terminal below which a job takes several lines.
_WIDE = 120
#: What the other columns of the wide form need beside the ids.
_BESIDE_IDS = 80

_COLOURS = {"waiting": "", "delayed": "cyan", "active": "yellow", "completed": "green", "failed": "red"}
_COLUMNS = ("state", "since", "tries", "tenant", "plugin/queue/job", "id", "due, or failed with")
_OWNERS = ("tenant_id", "organization_id", "scope_key", "user_id")
_NAMES = ("plugin_name", "queue_name", "job_name", "execution_pool")
_TIMES = ("since", "timestamp", "processed_on", "finished_on", "due_at")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some jobs in order, and where the list goes on; None if it does not."""

    jobs: list[ListedJob]
    next: Position | None


class JobList:
    """The jobs that match a filter, as they are when one looks."""

    def __init__(
        self, service: ManagedQueueService, wanted: JobFilter, limit: int, after: Position | None, oldest_first: bool
    ) -> None:
        self._settings = service.settings
        self._inspector = Inspector(service)
        self._wanted = wanted
        self._limit = limit
        self._after = after
        self._newest_first = not oldest_first
        self._clock = ServerClock(service.settings)
        self._stretch = Stretch([], None)

    def look(self) -> None:
        """Reads the jobs; one more than are wanted, to know whether there are more."""
        jobs: list[ListedJob] = []
        after = self._after
        while len(jobs) <= self._limit:
            size = min(self._limit + 1 - len(jobs), LONGEST_PAGE)
            page = self._inspector.page(self._wanted, size, after, newest_first=self._newest_first)
            jobs += page.jobs
            after = page.next
            if after is None:
                break
        more = len(jobs) > self._limit
        self._stretch = Stretch(jobs[: self._limit], jobs[self._limit - 1].position if more else None)

    def document(self) -> dict[str, Any]:
        """What was seen, for machines."""
        following = self._stretch.next
        return {"jobs": [_document(job) for job in self._stretch.jobs], "next": following and cursor_of(following)}

    def picture(self) -> RenderableType:
        """What was seen, for people."""
        jobs, now, width = self._stretch.jobs, self._clock.now(), console().width
        if not jobs:
            return Text(safe(nothing_there(self._wanted, self._settings)))
        longest = max(len(one_line(job.id)) for job in jobs)
        wide = width >= _WIDE and longest + _BESIDE_IDS <= width
        return _wide(jobs, now) if wide else Group(*_narrow(jobs, now))

    def ending(self) -> str:
        """How the list goes on, or empty."""
        following = self._stretch.next
        return f"There are more: --after {cursor_of(following)}" if following else ""


def _document(job: ListedJob) -> dict[str, Any]:
    return {
        **as_document(job, "id", "state", *_TIMES),
        **as_document(job.envelope, *_OWNERS, *_NAMES),
        "attempts": job.opts.attempts,
        "attempts_made": job.attempts_made,
        "failed_reason": job.failed_reason,
    }


def _wide(jobs: Sequence[ListedJob], now: float) -> RenderableType:
    rows = []
    for job in jobs:
        cells = (age(now - job.since), tries(job), _tenant(job), _names(job), job.id, reason(job, now))
        rows.append((_state(job), *cells))
    return table("", _COLUMNS, rows, right=("since", "tries"), whole=("state", "since", "tries", "id"))


def _narrow(jobs: Sequence[ListedJob], now: float) -> Iterator[RenderableType]:
    """The id ends its line, so that it is never broken; the rest is folded below it."""
    yield head_lines(
        f"{'state':<9} {'since':>7} {'tries':>7}  id", "  tenant  plugin/queue/job", "  due, or failed with"
    )
    for job in jobs:
        numbers = f" {age(now - job.since):>7} {tries(job):>7}  {one_line(job.id)}"
        head = Text.assemble((f"{job.state:<9}", _COLOURS[job.state]), numbers)
        # Whole where it is printed; a live picture cuts it.
        head.no_wrap, head.overflow = True, "ignore"
        yield head
        yield Padding(Text(one_line(f"{_tenant(job)}  {_names(job)}"), overflow="fold"), (0, 0, 0, 2), expand=False)
        if note := reason(job, now):
            yield Padding(Text(one_line(note), overflow="fold"), (0, 0, 0, 2), expand=False)


def _state(job: ListedJob) -> Text:
    return Text(job.state, style=_COLOURS[job.state])


def tries(job: ListedJob) -> str:
    """Tries that ended, of those that the job has."""
    return f"{job.attempts_made}/{job.opts.attempts}"


def _tenant(job: ListedJob) -> str:
    return tenant_shown(job.envelope.tenant_id)


def _names(job: ListedJob) -> str:
    envelope = job.envelope
    return f"{envelope.plugin_name}/{envelope.queue_name}/{envelope.job_name}"


def reason(job: ListedJob, now: float) -> str:
    """What it waits for, and what went wrong: of a job that completed, nothing."""
    due = "" if job.due_at is None else f"due in {age(job.due_at - now)}" if job.due_at > now else "due"
    failed = "" if job.state == "completed" else " ".join((job.failed_reason or "").split())
    return "; ".join(filter(None, (due, failed)))


def show(jobs: JobList) -> None:
    """Prints the list."""
    out = console()
    out.print(jobs.picture(), crop=False)
    if ending := jobs.ending():
        out.print()
        out.print(Text(ending), soft_wrap=True)
