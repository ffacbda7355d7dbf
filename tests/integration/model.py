"""The jobs of a platform and its nodes as the contract has them, in plain Python. Times are whole minutes."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from xpert_mq.models import JobOptions, Keep
from xpert_mq.store.keys import group_name, handler_limit, logical_name, split_token

STALLED = "job stalled more than allowable limit"
#: Minutes without a beat until a node counts as dead.
TIMEOUT = 3
MOST_STALLS = 1


@dataclass(frozen=True)
class Kind:
    """What jobs differ in that are under different limits."""

    job_name: str
    pool: str
    scope: str | None = None

    @property
    def logical(self) -> str:
        return logical_name("plugin", "queue", self.job_name)


@dataclass(eq=False)
class Job:
    token: str
    kind: Kind
    opts: JobOptions
    state: str
    payload: str
    #: The minute, and the order among those of one minute.
    due: tuple[int, int] = (0, 0)
    made: int = 0
    stalls: int = 0
    reason: str | None = None
    stacks: list[str] = field(default_factory=list)
    result: str | None = None
    #: Of the try that owns it: the nonce of its claim, and the node.
    nonce: str | None = None
    node: str = ""
    expires: int | None = None

    @property
    def group(self) -> str:
        return group_name(split_token(self.token)[0], self.kind.logical)


@dataclass
class Said:
    """What a node says of itself."""

    queues: list[str]
    handlers: list[str]
    limits: dict[str, int]
    consuming: bool = True

    def has_handler(self, kind: Kind) -> bool:
        wanted = {handler_limit(None, kind.logical), handler_limit(kind.scope, kind.logical)}
        return not wanted.isdisjoint(self.handlers)

    def serves(self, queue: str, kind: Kind) -> bool:
        return self.consuming and queue in self.queues and self.has_handler(kind)


@dataclass
class Beating:
    """A node that is alive in the records."""

    beat_at: int
    steady_since: int
    said: Said | None = None


class Model:
    def __init__(self) -> None:
        self.now = 0
        self.jobs: dict[str, Job] = {}
        #: Jobs that a rule may remove, by outcome and group, in the order of their ends.
        self.ended: defaultdict[tuple[str, str], list[Job]] = defaultdict(list)
        self.tallies: Counter[tuple[str, str]] = Counter()
        self.nodes: dict[str, Beating] = {}
        #: Nodes that hold something yet, and whether that counts as a stall.
        self.gone: dict[str, bool] = {}
        self._order = itertools.count()

    def job(self, token: str) -> Job | None:
        """The job, if it is kept. One that is over age is removed by whoever asks."""
        job = self.jobs.get(token)
        if job and self.is_over(job):
            self._forget(job)
            return None
        return job

    def owned_by(self, token: str, nonce: str) -> Job | None:
        """The job, if this try owns it."""
        job = self.jobs.get(token)
        return job if job and job.state == "active" and job.nonce == nonce else None

    def is_over(self, job: Job) -> bool:
        return job.expires is not None and job.expires <= self.now

    def unfinished(self) -> list[Job]:
        return [job for job in self.jobs.values() if job.state not in ("completed", "failed")]

    def in_state(self, state: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.state == state]

    def add(self, token: str, kind: Kind, opts: JobOptions, payload: str) -> str:
        holder = self.job(token)
        if holder:
            return "kept" if holder.kind.logical == kind.logical else "conflict"
        minutes = opts.delay_ms // 60_000
        job = Job(token, kind, opts, "delayed" if minutes else "waiting", payload, self._due_in(minutes))
        self.jobs[token] = job
        self._count("added", job)
        return "created"

    def claim(self, job: Job, nonce: str, node: str) -> None:
        job.state, job.nonce, job.node = "active", nonce, node

    def finish(self, job: Job, outcome: str, said: str) -> None:
        """Ends a job; `said` is the result or the reason."""
        if outcome == "completed":
            job.result = said
        else:
            self._note_failure(job, said, f"Traceback: {said}")
        self._end(job, outcome)

    def try_again(self, job: Job, delay: int, reason: str | None) -> None:
        """After `delay` minutes, for a reason or by a Defer."""
        if reason is not None:
            job.made += 1
            self._note_failure(job, reason, f"Traceback: {reason}")
            self._count("retried", job)
        job.state, job.due, job.nonce = "delayed" if delay else "waiting", self._due_in(delay), None

    def take_back(self, job: Job, *, counts: bool) -> str:
        """From a try that will not end it."""
        job.stalls += counts
        job.nonce = None
        if counts and job.stalls > MOST_STALLS:
            self._note_failure(job, STALLED, STALLED)
            self._end(job, "failed")
            return "failed"
        job.state = "waiting"
        return "rerun"

    def cancel(self, token: str) -> tuple[bool, str | None]:
        job = self.job(token)
        if job is None or job.state not in ("waiting", "delayed"):
            return False, job.state if job else None
        del self.jobs[token]
        self._count("cancelled", job)
        return True, job.state

    def rerun(self, token: str) -> tuple[bool, str | None]:
        job = self.job(token)
        if job is None or job.state != "failed":
            return False, job.state if job else None
        self._unlist(job)
        job.state, job.made, job.stalls, job.reason, job.expires, job.nonce = "waiting", 0, 0, None, None, None
        return True, "waiting"

    def due(self, pool: str) -> list[Job]:
        """The delayed jobs of the pool that are due, in their order."""
        delayed = [job for job in self.in_state("delayed") if job.kind.pool == pool and job.due[0] <= self.now]
        return sorted(delayed, key=lambda job: job.due)

    def over(self) -> list[Job]:
        """The jobs that are over age."""
        return [job for job in self.jobs.values() if self.is_over(job)]

    def settle(self, kept: Iterable[str]) -> None:
        """Takes note that jobs which are over age have been removed; any other that is gone stays, for all to see."""
        present = set(kept)
        for job in self.over():
            if job.token not in present:
                self._forget(job)

    def has_other(self, node: str, queue: str, kind: Kind) -> bool:
        """Whether another node has the handler, and has not missed its beats."""
        return any(
            name != node and other.said and other.said.serves(queue, kind) and self.now - other.beat_at < TIMEOUT
            for name, other in self.nodes.items()
        )

    def beat(self, node: str, said: Said | None, *, fresh: bool) -> bool:
        known = self.nodes.get(node)
        if known is None:
            if not fresh or node in self.gone:
                return False
            known = self.nodes[node] = Beating(self.now, self.now)
        if self.now > known.beat_at:
            # A minute is a gap, too.
            known.steady_since = self.now
        known.beat_at = self.now
        known.said = said
        return True

    def leave(self, node: str) -> None:
        self.nodes.pop(node, None)
        self.gone.setdefault(node, False)

    def declare_dead(self, node: str) -> list[str]:
        """By this node: those that have missed their beats."""
        own = self.nodes.get(node)
        if own is None or 2 * (self.now - own.beat_at) >= TIMEOUT or self.now - own.steady_since < TIMEOUT:
            return []
        dead = [name for name, other in self.nodes.items() if self.now - other.beat_at >= TIMEOUT]
        for name in dead:
            del self.nodes[name]
            self.gone[name] = True
        return dead

    def pass_time(self, minutes: int, absent: Iterable[str]) -> None:
        """All nodes beat meanwhile, but for the absent."""
        self.now += minutes
        for name in self.nodes.keys() - set(absent):
            self.nodes[name].beat_at += minutes

    def _due_in(self, minutes: int) -> tuple[int, int]:
        return self.now + minutes, next(self._order)

    def _note_failure(self, job: Job, reason: str, stack: str) -> None:
        job.reason = reason
        job.stacks.append(stack)

    def _count(self, event: str, job: Job) -> None:
        self.tallies[event, job.kind.logical] += 1

    def _end(self, job: Job, outcome: str) -> None:
        job.made += 1
        job.state = outcome
        self._count(outcome, job)
        keep = job.opts.remove_on_complete if outcome == "completed" else job.opts.remove_on_fail
        age, count = limits_of(keep)
        if count == 0:
            del self.jobs[job.token]
        elif age is not None or count is not None:
            job.expires = None if age is None else self.now + age
            self._list(job, count)

    def _list(self, job: Job, count: int | None) -> None:
        ended = self.ended[job.state, job.group]
        ended.append(job)
        if count is not None and len(ended) > count:
            for over in [one for one in ended if self.is_over(one)]:
                self._forget(over)
            for oldest in ended[: max(0, len(ended) - count)]:
                self._forget(oldest)

    def _unlist(self, job: Job) -> None:
        ended = self.ended[job.state, job.group]
        if job in ended:
            ended.remove(job)

    def _forget(self, job: Job) -> None:
        self._unlist(job)
        del self.jobs[job.token]


def limits_of(keep: Keep) -> tuple[int | None, int | None]:
    """Minutes and number that finished jobs are kept for; a number of 0 removes at once."""
    if keep is True:
        return None, 0
    if keep is False:
        return None, None
    if isinstance(keep, int):
        return None, keep
    seconds = keep.get("age")
    return None if seconds is None else int(seconds) // 60, keep.get("count")
