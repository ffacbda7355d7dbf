"""A handler that runs one job at a time, with thousands waiting: how long the jobs of others wait beside them."""

from __future__ import annotations

import time

from bench.jobs import SLOW, STAMP
from bench.latency import latencies_ms
from bench.node import Node, prepare, running
from bench.report import Line, at_most
from bench.stand import Stand
from bench.statistic import percentile
from bench.systems import Managed, Pool

_POOL: Pool = "threads"
_PLUGIN = {"XPERT_MQ_PLUGINS": "bench.limited"}
#: What others may wait: so many times what they wait without the parked, or so much longer.
_TIMES = 1.2
_LONGER_MS = 5
#: While slots are free, no job waits longer.
_BEHIND_SECONDS = 1
_TURNS = 10
#: Jobs at the begin of a turn that are not measured: the worker was held still before.
_FIRST = 5


def measure(stand: Stand) -> list[Line]:
    """Parking, and waiting beside the parked."""
    return [*_parking(stand), *_waiting(stand)]


def _parking(stand: Stand) -> list[Line]:
    count = stand.sizes.parked
    system = stand.another(variables=_PLUGIN)
    seconds = [_behind(system, count) for _ in range(stand.sizes.rounds)]
    system.clear()
    return [
        Line(
            f"job enqueued behind {count} of a full handler starts after", "s", seconds, target=at_most(_BEHIND_SECONDS)
        ),
        Line("parking one job takes", "us", [1_000_000 * each / count for each in seconds]),
    ]


def _behind(system: Managed, count: int) -> float:
    """Seconds until a job starts that has so many before it, all of which get parked."""
    system.clear()
    with Node(system, _POOL) as node:
        prepare(node)
        system.add_many(SLOW, count)
        system.add(STAMP, 0)
        with running(node):
            started = time.time()
            system.stamps.wait_for(1)
    return system.stamps.read()[0].started - started


def _waiting(stand: Stand) -> list[Line]:
    """Two workers take turns: one has the parked jobs, the other none."""
    count = stand.sizes.parked
    beside, without = stand.another(variables=_PLUGIN), stand.another(variables=_PLUGIN)
    with Node(beside, _POOL) as crowded, Node(without, _POOL) as empty:
        prepare(crowded, empty)
        beside.add_many(SLOW, count)
        with running(crowded):
            beside.add(STAMP, 0)
            beside.stamps.wait_for(1)
        rounds = [_round((crowded, empty), stand.sizes.idle // _TURNS) for _ in range(stand.sizes.rounds)]
        if beside.parked() < count / 2:
            raise AssertionError(f"only {beside.parked()} jobs are parked")
    for system in (beside, without):
        system.clear()
    ours, alone = zip(*rounds, strict=True)
    lines = []
    for percent in (50, 99):
        name = f"wait of other handlers' jobs p{percent}"
        base = Line(f"{name}, nothing parked", "ms", [percentile(times, percent) for times in alone])
        bound = max(_TIMES * base.our_median, base.our_median + _LONGER_MS)
        target = at_most(round(bound, 1)) if percent == 50 else None
        beside_parked = [percentile(times, percent) for times in ours]
        lines += [base, Line(f"{name}, {count} parked", "ms", beside_parked, target=target)]
    return lines


def _round(nodes: tuple[Node, Node], count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each job, for each of the nodes."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(_TURNS):
        for node, its_times in zip(nodes, times, strict=True):
            with running(node):
                latencies_ms(node.system, _FIRST)
                its_times += latencies_ms(node.system, count)
    return times
