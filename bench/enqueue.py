"""Enqueueing: one by one, and in bulk."""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.jobs import NOOP
from bench.report import Line, at_least_times_plain
from bench.stand import Stand
from bench.systems import BULK, System


def measure(stand: Stand) -> list[Line]:
    """Jobs per second of one producer; no worker runs. Plain Celery has no bulk call: both lines show one by one."""
    single, bulk, plain = [], [], []
    for system in stand.systems:
        _one_by_one(system, 100)
    for _ in range(stand.sizes.rounds):
        single.append(_rate(stand.ours, stand.sizes.enqueued, _one_by_one))
        plain.append(_rate(stand.plain, stand.sizes.enqueued, _one_by_one))
        bulk.append(_rate(stand.ours, stand.sizes.bulk, _many))
    return [
        Line("enqueue, one by one", "jobs/s", single, plain, at_least_times_plain(3), more_is_better=True),
        Line(f"enqueue_many, {BULK} a call", "jobs/s", bulk, plain, at_least_times_plain(8), more_is_better=True),
    ]


def _rate(system: System, count: int, add: Callable[[System, int], None]) -> float:
    system.clear()
    started = time.perf_counter()
    add(system, count)
    taken = time.perf_counter() - started
    system.settle()
    return count / taken


def _one_by_one(system: System, count: int) -> None:
    for number in range(count):
        system.add(NOOP, number)


def _many(system: System, count: int) -> None:
    system.add_many(NOOP, count)
