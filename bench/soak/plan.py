"""Which jobs there are, and which faults meet them. The same seed gives the same plan."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from xpert_mq.models import Backoff

PLUGIN, QUEUE = "soak", "soak"
#: Job names and their limits per node; 0 for none. Those that end in `async` have async handlers.
HANDLERS = {"work": 0, "work-async": 0, "limited": 1, "limited-async": 2}

_TENANTS = (None, "acme", "globex", "initech", "umbrella")

#: Of so many jobs the first are limited, and come at once: else no limit would be reached.
_BURST_EVERY, _BURST = 60, 10

JobKey = tuple[str | None, str]
"""Tenant and id: two tenants use the same ids."""


@dataclass(frozen=True, slots=True)
class JobPlan:
    """One job.

    Attributes:
        at: seconds from the start until it is enqueued.
        batch: it is enqueued together with the neighbours that say so too.
        fails: so many tries raise, from the first on.
        fatal: the try after them raises UnrecoverableError.
        defers: so many times it raises Defer.
        steps: checkpoints, each after `hold_ms`.
        cancel_after: seconds from the answer to its enqueue to its cancel; None for no cancel.
    """

    key: JobKey
    name: str
    at: float
    batch: bool = False
    delay_ms: int = 0
    attempts: int = 1
    backoff: Backoff | None = None
    fails: int = 0
    fatal: bool = False
    defers: int = 0
    defer_ms: int = 0
    steps: int = 0
    hold_ms: int = 0
    cancel_after: float | None = None

    def wait_after(self, ended_tries: int) -> float:
        """Seconds from a failed try to the next."""
        if self.backoff is None:
            return 0
        factor = 2 ** (ended_tries - 1) if self.backoff["type"] == "exponential" else 1
        return self.backoff["delay"] * factor / 1000

    def enqueued(self) -> dict[str, Any]:
        """The input of `enqueue`."""
        tenant, job_id = self.key
        return {
            "plugin_name": PLUGIN,
            "queue_name": QUEUE,
            "job_name": self.name,
            "tenant_id": tenant,
            "job_id": job_id,
            "delay_ms": self.delay_ms,
            "attempts": self.attempts,
            "backoff_ms": self.backoff,
            # They are looked at in the end.
            "remove_on_complete": False,
            "remove_on_fail": False,
            "payload": {
                "hold_ms": self.hold_ms,
                "fails": self.fails,
                "fatal": self.fatal,
                "defers": self.defers,
                "defer_ms": self.defer_ms,
                "steps": self.steps,
                "steps_done": 0,
                "deferred": 0,
            },
        }


def make_jobs(seed: int, count: int, seconds: float, node_timeout: float) -> list[JobPlan]:
    """So many jobs within the time, in the order of their enqueueing."""
    random_ = random.Random(f"jobs {seed}")
    kinds, weights = zip(*_KINDS, strict=True)
    jobs = []
    for number, kind in enumerate(random_.choices(kinds, weights, k=count)):
        in_burst = number % _BURST_EVERY < _BURST
        fields = (_limited if in_burst else kind)(random_, node_timeout)
        jobs.append(
            JobPlan(
                # Some ids are those of another tenant's job.
                key=(_TENANTS[number % len(_TENANTS)], f"job-{number // len(_TENANTS)}"),
                name=fields.pop("name", random_.choice(["work", "work-async"])),
                at=seconds * number / count,
                batch=in_burst or random_.random() < 0.2,
                **fields,
            )
        )
    return jobs


def _plain(random_: random.Random, _: float) -> dict[str, Any]:
    return {"hold_ms": random_.randrange(50)}


def _work(random_: random.Random, _: float) -> dict[str, Any]:
    return {"hold_ms": random_.randrange(200, 1800)}


def _long(random_: random.Random, node_timeout: float) -> dict[str, Any]:
    """Longer than a node may be silent."""
    return {"hold_ms": round(1200 * node_timeout)}


def _flaky(random_: random.Random, _: float) -> dict[str, Any]:
    fails = random_.randint(1, 3)
    attempts = random_.randint(fails, 4)
    return {"hold_ms": random_.randrange(80), "fails": fails, "attempts": attempts, "backoff": _backoff(random_)}


def _backoff(random_: random.Random) -> Backoff | None:
    delay = random_.randrange(100, 600)
    some: list[Backoff | None] = [None, {"type": "fixed", "delay": delay}, {"type": "exponential", "delay": delay}]
    return random_.choice(some)


def _fatal(random_: random.Random, _: float) -> dict[str, Any]:
    return {"hold_ms": random_.randrange(50), "fatal": True, "attempts": 3, "fails": random_.randint(0, 1)}


def _delayed(random_: random.Random, _: float) -> dict[str, Any]:
    return {"delay_ms": random_.randrange(50, 5000), "hold_ms": random_.randrange(50)}


def _deferring(random_: random.Random, _: float) -> dict[str, Any]:
    defer_ms = random_.choice([0, random_.randrange(50, 1000)])
    return {"hold_ms": random_.randrange(30), "defers": random_.randint(1, 3), "defer_ms": defer_ms}


def _stepwise(random_: random.Random, _: float) -> dict[str, Any]:
    fails = random_.randint(0, 1)
    return {"steps": random_.randint(2, 6), "hold_ms": random_.randrange(10, 80), "attempts": 2, "fails": fails}


def _limited(random_: random.Random, _: float) -> dict[str, Any]:
    return {"name": random_.choice(["limited", "limited-async"]), "hold_ms": random_.randrange(100, 600)}


def _cancelled(random_: random.Random, _: float) -> dict[str, Any]:
    """Before it is due, while it waits, or when it runs already."""
    delay_ms = random_.choice([0, 0, random_.randrange(100, 4000)])
    after = random_.uniform(0, 0.05 if not delay_ms else delay_ms / 900)
    fails = random_.randint(0, 1)
    more = {"attempts": 3, "fails": fails, "backoff": _backoff(random_)} if fails else {}
    return {"delay_ms": delay_ms, "hold_ms": random_.randrange(100), "cancel_after": after, **more}


_Kind = Callable[[random.Random, float], dict[str, Any]]
_KINDS: list[tuple[_Kind, float]] = [
    (_plain, 20),
    (_work, 30),
    (_long, 0.3),
    (_flaky, 14),
    (_fatal, 4),
    (_delayed, 12),
    (_deferring, 8),
    (_stepwise, 10),
    (_limited, 4),
    (_cancelled, 10),
]

FaultKind = Literal[
    "kill child",
    "kill node",
    "kill main",
    "freeze node shortly",
    "freeze node for long",
    "freeze main for long",
    "warm shutdown",
    "cold shutdown",
    "rollout",
    "kill redis",
    "freeze redis shortly",
    "freeze redis for long",
    "flush scripts",
    "kill connections",
    "delete messages",
    "double messages",
]

#: How often each comes in one round of all.
_DECK: dict[FaultKind, int] = {
    "kill child": 7,
    "kill node": 3,
    "kill main": 1,
    "freeze node shortly": 2,
    "freeze node for long": 2,
    "freeze main for long": 1,
    "warm shutdown": 1,
    "cold shutdown": 2,
    "rollout": 1,
    "kill redis": 2,
    "freeze redis shortly": 1,
    "freeze redis for long": 1,
    "flush scripts": 2,
    "kill connections": 2,
    "delete messages": 3,
    "double messages": 3,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        at: seconds from the start.
        place: chooses what it meets, among what is there then.
        seconds: how long a freeze or an outage lasts; for nodes that end, how long until they are started again.
    """

    at: float
    kind: FaultKind
    place: int
    seconds: float


