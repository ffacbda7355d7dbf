"""What is known after a run, from three sides: the tries as their handlers noted them, what was done to the nodes, and
what producer and records say of each job.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.soak.plan import JobKey, JobPlan
from xpert_mq.store.keys import split_task_id, split_token

How = Literal["returned", "raised", "deferred", "cut"]


@dataclass(slots=True)
class Run:
    """One call of a handler. Times are seconds of time.monotonic.

    Attributes:
        generation: of the hand-out that it came by; a later one means a later owner.
        made: ended tries before it.
        kept: checkpoints that it found.
        keeps: the latest checkpoint that it made, and was told to be kept; None for none.
        settled: when its outcome had been told to Redis, and answered.
        refused: it was told that the job is not its own any more.
        unrecorded: its outcome could not be told, at least once.
    """

    id: str
    name: str
    generation: int
    made: int
    node: str
    pid: int
    start: float
    kept: int = 0
    keeps: int | None = None
    end: float | None = None
    how: How | None = None
    settled: float | None = None
    refused: bool = False
    unrecorded: bool = False

    @property
    def is_recorded(self) -> bool:
        """Its outcome is in the record, for certain."""
        return self.settled is not None and not self.refused and not self.unrecorded


IncidentKind = Literal[
    "child killed", "node killed", "main killed", "frozen", "warm", "cold", "exited", "redis away", "connections killed"
]


@dataclass(slots=True)
class Incident:
    """What was done to a node, or to Redis (no node). `until` is None where it has no end, or not yet one."""

    kind: IncidentKind
    since: float
    node: str | None = None
    pid: int | None = None
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """What the record says in the end."""

    state: str
    attempts_made: int
    result: Any = None
    failed_reason: str | None = None


@dataclass(slots=True)
class Story:
    """One job from its plan to its end.

    Attributes:
        asked: when the first call of its enqueue began.
        denied: all calls before the last said that they had added nothing, and the last that it was there.
        cancelled: begin and end of the call that cancelled it.
        missed: a cancel did not know it.
        ended: None if it has no record.
        runs: in the order of their hand-outs.
    """

    plan: JobPlan
    asked: float
    denied: bool = False
    cancelled: tuple[float, float] | None = None
    missed: bool = False
    ended: Ended | None = None
    runs: list[Run] = field(default_factory=list)

    @property
    def pairs(self) -> Iterator[tuple[Run, Run]]:
        """Each run with the next."""
        return zip(self.runs, self.runs[1:], strict=False)


@dataclass(slots=True)
class History:
    """What happened to nodes and Redis, and what may have come of it."""

    incidents: Sequence[Incident]
    node_timeout: float
    #: When nodes noticed that they had been declared dead.
    renewals: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def killed_at(self, run: Run) -> float | None:
        """When its process was killed first, after it began."""
        times = [
            one.since
            for one in self._of(run, "child killed", "node killed", "main killed")
            if one.since >= run.start and (one.kind != "child killed" or one.pid == run.pid)
        ]
        return min(times, default=None)

    def died_alone(self, run: Run) -> bool:
        """Whether it was its child process that was killed, and not first the node."""
        killed_at = self.killed_at(run)
        return any(one.since == killed_at for one in self._of(run, "child killed"))

    def was_declared_dead(self, run: Run) -> bool:
        """Whether its node stood still for so long, or heard of it, that the job may have been taken from it."""
        first, last = run.start - self.node_timeout / 2, self._over(run)
        for one in self._of(run, "frozen"):
            until = last if one.until is None else one.until
            if until - one.since >= 0.9 * self.node_timeout and one.since <= last and until >= first:
                return True
        return any(first <= at <= last + self.node_timeout for at in self.renewals.get(run.node, ()))

    def ended_cold(self, run: Run) -> bool:
        """Whether its node was told to end at once, or ended by itself, before it was over."""
        kinds = {one.kind for one in self._of(run, "cold", "warm", "exited") if one.since <= self._over(run)}
        return "cold" in kinds or kinds == {"exited"}

    def cause(self, run: Run) -> str | None:
        """Why the job may have been taken from this run; None if nothing explains it."""
        if self.killed_at(run) is not None and run.settled is None:
            return "killed"
        if self.was_declared_dead(run):
            return "declared dead"
        if run.settled is None and self.ended_cold(run):
            return "shutdown"
        return "unrecorded" if run.unrecorded else None

    def redis_trouble(self, since: float, until: float) -> bool:
        """Whether Redis was away, or connections were killed, in that time."""
        return any(
            one.since <= until and (one.until is None or one.until >= since)
            for one in self.incidents
            if one.kind in ("redis away", "connections killed")
        )

    def owned_until(self, run: Run) -> float:
        """When the run was over, or its node declared dead, or its process: whatever came first."""
        ends = [at for at in (run.end, self.killed_at(run)) if at is not None]
        ends += [one.since for one in self._of(run, "exited") if one.since >= run.start]
        ends += [at - self.node_timeout / 4 for at in self.renewals.get(run.node, ()) if at >= run.start]
        ends += [one.since for one in self._of(run, "frozen") if run.start <= one.since and self._is_long(one)]
        return max(run.start, min(ends, default=run.start))

    def _is_long(self, freeze: Incident) -> bool:
        return freeze.until is None or freeze.until - freeze.since >= 0.9 * self.node_timeout

    def _over(self, run: Run) -> float:
        # One that has no answer yet is still telling its outcome.
        return run.settled or float("inf")

    def _of(self, run: Run, *kinds: IncidentKind) -> Iterator[Incident]:
        return (one for one in self.incidents if one.node == run.node and one.kind in kinds)


@dataclass(slots=True)
class Told:
    """What the nodes wrote down."""

    runs: dict[JobKey, list[Run]] = field(default_factory=lambda: defaultdict(list))
    renewals: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    #: How often the platform logged each action.
    actions: Counter[str] = field(default_factory=Counter)


def told_by(notes: Iterable[dict[str, Any]]) -> Told:
    """Puts the lines, which are in the order of time, together."""
    told, by_id, by_task = Told(), {}, {}
    for line in notes:
        kind = line["kind"]
        if kind == "start":
            run = _begun(line)
            by_id[run.id] = run
            # The latest in this process with this task id: a second one would be a fault of its own.
            by_task[line["pid"], line["task_id"]] = run
            told.runs[_key_of(line["task_id"])].append(run)
        elif kind == "end":
            by_id[line["run"]].end, by_id[line["run"]].how = line["at"], line["how"]
        elif kind == "kept":
            by_id[line["run"]].keeps = line["kept"]
        elif kind == "settled":
            if settled := by_task.get((line["pid"], line["task_id"])):
                settled.settled = line["at"]
        else:
            _act(told, line, by_task.get((line["pid"], line["task_id"])))
    for runs in told.runs.values():
        runs.sort(key=lambda run: (run.generation, run.start))
    return told


def _begun(line: dict[str, Any]) -> Run:
    _, generation = split_task_id(line["task_id"])
    return Run(
        id=line["run"],
        name=line["name"],
        generation=generation,
        made=line["made"],
        node=line["node"],
        pid=line["pid"],
        start=line["at"],
        kept=line["kept"],
    )


def _key_of(task_id: str) -> JobKey:
    token, _ = split_task_id(task_id)
    return split_token(token)


def _act(told: Told, line: dict[str, Any], run: Run | None) -> None:
    action = line["action"]
    told.actions[action] += 1
    if action == "node_renewed":
        told.renewals[line["node"]].append(line["at"])
    elif run is not None and action == "outcome_refused":
        run.refused = True
    elif run is not None and action == "outcome_delayed":
        run.unrecorded = True
