"""huey with Redis, and results that expire."""

from __future__ import annotations

import time
from typing import Any

from huey import RedisExpireHuey

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
    new_id,
    stamp,
)

#: Results are kept also where the handler returns nothing.
app = RedisExpireHuey("bench", url=WIDE_URL, expire_time=DAY_SECONDS, store_none=True)

_OPTIONS: dict[str, Any] = {"retries": ATTEMPTS - 1, "retry_delay": BACKOFF_MS // 1000}


@app.task(name=NOOP, **_OPTIONS)
def do_nothing(job: Any) -> None:
    """What a job costs by itself."""


@app.task(name=STAMP, **_OPTIONS)
def note_start(job: Any) -> None:
    """When it started."""
    stamp(job["payload"]["number"])


@app.task(name=WAIT, **_OPTIONS)
def wait(job: Any) -> None:
    """As for an answer from elsewhere, and when it has ended; in greenlets."""
    time.sleep(WAIT_SECONDS)
    stamp(job["payload"]["number"])


_TASKS = {NOOP: do_nothing, STAMP: note_start, WAIT: wait}


def add(job: str, number: int, size: int, delay_ms: int) -> None:
    """One job."""
    task = _TASKS[job].s(envelope(job, number, size), delay=delay_ms / 1000 or None)
    task.id = new_id()
    app.enqueue(task)