def make_faults(seed: int, seconds: float, every: float, node_timeout: float) -> list[Fault]:
    """Faults within the time, one `every` so many seconds: first one of each kind, and more of killed children."""
    random_ = random.Random(f"faults {seed}")
    kinds = _dealt(random_)
    return [
        Fault(
            at=every * (number + random_.uniform(0.5, 1)),
            kind=(kind := next(kinds)),
            place=random_.randrange(1 << 30),
            seconds=_lasts(random_, kind, node_timeout),
        )
        for number in range(int(seconds / every))
    ]


def _dealt(random_: random.Random) -> Iterator[FaultKind]:
    while True:
        # Some of each kind first, for short runs: not every child that is killed has a job.
        once: list[FaultKind] = [*_DECK, "kill child", "kill child"]
        more = list((Counter(_DECK) - Counter(once)).elements())
        random_.shuffle(once)
        random_.shuffle(more)
        yield from once
        yield from more


def _lasts(random_: random.Random, kind: FaultKind, node_timeout: float) -> float:
    if kind.endswith("for long"):
        return node_timeout * random_.uniform(1.3, 1.8)
    if kind.endswith("shortly"):
        return node_timeout * random_.uniform(0.2, 0.7)
    if kind == "kill redis":
        return node_timeout * random_.uniform(0.02, 0.5)
    return random_.uniform(0, 0.3 * node_timeout)
