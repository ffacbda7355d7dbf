"""dramatiq with Redis as broker and result backend."""

from __future__ import annotations

import asyncio
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.middleware.asyncio import AsyncIO
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from bench.peers.work import (
    ATTEMPTS,
    BACKOFF_MS,
    DAY_SECONDS,
    NOOP,
    STAMP,
    WAIT,
    WAIT_SECONDS,
    WIDE_URL,
    envelope,
    stamp,
)

broker = RedisBroker(url=WIDE_URL)
broker.add_middleware(Results(backend=RedisBackend(url=WIDE_URL), store_results=True, result_ttl=DAY_SECONDS * 1000))
broker.add_middleware(AsyncIO())
dramatiq.set_broker(broker)

_OPTIONS: dict[str, Any] = {"max_retries": ATTEMPTS - 1, "min_backoff": BACKOFF_MS}


@dramatiq.actor(actor_name=NOOP, **_OPTIONS)
def do_nothing(job: Any) -> None:
    """What a job costs by itself."""


@dramatiq.actor(actor_name=STAMP, **_OPTIONS)
def note_start(job: Any) -> None:
    """When it started."""
    stamp(job["payload"]["number"])


@dramatiq.actor(actor_name=WAIT, **_OPTIONS)
async def wait(job: Any) -> None:
    """As for an answer from elsewhere, and when it has ended."""
    await asyncio.sleep(WAIT_SECONDS)
    stamp(job["payload"]["number"])


def add(job: str, number: int, size: int, delay_ms: int) -> None:
    """One job. It gets an id of dramatiq's."""
    broker.get_actor(job).send_with_options(args=(envelope(job, number, size),), delay=delay_ms or None)
