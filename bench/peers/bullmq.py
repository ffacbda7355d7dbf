"""BullMQ's library for Python; run as a program it is a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bullmq import Queue, Worker

from bench.peers.work import (
    ATTEMPTS,
    BACKOFF_MS,
    CONCURRENCY,
    DAY_SECONDS,
    KEPT,
    NOOP,
    URL,
    WAIT,
    WAIT_SECONDS,
    envelope,
    new_id,
    stamp,
)

_NAME = "bench"
_queues: list[Queue] = []


async def start() -> None:
    """It belongs to the loop."""
    _queues.append(Queue(_NAME, {"connection": URL}))


async def handle(job: Any, token: str) -> None:
    """All jobs of the queue."""
    if job.name == WAIT:
        await asyncio.sleep(WAIT_SECONDS)
    if job.name != NOOP:
        stamp(job.data["payload"]["number"])


async def add(job: str, number: int, size: int, delay_ms: int) -> None:
    """One job."""
    await _queues[0].add(job, envelope(job, number, size), _options(delay_ms))


async def add_many(job: str, numbers: Sequence[int], size: int, delay_ms: int) -> None:
    """Many in one call."""
    await _queues[0].addBulk(
        [{"name": job, "data": envelope(job, number, size), "opts": _options(delay_ms)} for number in numbers]
    )


def _options(delay_ms: int) -> dict[str, Any]:
    return {
        "jobId": new_id(),
        "attempts": ATTEMPTS,
        "backoff": {"type": "exponential", "delay": BACKOFF_MS},
        "removeOnComplete": {"age": DAY_SECONDS, "count": KEPT},
        **({"delay": delay_ms} if delay_ms else {}),
    }


async def main() -> None:
    """Runs jobs until it is ended."""
    Worker(_NAME, handle, {"connection": URL, "concurrency": CONCURRENCY})
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
