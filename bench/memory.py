"""Memory: of the server per job, and of a worker while many jobs are delayed."""

from __future__ import annotations

import time

from bench.jobs import NOOP
from bench.node import Node
from bench.report import Line, at_most
from bench.stand import Stand
from bench.systems import System

_HOUR_MS = 3_600_000
_SERVER_LIMIT = 1500
#: Less than this can't be told from what a worker's memory does by itself.
_WORKER_NOISE = 50
#: For what a worker does from time to time.
_SETTLE_SECONDS = 3


def measure_server(stand: Stand) -> list[Line]:
    """What the server's memory grows by, per job. No worker runs. Once, since it hardly varies."""
    lines = []
    for what, delay_ms, target in (("waiting", 0, None), ("delayed", _HOUR_MS, at_most(_SERVER_LIMIT))):
        ours, plain = (_bytes_per_job(system, stand.sizes.kept, delay_ms) for system in stand.systems)
        lines.append(Line(f"server memory per {what} job", "bytes", [ours], [plain], target))
    return lines


def _bytes_per_job(system: System, count: int, delay_ms: int) -> float:
    system.clear()
    before = system.client.info("memory")["used_memory"]
    system.add_many(NOOP, count, delay_ms)
    after = system.client.info("memory")["used_memory"]
    system.clear()
    return float(after - before) / count


def measure_worker(stand: Stand) -> list[Line]:
    """What a worker's memory grows by, per delayed job, once it had the time to see them all. Once, as above."""
    stand.clear()
    ours, plain = (_worker_growth(system, stand.sizes.delayed) for system in stand.systems)
    name = f"worker memory per job, {stand.sizes.delayed} delayed"
    return [Line(name, "bytes", [ours], [plain], at_most(_WORKER_NOISE))]


def _worker_growth(system: System, count: int) -> float:
    with Node(system, "threads") as node:
        node.warm_up()
        system.add_many(NOOP, 1000)
        system.wait_until_idle()
        time.sleep(_SETTLE_SECONDS)
        before = node.resident_bytes()
        system.add_many(NOOP, count, _HOUR_MS)
        _wait_until_fetched(system)
        growth = node.resident_bytes() - before
    system.clear()
    return growth / count


def _wait_until_fetched(system: System) -> None:
    """Plain Celery's worker fetches delayed jobs at once and holds them; ours gets no message before they are due."""
    deadline = time.monotonic() + 60
    while system.queued():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{system.queued()} messages were not fetched")
        time.sleep(0.05)
    time.sleep(_SETTLE_SECONDS)
