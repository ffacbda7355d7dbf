"""What came of it, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bench.soak.judge import WRONG_KINDS, Verdict
from bench.soak.plan import FaultKind
from bench.statistic import percentile

#: Broken promises that are shown in full.
_SHOWN = 20


@dataclass(slots=True)
class Report:
    """The figures of a run.

    Attributes:
        jobs, tries: that were enqueued; that began.
        seconds: from the first enqueue to the last end.
        outcomes: how many jobs ended how.
        recoveries: seconds from a kill to the restart of each job that ran there.
        faults: how often each was carried out.
        unbidden, hung: nodes that ended by themselves; that did not end when told to.
        actions: what the platform warned of in its logs.
    """

    seed: int
    jobs: int
    tries: int
    seconds: float
    verdict: Verdict
    outcomes: Counter[str]
    recoveries: Mapping[str, Sequence[float]]
    faults: Mapping[FaultKind, int]
    unbidden: int
    hung: int
    unavailable: int
    maybe_added: int
    actions: Mapping[str, int] = field(default_factory=dict)

    def text(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        verdict = self.verdict
        outcomes = ", ".join(f"{number} {outcome}" for outcome, number in sorted(self.outcomes.items()))
        yield f"seed {self.seed}: {self.jobs} jobs, {self.tries} tries, {self.seconds:.0f} s"
        yield f"  {outcomes}; {self.jobs / self.seconds:.1f} jobs/s"
        yield "must be 0"
        for kind in WRONG_KINDS:
            yield _line(kind, verdict.count(kind))
        yield "apart"
        yield _line("code of one job twice at a time", verdict.overlaps, "first on a node declared dead or killed")
        yield _line("code of a cancelled job", verdict.late_code, "on a node declared dead")
        yield _line("tries after one that was cut off", verdict.reruns)
        yield _line("jobs failed as stalled", verdict.stalled)
        yield _line("nodes that ended by themselves", self.unbidden)
        yield _line("nodes that did not end in time", self.hung)
        yield _line("calls without an answer", self.unavailable, f"{self.maybe_added} of them may have added a job")
        yield "from a kill to the restart of the job, s"
        for what, seconds in self.recoveries.items():
            yield _recovery(what, seconds)
        yield "faults"
        for fault, number in sorted(self.faults.items()):
            yield _line(fault, number)
        yield "warnings of the platform"
        for action, number in sorted(self.actions.items()):
            yield _line(action, number)
        for wrong in verdict.wrongs[:_SHOWN]:
            yield f"WRONG: {wrong.kind}: {wrong.job}: {wrong.text}"


def _line(name: str, number: int, more: str = "") -> str:
    return f"  {name:<34}{number:>7}  {more}".rstrip()


def _recovery(what: str, seconds: Sequence[float]) -> str:
    if not seconds:
        return f"  {what:<34}{'none':>7}"
    half, most = percentile(seconds, 50), max(seconds)
    return f"  {what:<34}{len(seconds):>7}  p50 {half:.2f}, max {most:.2f}"
