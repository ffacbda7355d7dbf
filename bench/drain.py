"""Draining: one worker and a queue full of jobs that do nothing, in each pool."""

from __future__ import annotations

import time

from bench.jobs import NOOP
from bench.node import Node, running
from bench.report import Line, at_least_times_plain
from bench.stand import Stand
from bench.systems import CONCURRENCY, Pool


def measure(stand: Stand) -> list[Line]:
    """Jobs per second."""
    return [_measure_pool(stand, pool) for pool in CONCURRENCY]


def _measure_pool(stand: Stand, pool: Pool) -> Line:
    with stand.nodes(pool) as nodes:
        rounds = [[_rate(nodes[system], stand.sizes.drained) for system in stand.systems] for _ in _times(stand)]
    ours, plain = zip(*rounds, strict=True)
    name = f"drain, {pool} -c {CONCURRENCY[pool]}"
    return Line(name, "jobs/s", ours, plain, at_least_times_plain(1.2), more_is_better=True)


def _times(stand: Stand) -> range:
    return range(stand.sizes.rounds)


def _rate(node: Node, count: int) -> float:
    """From the moment at which the worker may start until no job waits or runs."""
    with running(node):
        # While it was held still for the other system's turn, its connections may have timed out.
        node.warm_up()
    last = node.system.add_many(NOOP, count)
    with running(node):
        started = time.perf_counter()
        finished = node.system.wait_until_idle(timeout=120)
    if not node.system.has_completed(last):
        raise AssertionError(f"{node.system.name}: the last job did not succeed")
    return count / (finished - started)
