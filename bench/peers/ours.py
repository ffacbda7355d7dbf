"""The managed queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from bench.jobs import PLUGIN, QUEUE
from bench.peers.work import (
    ATTEMPTS,
    BACKOFF_MS,
    DAY_SECONDS,
    KEPT,
    NOOP,
    STAMP,
    URL,
    WAIT,
    WAIT_SECONDS,
    envelope,
    new_id,
    stamp,
)
from xpert_mq import ManagedQueueJob, ManagedQueueService, Settings, plugin_job_processor

_service = ManagedQueueService(Settings(redis_url=URL))


@plugin_job_processor(plugin_name=PLUGIN, queue_name=QUEUE, job_name=NOOP)
def do_nothing(job: ManagedQueueJob[Any]) -> None:
    """What a job costs by itself."""


@plugin_job_processor(plugin_name=PLUGIN, queue_name=QUEUE, job_name=STAMP)
def note_start(job: ManagedQueueJob[Any]) -> None:
    """When it started."""
    stamp(job.data["number"])


@plugin_job_processor(plugin_name=PLUGIN, queue_name=QUEUE, job_name=WAIT)
async def wait(job: ManagedQueueJob[Any]) -> None:
    """As for an answer from elsewhere, and when it has ended."""
    await asyncio.sleep(WAIT_SECONDS)
    stamp(job.data["number"])


def add(job: str, number: int, size: int, delay_ms: int) -> None:
    """One job."""
    _service.enqueue(_described(job, number, size, delay_ms))


async def aadd(job: str, number: int, size: int, delay_ms: int) -> None:
    """One job, awaited."""
    await _service.aenqueue(_described(job, number, size, delay_ms))


def add_many(job: str, numbers: Sequence[int], size: int, delay_ms: int) -> None:
    """Many in one call."""
    _service.enqueue_many([_described(job, number, size, delay_ms) for number in numbers])


def _described(job: str, number: int, size: int, delay_ms: int) -> dict[str, Any]:
    return {
        **envelope(job, number, size),
        "job_id": new_id(),
        "delay_ms": delay_ms,
        "attempts": ATTEMPTS,
        "backoff_ms": {"type": "exponential", "delay": BACKOFF_MS},
        "remove_on_complete": {"age": DAY_SECONDS, "count": KEPT},
    }
