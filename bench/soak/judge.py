"""Whether every job was treated as promised: one rule a function, each of which finds one kind of wrong.

What may happen to the code of a job that was taken from it (a node that stood still for longer than its timeout, a
process that outlived its node) is no wrong, and counted apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from bench.soak.evidence import Ended, History, Run, Story
from bench.soak.plan import HANDLERS, JobPlan

WrongKind = Literal[
    "lost",
    "stuck",
    "two owners",
    "started early",
    "tries beyond the rule",
    "refused result recorded",
    "checkpoint lost",
    "cancelled and run",
    "limit exceeded",
    "answered wrongly",
]
WRONG_KINDS: tuple[WrongKind, ...] = get_args(WrongKind)

STALLED = "job stalled more than allowable limit"
MAX_STALLED = 1
#: Of two clocks, which tick in milliseconds on one side.
_TOLERANCE = 0.002


@dataclass(frozen=True, slots=True)
class Wrong:
    """A broken promise, and what shows it."""

    kind: WrongKind
    job: str
    text: str


@dataclass(slots=True)
class Verdict:
    """What the judge found.

    Attributes:
        overlaps: jobs whose code ran twice at a time, the first time on a node that was declared dead, or as a process
            that outlived its node.
        late_code: cancelled jobs whose code ran on such a node.
        reruns: tries that came after one that was cut off.
        stalled: jobs that failed as stalled too often.
    """

    wrongs: list[Wrong] = field(default_factory=list)
    overlaps: int = 0
    late_code: int = 0
    reruns: int = 0
    stalled: int = 0

    def count(self, kind: WrongKind) -> int:
        return sum(wrong.kind == kind for wrong in self.wrongs)


Rule = Callable[[Story, History], Iterator[tuple[WrongKind, str]]]


def judge(stories: Iterable[Story], history: History) -> Verdict:
    """Applies all rules to all jobs."""
    verdict, runs = Verdict(), list[Run]()
    for story in stories:
        found = [Wrong(kind, str(story.plan.key), text) for rule in RULES for kind, text in rule(story, history)]
        verdict.wrongs += found
        verdict.overlaps += any(_overlap(one, other) for one, other in story.pairs)
        verdict.late_code += bool(_after_cancel(story))
        verdict.reruns += sum(not one.is_recorded for one, _ in story.pairs)
        verdict.stalled += _is_stalled(story)
        runs += story.runs
    verdict.wrongs += over_limits(runs, history)
    return verdict


def lost(story: Story, history: History) -> Iterator[tuple[WrongKind, str]]:
    """No record; or an end that no try brought about."""
    if story.missed:
        yield "lost", "a cancel did not find it"
    if story.ended is None:
        if story.cancelled is None:
            yield "lost", "it has no record"
    elif _is_stalled(story):
        if not any(history.cause(run) for run in story.runs):
            yield "lost", "it failed as stalled, and no try of it was cut off"
    elif _own_end(story) and _recorded(story) is None:
        yield "lost", f"no try of it ended so: {story.ended}"


def stuck(story: Story, history: History) -> Iterator[tuple[WrongKind, str]]:
    """Not ended, though everything had been healthy for long."""
    if story.ended is not None and story.ended.state not in ("completed", "failed"):
        yield "stuck", f"it is {story.ended.state} for ever"


def two_owners(story: Story, history: History) -> Iterator[tuple[WrongKind, str]]:
    """A hand-out that was run twice; or a try that began while the one before ran on in good health."""
    for one, other in story.pairs:
        if one.generation == other.generation:
            yield "two owners", f"hand-out {one.generation} started twice: {one}, {other}"
        elif _overlap(one, other) and history.cause(one) is None:
            yield "two owners", f"one try began while another ran: {one}, {other}"


def early(story: Story, history: History) -> Iterator[tuple[WrongKind, str]]:
    """Before its delay, its backoff or its Defer was over."""
    due = story.asked + story.plan.delay_ms / 1000
    if story.runs and story.runs[0].start < due - _TOLERANCE:
        yield "started early", f"by {due - story.runs[0].start:.3f} s: {story.runs[0]}"
    for one, other in story.pairs:
        if not one.is_recorded or one.end is None:
            continue
        wait = story.plan.defer_ms / 1000 if one.how == "deferred" else 0.0
        if one.how == "raised":
            wait = story.plan.wait_after(one.made + 1)
        if other.start < one.end + wait - _TOLERANCE:
            yield "started early", f"{other.start - one.end:.3f} s after the try before, and not {wait:g}: {other}"


def beyond_the_rule(story: Story, history: History) -> Iterator[tuple[WrongKind, str]]:
    """More tries than attempts; a try again without a reason; or too many free ones after crashes."""
    kind: WrongKind = "tries beyond the rule"
    for run in story.runs:
        if run.made >= story.plan.attempts:
            yield kind, f"{story.plan.attempts} attempts: {run}"
    for one, other in story.pairs:
        if reason := _unfounded(one, other, history):
            yield kind, f"{reason}: {one}, {other}"
    stalls = sum(_counts_as_stall(one, other, history) for one, other in story.pairs)
    if stalls > MAX_STALLED:
        yield kind, f"it was run again after {stalls} crashes"
    planned = _planned_end(story.plan)
    if (ended := _own_end(story)) and (ended.state, ended.attempts_made) != planned:
        yield (
            kind,
            f"it is {ended.state} after {ended.attempts_made} tries, and not {' after '.join(map(str, planned))}",
        )


def refused_recorded(story: Story, history: History) -> Iterator[tuple[WrongKind, str]]:
    """The record has the outcome of a try that had lost the job."""
    run = _recorded(story)
    if run is not None and (run.refused or run.generation < story.runs[-1].generation):
        yield "refused result recorded", f"{run}, before {story.runs[-1]}"


def checkpoint_lost(story: Story, history: History) -> Iterator[tuple[WrongKind, str]]:
    """A try did not see what one before it had kept."""
    kept = 0
    for run in story.runs:
        if run.kept < kept:
            yield "checkpoint lost", f"{kept} were kept: {run}"
        kept = max(kept, run.kept, run.keeps or 0)


def cancelled_and_run(story: Story, history: History) -> Iterator[tuple[WrongKind, str]]:
    """It began after its cancel, or was running across it."""
    for run in _after_cancel(story):
        if not history.was_declared_dead(run):
            yield "cancelled and run", f"cancelled at {story.cancelled}: {run}"
    if story.cancelled is not None and story.ended is not None:
        yield "cancelled and run", f"cancelled, and there: {story.ended}"


def answered_wrongly(story: Story, history: History) -> Iterator[tuple[WrongKind, str]]:
    """The producer was told that nothing had been added, and something had."""
    if story.denied:
        yield "answered wrongly", "the calls before had not been carried out, and the job was there"


RULES: Sequence[Rule] = (
    lost,
    stuck,
    two_owners,
    early,
    beyond_the_rule,
    refused_recorded,
    checkpoint_lost,
    cancelled_and_run,
    answered_wrongly,
)


def over_limits(runs: Iterable[Run], history: History) -> Iterator[Wrong]:
    """Handlers that ran more often at a time in one node than their limit says."""
    by_handler = defaultdict[tuple[str, str], list[Run]](list)
    for run in runs:
        if HANDLERS[run.name]:
            by_handler[run.node, run.name].append(run)
    for (node, name), some in by_handler.items():
        changes = [(run.start, 1) for run in some] + [(history.owned_until(run), -1) for run in some]
        running = most = 0
        # Ends before starts, where both are at the same time.
        for _, change in sorted(changes, key=lambda change: (change[0], change[1])):
            running += change
            most = max(most, running)
        if most > HANDLERS[name]:
            yield Wrong("limit exceeded", name, f"{most} at a time on {node}, and not {HANDLERS[name]}")


def _overlap(one: Run, other: Run) -> bool:
    return one.end is not None and other.start < one.end


def _is_stalled(story: Story) -> bool:
    return story.ended is not None and story.ended.failed_reason == STALLED


def _recorded(story: Story) -> Run | None:
    """The run whose outcome the record has."""
    ended = _own_end(story)
    if ended is None:
        return None
    failed = ended.state == "failed"
    named = ended.failed_reason if failed else (ended.result or {}).get("run")
    how = "raised" if failed else "returned"
    return next((run for run in story.runs if run.id == named and run.how == how), None)


def _after_cancel(story: Story) -> list[Run]:
    if story.cancelled is None:
        return []
    begun, told = story.cancelled
    # One that began and ended while the cancel was under way came before it.
    return [run for run in story.runs if run.start > told or (run.start > begun and (run.end or told) >= told)]


def _unfounded(one: Run, other: Run, history: History) -> str | None:
    """Why the second run must not have been; None if it may."""
    if one.is_recorded:
        if one.how == "returned":
            return "run again after it had ended"
        if other.made != one.made + (one.how == "raised"):
            return f"{one.how}, and then {other.made} ended tries"
        return None
    if history.cause(one) is None:
        return "run again though nothing had cut the try off"
    return None if other.made in (one.made, one.made + (one.how == "raised")) else "an attempt was spent"


def _counts_as_stall(one: Run, other: Run, history: History) -> bool:
    """Whether it is certain that the second run is a free one after a crash."""
    killed_at = history.killed_at(one)
    if killed_at is None or one.end is not None or history.ended_cold(one):
        return False
    # Else the node may not have been able to tell, and gave the job back without a word.
    return not history.redis_trouble(killed_at, other.start)


def _planned_end(plan: JobPlan) -> tuple[str, int]:
    """State and ended tries, if no crash makes it fail."""
    fails = plan.fatal or plan.fails >= plan.attempts
    return "failed" if fails else "completed", min(plan.fails + 1, plan.attempts)


def _own_end(story: Story) -> Ended | None:
    """The end that its tries brought about."""
    ended = story.ended
    return ended if ended and ended.state in ("completed", "failed") and not _is_stalled(story) else None


def recoveries(stories: Iterable[Story], history: History) -> dict[str, list[float]]:
    """Seconds from the kill of a child or a node to the next start of each job that ran there. Redis was in order."""
    found: dict[str, list[float]] = {"child": [], "node": []}
    for story in stories:
        for one, other in story.pairs:
            killed_at = history.killed_at(one)
            if killed_at is None or one.end is not None or history.redis_trouble(killed_at, other.start):
                continue
            found["child" if history.died_alone(one) else "node"].append(other.start - killed_at)
    return found
