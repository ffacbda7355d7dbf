"""What operators ask: which jobs there are, how many, and how fast they go.

Every question is asked in small steps (some hundred lists, some hundred jobs), none of which holds the server up for
more than a few milliseconds, however many jobs it keeps. Jobs that move meanwhile may be seen twice, or not at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from xpert_mq.models import JobState
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.listing import STATES, Count, Event, Group, JobFilter, ListedJob, Names, Position, Tenants

#: Names of groups that are read at once.
_GROUPS = 1000
#: Groups whose jobs are counted at once.
_COUNTED = 100
#: Lists that are looked at in one step.
_LISTS = 250
#: The largest page.
LONGEST_PAGE = 200

#: Full minutes that a rate is taken over, beside the present one.
RATE_MINUTES = 5


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, and where the next page begins; None if this is the last."""

    jobs: list[ListedJob]
    next: Position | None


@dataclass(slots=True)
class QueueLine:
    """One logical job, over all tenants that were asked for.

    Attributes:
        states: how many jobs are in each state.
        oldest_wait: since when (ms, server's clock) the first of the waiting waits.
        rates: events per minute, over the last five minutes and the present one; of all tenants.
    """

    plugin_name: str
    queue_name: str
    job_name: str
    states: dict[JobState, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    oldest_wait: int | None = None
    rates: dict[Event, float] = field(default_factory=dict)

    def include(self, count: Count) -> None:
        """Adds the jobs of a tenant."""
        for state, number in count.states.items():
            self.states[state] += number
        if count.oldest is not None:
            self.oldest_wait = min(count.oldest, self.oldest_wait or count.oldest)


class Inspector:
    """Answers from the records of one service. Raises QueueUnavailableError as its verbs do."""

    def __init__(self, service: ManagedQueueService) -> None:
        self._store = service.store
        self._run = service.executor.run
        self._run_many = service.executor.run_many

    def page(
        self, wanted: JobFilter, limit: int = 50, after: Position | None = None, *, newest_first: bool = True
    ) -> Page:
        """The jobs that match, by the time since when they are in their state.

        Args:
            limit: jobs at the most; up to 200.
            after: `next` of the page before.
        """
        return self._page(list(self.groups(wanted)), wanted, min(limit, LONGEST_PAGE), after, newest_first=newest_first)

    def _page(
        self, groups: Sequence[Group], wanted: JobFilter, limit: int, after: Position | None, *, newest_first: bool
    ) -> Page:
        # A list of finished jobs has another beside it.
        at_once = _LISTS // sum(2 if state in ("completed", "failed") else 1 for state in wanted.states)
        found: list[ListedJob] = []
        last: Position | None = None
        for some in _chunks(groups, at_once):
            # Behind the last of a full page nobody has to look.
            call = self._store.list_jobs(some, wanted, after, last, limit, newest_first=newest_first)
            found = sorted([*found, *self._run(call)], key=_place, reverse=newest_first)[:limit]
            last = found[-1].position if len(found) == limit else None
        return Page(found, last)

    def each(self, wanted: JobFilter, *, newest_first: bool = True) -> Iterator[ListedJob]:
        """All jobs that match, page by page."""
        groups = list(self.groups(wanted))
        page = self._page(groups, wanted, LONGEST_PAGE, None, newest_first=newest_first)
        yield from page.jobs
        while page.next:
            page = self._page(groups, wanted, LONGEST_PAGE, page.next, newest_first=newest_first)
            yield from page.jobs

    def groups(self, wanted: JobFilter) -> Iterator[Group]:
        """The logical jobs of tenants that have jobs, and match."""
        last: str | None = None
        while found := self._run(self._store.groups(wanted.groups_prefix(), last, _GROUPS)):
            yield from (group for group in found if wanted.wants(group.names))
            last = found[-1].name

    def queues(self, wanted: JobFilter) -> list[QueueLine]:
        """Every logical job that has jobs, or had some in the last minutes, sorted by its names. Its rates are those of
        all tenants together.
        """
        lines: dict[Names, QueueLine] = {}
        groups = list(self.groups(wanted))
        calls = [self._store.count(chunk) for chunk in _chunks(groups, _COUNTED)]
        counts = [count for chunk in self._run_many(calls) for count in chunk]
        for group, count in zip(groups, counts, strict=True):
            lines.setdefault(group.names, QueueLine(*group.names)).include(count)
        for names, rates in self._rates().items():
            if names in lines or (wanted.tenant_id is Tenants.ALL and wanted.wants(names)):
                lines.setdefault(names, QueueLine(*names)).rates = rates
        return [lines[names] for names in sorted(lines)]

    def _rates(self) -> dict[Names, dict[Event, float]]:
        tallies = self._run(self._store.tallies(RATE_MINUTES + 1))
        span = RATE_MINUTES + tallies.over_ms / 60_000
        rates: dict[Names, dict[Event, float]] = {}
        for minute in tallies.minutes:
            for names, events in minute.items():
                for event, number in events.items():
                    of_job = rates.setdefault(names, {})
                    of_job[event] = of_job.get(event, 0) + number / span
        return rates


def _place(job: ListedJob) -> tuple[float, bytes]:
    return float(job.position.time), job.position.token.encode()


def _chunks(groups: Sequence[Group], size: int) -> Iterator[Sequence[Group]]:
    for start in range(0, len(groups), size):
        yield groups[start : start + size]
