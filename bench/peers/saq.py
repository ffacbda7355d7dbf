"""saq, in an environment of its own: it wants an older redis-py."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from saq import Queue

from bench.peers.work import (
    ATTEMPTS,
    BACKOFF_MS,
    CONCURRENCY,
    DAY_SECONDS,
    NOOP,
    STAMP,
    URL,
    WAIT,
    WAIT_SECONDS,
    envelope,
    new_id,
    stamp,
)

queue = Queue.from_url(URL)


async def do_nothing(context: Any, *, job: Any) -> None:
    """What a job costs by itself."""


async def note_start(context: Any, *, job: Any) -> None:
    """When it started."""
    stamp(job["payload"]["number"])


async def wait(context: Any, *, job: Any) -> None:
    """As for an answer from elsewhere, and when it has ended."""
    await asyncio.sleep(WAIT_SECONDS)
    stamp(job["payload"]["number"])


settings = {
    "queue": queue,
    "functions": [(NOOP, do_nothing), (STAMP, note_start), (WAIT, wait)],
    "concurrency": CONCURRENCY,
}


async def add(job: str, number: int, size: int, delay_ms: int) -> None:
    """One job."""
    await queue.enqueue(
        job,
        job=envelope(job, number, size),
        key=new_id(),
        retries=ATTEMPTS,
        retry_delay=BACKOFF_MS / 1000,
        retry_backoff=True,
        ttl=DAY_SECONDS,
        scheduled=int(time.time() + delay_ms / 1000) if delay_ms else 0,
    )
