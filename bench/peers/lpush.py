"""No queue at all: the bytes of a job, put into a list by redis-py. The bound of what can be reached through it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from redis import Redis

from bench.peers.work import URL, envelope

_client = Redis.from_url(URL)
_KEY = "bench"


def add(job: str, number: int, size: int, delay_ms: int) -> None:
    """One job."""
    _client.lpush(_KEY, json.dumps(envelope(job, number, size)))


def add_many(job: str, numbers: Sequence[int], size: int, delay_ms: int) -> None:
    """Many in one pipeline."""
    pipe = _client.pipeline(transaction=False)
    for number in numbers:
        pipe.lpush(_KEY, json.dumps(envelope(job, number, size)))
    pipe.execute()
