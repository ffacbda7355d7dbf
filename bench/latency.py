"""Idle latency: a worker with nothing to do gets one job."""

from __future__ import annotations

import time

from bench.jobs import STAMP
from bench.node import Node, running
from bench.report import Line, at_most_plain
from bench.stand import Stand
from bench.statistic import percentile
from bench.systems import CONCURRENCY, Pool, System

#: After each job, so that the worker is idle and waits again before the next one.
_PAUSE_SECONDS = 0.01


def measure(stand: Stand) -> list[Line]:
    """From just before the enqueue to the first line of the handler."""
    return [line for pool in CONCURRENCY for line in _measure_pool(stand, pool)]


def _measure_pool(stand: Stand, pool: Pool) -> list[Line]:
    with stand.nodes(pool) as nodes:
        rounds = [
            [_measure_node(nodes[system], stand.sizes.idle) for system in stand.systems]
            for _ in range(stand.sizes.rounds)
        ]
    lines = []
    for percent, target in ((50, at_most_plain()), (99, None)):
        ours, plain = zip(*([percentile(times, percent) for times in pair] for pair in rounds), strict=True)
        lines.append(Line(f"idle latency p{percent}, {pool}", "ms", ours, plain, target))
    return lines


def _measure_node(node: Node, count: int) -> list[float]:
    with running(node):
        node.warm_up()
        times = latencies_ms(node.system, count)
    node.system.settle()
    return times


def latencies_ms(system: System, count: int) -> list[float]:
    """From the enqueue to the start of each of so many jobs, one after the other. A worker must be running."""
    sent = []
    system.stamps.clear()
    for number in range(count):
        time.sleep(_PAUSE_SECONDS)
        sent.append(time.time())
        system.add(STAMP, number)
        system.stamps.wait_for(number + 1)
    stamps = system.stamps.read()
    system.stamps.clear()
    return [(stamp.started - sent[stamp.number]) * 1000 for stamp in stamps]
