"""Idle latency: a worker with nothing to do gets one job."""

from __future__ import annotations

import time

from bench.jobs import STAMP
from bench.node import Node, running
from bench.report import Line, at_most_plain
from bench.stand import Stand
from bench.statistic import percentile
from bench.systems import CONCURRENCY, Pool

#: After each job, so that the worker is idle and waits again before the next one.
_PAUSE_SECONDS = 0.01


def measure(stand: Stand) -> list[Line]:
    """From just before the enqueue to the first line of the handler."""
    return [line for pool in CONCURRENCY for line in _measure_pool(stand, pool)]


def _measure_pool(stand: Stand, pool: Pool) -> list[Line]:
    with stand.nodes(pool) as nodes:
        rounds = [
            [_latencies_ms(nodes[system], stand.sizes.idle) for system in stand.systems]
            for _ in range(stand.sizes.rounds)
        ]
    lines = []
    for percent, target in ((50, at_most_plain()), (99, None)):
        ours, plain = zip(*([percentile(times, percent) for times in pair] for pair in rounds), strict=True)
        lines.append(Line(f"idle latency p{percent}, {pool}", "ms", ours, plain, target))
    return lines


def _latencies_ms(node: Node, count: int) -> list[float]:
    sent = []
    with running(node):
        node.warm_up()
        for number in range(count):
            time.sleep(_PAUSE_SECONDS)
            sent.append(time.time())
            node.system.add(STAMP, number)
            node.system.stamps.wait_for(number + 1)
        stamps = node.system.stamps.read()
        node.system.stamps.clear()
    node.system.settle()
    return [(stamp.started - sent[stamp.number]) * 1000 for stamp in stamps]
