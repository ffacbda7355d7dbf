"""What an operation costs the server when there are many jobs, beside what it costs with a thousand."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.peers import work
from bench.peers.catalog import OURS
from bench.peers.rows import BASE, Bound, Row
from bench.peers.stand import Stand
from bench.systems import Managed
from xpert_mq.store.connection import Call
from xpert_mq.store.keys import split_task_id
from xpert_mq.store.store import Claim, Failure, NodeInfo

_FEW = 1000
_TIMES = 1.2
_BULK = 500
_HOUR_MS = 3_600_000
_NODE = "bench"


@dataclass(frozen=True, slots=True)
class _Crowd:
    """What is there.

    Args:
        names: of logical jobs.
    """

    jobs: int
    delay_ms: int = 0
    names: int = 1
    tenants: int = 1

    def described(self, number: int) -> dict[str, Any]:
        """One of its jobs."""
        return {
            **work.envelope(f"job-{number % self.names}", number, 0),
            "tenant_id": f"tenant-{number % self.tenants}",
            "job_id": f"{number}",
            "delay_ms": self.delay_ms,
            "attempts": work.ATTEMPTS,
        }


_CROWDS: dict[str, Callable[[int], _Crowd]] = {
    "waiting jobs": lambda part: _Crowd(1_000_000 // part),
    "delayed jobs": lambda part: _Crowd(100_000 // part, delay_ms=_HOUR_MS),
    "logical jobs": lambda part: _Crowd(10_000 // part, names=10_000 // part),
    "tenants": lambda part: _Crowd(10_000 // part, tenants=10_000 // part),
}


def measure(stand: Stand) -> list[Row]:
    """Every operation beside each of the crowds."""
    return [row for name, crowd in _CROWDS.items() for row in _beside(stand, name, crowd(stand.sizes.growth_part))]


def _beside(stand: Stand, name: str, crowd: _Crowd) -> list[Row]:
    systems = stand.managed(0), stand.managed(1)
    grown, base = (_Operations(system, crowd, stand.sizes.calls) for system in systems)
    for operations, jobs in ((grown, crowd.jobs), (base, 0)):
        operations.fill(crowd, jobs)
        operations.fill(_Crowd(_FEW), _FEW, first=crowd.jobs)
    rows = []
    # In turn, so that a machine that gets slower is so for both.
    for (operation, ours), (_, few) in zip(grown.medians(), base.medians(), strict=True):
        figures = {OURS: [ours], BASE: [few]}
        what = f"{operation} with {crowd.jobs} {name}; base: {_FEW} jobs"
        rows.append(Row(what, "us", figures, [Bound(_TIMES, (BASE,))], more_is_better=False))
    for system in systems:
        system.clear()
    return rows


class _Operations:
    """Calls of each operation, one after the other, and the server's time for them."""

    def __init__(self, system: Managed, crowd: _Crowd, calls: int) -> None:
        self._system, self._crowd, self._calls = system, crowd, calls
        self._store, self._run = system.service.store, system.service.executor.run
        self._queue = system.keys.queue

    def fill(self, crowd: _Crowd, count: int, first: int = 0) -> None:
        """Enqueues so many of the crowd's jobs."""
        for start in range(first, first + count, _BULK):
            numbers = range(start, min(start + _BULK, first + count))
            self._system.service.enqueue_many([crowd.described(number) for number in numbers])

    def medians(self) -> Iterator[tuple[str, float]]:
        """The name of each operation, and the median of its calls in microseconds."""
        service = self._system.service
        self._run(self._store.beat(_NODE, NodeInfo([self._queue]), fresh=True, gap_ms=1000))
        yield "add", self._timed(lambda number: service.enqueue(self._new(number)))
        yield "add a delayed one", self._timed(lambda number: service.enqueue(self._new(number, 1, _HOUR_MS)))
        yield "get_job", self._timed(lambda number: service.get_job(**self._named(number)))
        yield "cancel", self._timed(lambda number: service.cancel(**self._named(number)))
        yield "cancel a delayed one", self._timed(lambda number: service.cancel(**self._named(number, 1)))
        taken = list[str]()
        yield "fetch", self._timed(lambda number: taken.append(self._fetched()))
        claims = list[Claim]()
        yield "claim", self._timed(lambda number: claims.append(self._claimed(taken[number])))
        half = len(claims) // 2
        yield "finish", self._timed(lambda number: self._run(self._store.complete(claims[number])), half)
        failure = Failure("boom", "builtins.ValueError", "Traceback: boom")
        fail = functools.partial(self._store.fail, failure=failure)
        yield "finish as failed", self._timed(lambda number: self._run(fail(claims[half + number])), half)
        yield "retry", self._timed(lambda number: self._rerun(claims[half + number]), half)
        for number in range(self._calls):
            service.enqueue(self._new(number, 2, 1))
        yield "promote", self._timed(lambda number: self._run(self._store.promote(self._queue, 1)))

    def _new(self, number: int, kind: int = 0, delay_ms: int = 0) -> dict[str, Any]:
        named = self._named(number, kind)
        return {**self._crowd.described(number), **named, "delay_ms": delay_ms}

    def _named(self, number: int, kind: int = 0) -> dict[str, Any]:
        return {"job_id": f"new-{kind}-{number}", "tenant_id": f"tenant-{number % self._crowd.tenants}"}

    def _fetched(self) -> str:
        values = {
            "nodes": self._store.keys.nodes,
            "node": _NODE,
            "fresh": 0,
            "channel": "bench",
            "count": 1,
            "queues": json.dumps([self._queue]),
        }
        taken: list[Any] = self._run(Call(self._store.fetch_script, values, list))
        task_id: str = json.loads(taken[1])["headers"]["id"]
        return task_id

    def _claimed(self, task_id: str) -> Claim:
        claim = self._run(self._store.claim(*split_task_id(task_id), self._queue, _NODE))
        if claim is None:
            raise LookupError(f"{task_id} is not waiting")
        return claim

    def _rerun(self, claim: Claim) -> None:
        self._run(self._store.rerun(claim.envelope.tenant_id, claim.job_id))

    def _timed(self, call: Callable[[int], object], count: int | None = None) -> float:
        """By the slow log."""
        client = self._system.client
        client.config_set("slowlog-max-len", 10 * self._calls)
        client.config_set("slowlog-log-slower-than", 0)
        client.slowlog_reset()
        for number in range(count or self._calls):
            call(number)
        client.config_set("slowlog-log-slower-than", -1)
        entries = client.slowlog_get(10 * self._calls)
        times: list[float] = [entry["duration"] for entry in entries if entry["command"].startswith(b"EVALSHA")]
        return median(times)
