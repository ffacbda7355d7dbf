"""`drain … forward`: the command's work, and how it tells of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

from xpert_mq import ManagedQueueService
from xpert_mq.adoption import AdoptionLedger
from xpert_mq.cli.endings import interrupt_noted
from xpert_mq.cli.output import counted, say, say_json, show_table

from .errors import DrainError
from .lease import Lease
from .mapping import read_mapping
from .moving import Bounds, Mover, target_of
from .old_queue import PLACES, OldQueue
from .reading import Reader, rehearse
from .report import Report
from .scripts import Scripts
from .translation import Translator

#: Jobs that stay, as people see them.
_SHOWN = 20


class Forward:
    """One run.

    Args:
        batch: jobs that are in flight at a time.
        with_failed: moves failed jobs too, with all their attempts.
        lease_seconds: how long a killed run keeps others out.
        any_version: also where the library's version is not known.
    """

    def __init__(
        self,
        queue: OldQueue,
        service: ManagedQueueService,
        mapping: Path,
        *,
        batch: int,
        with_failed: bool,
        lease_seconds: float,
        any_version: bool,
    ) -> None:
        self._queue = queue
        self._service = service
        self._scripts = Scripts(queue.client)
        self._translator = Translator(read_mapping(mapping), queue.name, service)
        self._reader = Reader(queue, self._scripts, batch)
        self._places = [*PLACES, *(["failed"] if with_failed else [])]
        self._lease_seconds = lease_seconds
        self._any_version = any_version
        self._interrupted = False

    @property
    def target(self) -> str:
        """The managed queue, for people."""
        return target_of(self._service)

    def rehearse(self, limit: int | None) -> Report:
        """What `move` would do."""
        return rehearse(self._reader, self._translator, self._places, limit)

    def move(self, limit: int | None, per_second: float | None) -> Report:
        """Moves. The first Ctrl-C ends it after the batch that is in flight."""
        if not (self._queue.library.is_known or self._any_version):
            raise DrainError(
                f"{self._queue.library} made the queue, whose layout is not known (that of 5 and 6 is); --any-version "
                "moves its jobs nevertheless"
            )
        if per_second is not None:
            self._reader.batch = min(self._reader.batch, max(1, int(per_second)))
        total = sum(self._queue.counts()[place] for place in self._places)
        with (
            interrupt_noted() as interrupted,
            _progress(total if limit is None else min(total, limit)) as moved,
            Lease(self._queue, self._scripts, self._lease_seconds) as lease,
        ):
            ledger = AdoptionLedger(self._queue.full_name, self._service)
            bounds = Bounds(limit, per_second, interrupted.is_set)
            mover = Mover(
                self._queue, self._scripts, self._translator, ledger, lease, self._reader, self.target, bounds, moved
            )
            mover.run(self._places)
        self._interrupted = interrupted.is_set()
        return mover.report

    @property
    def was_interrupted(self) -> bool:
        """Whether Ctrl-C ended `move`."""
        return self._interrupted

    def tell(self, report: Report, *, written: bool, as_json: bool) -> None:
        """Says what was done, or would be."""
        active = self._queue.counts()["active"]
        if as_json:
            say_json(self._document(report, written, active))
        else:
            self._say(report, written, active)

    def _document(self, report: Report, written: bool, active: int) -> dict[str, Any]:
        return {
            "queue": self._queue.full_name,
            "library": str(self._queue.library),
            "target": self.target,
            "written": written,
            "moved": dict(report.moved),
            "resumed": report.resumed,
            "targets": [{"name": name, "to": to, "jobs": jobs} for (name, to), jobs in sorted(report.targets.items())],
            "lost_options": dict(report.lost),
            "stay": {"jobs": report.reasons.total(), "reasons": dict(report.reasons)},
            "listed": [asdict(one) for one in report.left],
            "active": active,
            "missed": report.missed,
            "interrupted": self._interrupted,
        }

    def _say(self, report: Report, written: bool, active: int) -> None:
        if report.targets:
            rows = [(name, to, jobs) for (name, to), jobs in sorted(report.targets.items())]
            show_table(
                "",
                ("old job name", "plugin/queue/job", "moved" if written else "to move"),
                rows,
                right=("moved", "to move"),
            )
            say()
        places = ", ".join(f"{jobs} {_STATES.get(place, place)}" for place, jobs in report.moved.items())
        done = "moved" if written else "would be moved"
        say(f"{counted(report.moved.total(), 'job')} {done} to {self.target}{places and f': {places}'}.")
        if report.resumed:
            say(f"{report.resumed} of them had been left in flight by an earlier run.")
        for option, jobs in sorted(report.lost.items()):
            say(f"The option {option} has no equivalent; {counted(jobs, 'job')} had it.")
        if active:
            say(f"{counted(active, 'active job')} left to the old workers.")
        if report.reasons:
            _say_left(report)
        if not written:
            say("Nothing was changed: --write does it.")


_STATES = {"wait": "waiting", "paused": "waiting in the paused queue"}


def _say_left(report: Report) -> None:
    say()
    rows = [(jobs, reason) for reason, jobs in report.reasons.most_common()]
    show_table(
        f"Staying in the old queue: {counted(report.reasons.total(), 'job')}", ("jobs", "reason"), rows, right=("jobs",)
    )
    say()
    shown = report.left[:_SHOWN]
    title = "" if len(shown) == report.reasons.total() else f"The first {len(shown)}; --json lists more"
    show_table(title, ("id", "job name", "in", "reason"), [(one.id, one.name, one.place, one.reason) for one in shown])
    say()


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Shown on standard error, in a terminal."""
    screen = Console(stderr=True)
    bar = Progress(
        *Progress.get_default_columns()[:2],
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
    with bar:
        task = bar.add_task("Moving", total=total)
        yield lambda moved: bar.advance(task, moved)
