"""Delayed jobs: how late they start, and how late they are handed out; and whether any started early."""

from __future__ import annotations

import bisect
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bench.jobs import NOOP, STAMP, Stamp
from bench.node import Node, prepare, running
from bench.report import Line, at_most
from bench.stand import Stand
from bench.statistic import percentile
from bench.systems import Managed, Pool, System

_LIMIT_MS = 50
_SPREAD_SECONDS = 3.0
_TRIED = 200
_POOL: Pool = "threads"


@dataclass(frozen=True, slots=True)
class Run:
    """What one round gave. Lateness in ms, of each job."""

    starts: list[float]
    #: Of the hand-out to the workers; only for us.
    hand_outs: list[float]
    early: int
    #: Part of the jobs that the busiest process ran.
    largest_share: float


def measure(stand: Stand) -> list[Line]:
    """Jobs spread over some seconds beside plain Celery, and jobs that are all due at once on two nodes."""
    return [*_spread(stand), *_same_moment(stand)]


def _spread(stand: Stand) -> list[Line]:
    count = stand.sizes.spread
    ours, plain = [], []

    def due(start: float, number: int) -> float:
        return start + _SPREAD_SECONDS * number / count

    with stand.nodes(_POOL) as nodes:
        for _ in range(stand.sizes.rounds):
            ours.append(_run(stand.ours, [nodes[stand.ours]], count, due))
            plain.append(_run(stand.plain, [nodes[stand.plain]], count, due))
    what = f"{count} due over {_SPREAD_SECONDS:g} s"
    return [
        Line(f"{what}: start late p50", "ms", _each(ours, 50), _each(plain, 50)),
        Line(f"{what}: start late p99", "ms", _each(ours, 99), _each(plain, 99), at_most(_LIMIT_MS)),
        Line(f"{what}: hand-out late p99", "ms", _hand_outs(ours, 99), target=at_most(_LIMIT_MS)),
        Line(f"{what}: started early", "jobs", [run.early for run in ours], target=at_most(0)),
    ]


def _same_moment(stand: Stand) -> list[Line]:
    count = stand.sizes.same_moment
    stand.clear()
    with contextlib.ExitStack() as started:
        nodes = []
        for _ in range(2):
            nodes.append(started.enter_context(Node(stand.ours, _POOL)))
            prepare(nodes[-1])
        runs = [_run(stand.ours, nodes, count, lambda start, number: start) for _ in range(stand.sizes.rounds)]
    what = f"{count} due at once, 2 nodes"
    return [
        Line(f"{what}: hand-out late p50", "ms", _hand_outs(runs, 50)),
        Line(f"{what}: hand-out late p99", "ms", _hand_outs(runs, 99), target=at_most(_LIMIT_MS)),
        Line(f"{what}: last start late", "ms", _each(runs, 100)),
        Line(f"{what}: started early", "jobs", [run.early for run in runs], target=at_most(0)),
        Line(f"{what}: busier node's share", "%", [100 * run.largest_share for run in runs]),
    ]


def _run(system: System, nodes: list[Node], count: int, due_of: Callable[[float, int], float]) -> Run:
    with running(*nodes):
        start = _start_after(system, count)
        ids, dues = _add(system, count, lambda number: due_of(start, number))
        samples = _watched(system, count)
        system.wait_until_idle()
    system.settle()
    stamps = system.stamps.read()
    return Run(
        [(stamp.started - dues[stamp.number]) * 1000 for stamp in stamps],
        _hand_out_lateness(samples, dues),
        _early(system, ids),
        _largest_share(stamps),
    )


def _start_after(system: System, count: int) -> float:
    """A time that leaves enough for enqueueing so many jobs, by what some of them take on this machine now."""
    system.stamps.clear()
    began = time.time()
    for number in range(_TRIED):
        system.add(NOOP, number)
    each = (time.time() - began) / _TRIED
    system.wait_until_idle()
    return time.time() + 1 + 2 * count * each


def _add(system: System, count: int, due_of: Callable[[int], float]) -> tuple[list[str], list[float]]:
    """Enqueues the jobs; gives their ids and due times."""
    ids, dues = [], []
    for number in range(count):
        before = time.time()
        delay_ms = int((due_of(number) - before) * 1000)
        if delay_ms <= 0:
            raise AssertionError("enqueueing took longer than the delay: the machine is too busy")
        ids.append(system.add(STAMP, number, delay_ms))
        dues.append(before + delay_ms / 1000)
    return ids, dues


def _watched(system: System, count: int) -> list[tuple[float, int]]:
    """Waits until all have started; gives, every millisecond or two, the time and how many were not handed out yet."""
    if not isinstance(system, Managed):
        system.stamps.wait_for(count)
        return []
    samples: list[tuple[float, int]] = []
    while not samples or samples[-1][1] > 0:
        left = system.delayed()
        samples.append((time.time(), left))
        time.sleep(0.001)
    system.stamps.wait_for(count)
    return samples


def _hand_out_lateness(samples: list[tuple[float, int]], dues: Iterable[float]) -> list[float]:
    """They go in the order of their due times, so the number that is left tells which have gone."""
    if not samples:
        return []
    ordered = sorted(dues)
    gone = [len(ordered) - left for _, left in samples]
    seen = [samples[bisect.bisect_left(gone, place)][0] for place in range(1, len(ordered) + 1)]
    return [(at - due) * 1000 for at, due in zip(seen, ordered, strict=True)]


def _early(system: System, ids: list[str]) -> int:
    """How many tries began before the due time, both by the server's clock."""
    if not isinstance(system, Managed):
        return 0
    records = map(system.record, ids)
    return sum((record.processed_on or 0) < record.timestamp + record.opts.delay_ms for record in records)


def _largest_share(stamps: list[Stamp]) -> float:
    return max(Counter(stamp.pid for stamp in stamps).values()) / len(stamps)


def _each(runs: list[Run], percent: float) -> list[float]:
    return [percentile(run.starts, percent) for run in runs]


def _hand_outs(runs: list[Run], percent: float) -> list[float]:
    return [percentile(run.hand_outs, percent) for run in runs]
