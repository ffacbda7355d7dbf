"""taskiq with the broker that acknowledges (a stream), and its result backend."""

from __future__ import annotations

import asyncio
from typing import Any

from taskiq import SmartRetryMiddleware
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from bench.peers.work import (
    ATTEMPTS,
    BACKOFF_MS,
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

broker = (
    # Workers read what came before them; and one that is held still here for long has not lost its connection.
    RedisStreamBroker(URL, consumer_id="0", socket_timeout=None)
    .with_result_backend(RedisAsyncResultBackend(URL, result_ex_time=DAY_SECONDS))
    .with_middlewares(SmartRetryMiddleware(default_delay=BACKOFF_MS / 1000, use_delay_exponent=True))
)

_OPTIONS: dict[str, Any] = {"retry_on_error": True, "max_retries": ATTEMPTS}


@broker.task(NOOP, **_OPTIONS)
async def do_nothing(job: Any) -> None:
    """What a job costs by itself."""


@broker.task(STAMP, **_OPTIONS)
async def note_start(job: Any) -> None:
    """When it started."""
    stamp(job["payload"]["number"])


@broker.task(WAIT, **_OPTIONS)
async def wait(job: Any) -> None:
    """As for an answer from elsewhere, and when it has ended."""
    await asyncio.sleep(WAIT_SECONDS)
    stamp(job["payload"]["number"])


_TASKS: dict[str, Any] = {NOOP: do_nothing, STAMP: note_start, WAIT: wait}

start = broker.startup


async def add(job: str, number: int, size: int, delay_ms: int) -> None:
    """One job. A delay would take a scheduler beside the worker."""
    if delay_ms:
        raise NotImplementedError("the broker has no delays")
    await _TASKS[job].kicker().with_task_id(new_id()).kiq(envelope(job, number, size))
