"""Cancels or re-runs many jobs: finds them first, then acts in batches, and counts what became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

from rich.console import Console
from rich.progress import Progress

from xpert_mq.cli.endings import interrupt_noted
from xpert_mq.cli.output import counted
from xpert_mq.inspector import Inspector
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.listing import JobFilter
from xpert_mq.store.store import Outcome

#: Jobs that are acted on in one round trip.
_BATCH = 100

#: Tenant and id.
JobKey = tuple[str | None, str]


class Bulk:
    """One action on many jobs. `verb`: `cancel` or `retry`. Progress is shown on standard error, in a terminal."""

    def __init__(self, service: ManagedQueueService, verb: str) -> None:
        self._service = service
        self._cancels = verb == "cancel"
        self._call = service.store.cancel if self._cancels else service.store.rerun
        self._screen = Console(stderr=True)
        self._matched = 0
        #: What was done, by the state that the job had; and what was not, by the state that it had instead.
        self._done: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()

    def find(self, wanted: JobFilter, limit: int | None, oldest_first: bool) -> list[JobKey]:
        """The jobs that match; the oldest comes first, whichever of them the limit takes."""
        jobs = Inspector(self._service).each(wanted, newest_first=not oldest_first)
        with self._screen.status("Looking for jobs"):
            # A job that moves may be seen twice.
            found = list(dict.fromkeys((job.envelope.tenant_id, job.id) for job in islice(jobs, limit)))
        self._matched = len(found)
        return found if oldest_first else found[::-1]

    def act(self, jobs: Sequence[JobKey]) -> bool:
        """Does it, and counts. Ctrl-C ends it after the batch that is sent; then it gives False."""
        bar = Progress(console=self._screen, transient=True, disable=not self._screen.is_terminal)
        with interrupt_noted() as interrupted, bar:
            task = bar.add_task("Cancelling" if self._cancels else "Running again", total=len(jobs))
            for start in range(0, len(jobs), _BATCH):
                batch = jobs[start : start + _BATCH]
                for outcome in self._service.executor.run_many([self._call(*job) for job in batch]):
                    self._count(outcome)
                bar.advance(task, len(batch))
                if interrupted.is_set() and start + _BATCH < len(jobs):
                    return False
        return True

    def _count(self, outcome: Outcome) -> None:
        (self._done if outcome.done else self._refused)[outcome.state or "not_found"] += 1

    def document(self) -> dict[str, Any]:
        """The counts, for machines."""
        done: Any = dict(self._done) if self._cancels else self._done.total()
        return {"matched": self._matched, "cancelled" if self._cancels else "retried": done, "not": dict(self._refused)}

    def in_words(self) -> str:
        """The counts, for people."""
        jobs = counted(self._done.total(), "job")
        if self._cancels:
            were = ", ".join(f"{self._done[state]} {state}" for state in ("waiting", "delayed") if self._done[state])
            said = f"{jobs} cancelled: {were}." if were else f"{jobs} cancelled."
        else:
            said = f"{jobs} run again."
        missed = [f"{number} {_MEANWHILE[state]}" for state, number in sorted(self._refused.items())]
        return f"{said} Meanwhile: {', '.join(missed)}." if missed else said


_MEANWHILE = {
    "waiting": "waiting again",
    "delayed": "delayed again",
    "active": "started",
    "completed": "completed",
    "failed": "failed",
    "not_found": "gone",
}
