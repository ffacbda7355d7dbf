"""rq. Its handlers are found by the names of their functions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from redis import Redis
from rq import Queue, Retry

from bench.peers.work import ATTEMPTS, BACKOFF_MS, DAY_SECONDS, NOOP, STAMP, URL, envelope, new_id, stamp

_queue = Queue(connection=Redis.from_url(URL))


def do_nothing(job: Any) -> None:
    """What a job costs by itself."""


def note_start(job: Any) -> None:
    """When it started."""
    stamp(job["payload"]["number"])


_FUNCTIONS = {NOOP: do_nothing, STAMP: note_start}


def add(job: str, number: int, size: int, delay_ms: int) -> None:
    """One job."""
    function, options = _FUNCTIONS[job], _options()
    if delay_ms:
        _queue.enqueue_in(timedelta(milliseconds=delay_ms), function, envelope(job, number, size), **options)
    else:
        _queue.enqueue(function, envelope(job, number, size), **options)


def add_many(job: str, numbers: Sequence[int], size: int, delay_ms: int) -> None:
    """Many in one pipeline."""
    _queue.enqueue_many(
        [Queue.prepare_data(_FUNCTIONS[job], (envelope(job, number, size),), **_options()) for number in numbers]
    )


def _options() -> dict[str, Any]:
    retry = Retry(max=ATTEMPTS - 1, interval=BACKOFF_MS // 1000)
    return {"job_id": new_id(), "retry": retry, "result_ttl": DAY_SECONDS}
