"""Looking at many kept jobs: how long a page takes, and how long the server is held up by one step of it."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator
from typing import cast

from bench.report import Line, at_most
from bench.stand import Stand
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.keys import split_task_id
from xpert_mq.store.listing import JobFilter
from xpert_mq.store.store import Failure, NodeInfo

_TENANTS = 97
_PLUGINS = 7
_JOBS = 3
_BULK = 500
_HOUR_MS = 3_600_000
#: That which finishes jobs here.
_NODE = "bench"
_LOOKS = 20
#: A step that takes longer than this is noted by the server.
_NOTED_MICROSECONDS = 100
_PAGE_MS = 100
_STEP_MS = 5


def measure(stand: Stand) -> list[Line]:
    """Fills the database with jobs in all states, and looks at them in several ways."""
    stand.clear()
    service, count = stand.ours.service, stand.sizes.listed
    _fill(service, count)
    client = stand.ours.client
    client.config_set("slowlog-log-slower-than", _NOTED_MICROSECONDS)
    client.config_set("slowlog-max-len", 100_000)
    client.slowlog_reset()
    lines = [
        Line(f"{name}, of {count} jobs", "ms", _times(look), target=at_most(_PAGE_MS) if "page" in name else None)
        for name, look in _looks(stand).items()
    ]
    steps = sorted(entry["duration"] / 1000 for entry in client.slowlog_get(100_000)) or [0.0]
    # Not the longest, which is that of a server whose processor was taken away.
    p99 = steps[len(steps) * 99 // 100]
    lines.append(Line("steps of these on the server, p99", "ms", [p99], target=at_most(_STEP_MS)))
    stand.clear()
    return lines


def _looks(stand: Stand) -> dict[str, Callable[[], object]]:
    inspector = stand.ours.inspector
    wanted = {
        "of a tenant": JobFilter(tenant_id="tenant-5"),
        "of a plugin": JobFilter(plugin_name="plugin-3"),
        "of a tenant's logical job": JobFilter("tenant-5", ("waiting",), "plugin-3", "queue", "job-1"),
        "of failed jobs": JobFilter(states=("failed",)),
        "of a plugin's delayed jobs by age": JobFilter(states=("delayed",), plugin_name="plugin-3", at_least_ms=1),
    }
    looks: dict[str, Callable[[], object]] = {
        f"page {name}": functools.partial(inspector.page, jobs) for name, jobs in wanted.items()
    }
    return {**looks, "counts of all logical jobs": lambda: inspector.queues(JobFilter())}


def _times(look: Callable[[], object]) -> list[float]:
    times = []
    for _ in range(_LOOKS):
        started = time.perf_counter()
        look()
        times.append((time.perf_counter() - started) * 1000)
    return times


def _fill(service: ManagedQueueService, count: int) -> None:
    """A half of the jobs is delayed, a quarter waits, a quarter is finished, a twentieth of them failed."""
    for start in range(0, count, _BULK):
        service.enqueue_many(_job(number) for number in range(start, min(start + _BULK, count)))
    queue = service.settings.queue_name()
    beat = service.store.beat(_NODE, NodeInfo([queue]), fresh=True, gap_ms=1000)
    service.executor.run(beat)
    for number, task_id in enumerate(_taken(service, queue, count // 4)):
        claim = service.executor.run(service.store.claim(*split_task_id(task_id), queue, _NODE))
        if claim is None:
            raise LookupError(f"{task_id} is not waiting")
        end = service.store.complete(claim)
        if number % 20 == 0:
            end = service.store.fail(claim, Failure("boom", "builtins.ValueError", "Traceback: boom"))
        service.executor.run(end)


def _job(number: int) -> dict[str, object]:
    return {
        "plugin_name": f"plugin-{number % _PLUGINS}",
        "queue_name": "queue",
        "job_name": f"job-{number % _JOBS}",
        "tenant_id": f"tenant-{number % _TENANTS}",
        "payload": {"number": number},
        "job_id": f"{number}",
        "delay_ms": number % 2 * _HOUR_MS,
    }


def _taken(service: ManagedQueueService, queue: str, count: int) -> Iterator[str]:
    """Task ids of waiting jobs, whose messages are taken out."""
    for _ in range(count):
        yield json.loads(cast("bytes", service.get_redis().rpop(queue)))["headers"]["id"]
