"""What all peers carry. Their processes import it, some from an environment of their own: standard library alone."""

from __future__ import annotations

import itertools
import os
import time
from typing import Any

from bench.jobs import NOOP, ORGANIZATION, PLUGIN, QUEUE, STAMP, TENANT, stamp

__all__ = ["NOOP", "STAMP", "stamp"]

URL_VARIABLE = "XPERT_BENCH_PEER_URL"
URL = os.environ.get(URL_VARIABLE, "redis://127.0.0.1:6379/0")

#: redis-py's default of 100 connections doesn't do where each of many threads has its own: results get lost.
WIDE_URL = f"{URL}?max_connections=10000"

#: A job whose handler waits, and does nothing else.
WAIT = "plugin_wechat_wait_for_answer"
WAIT_SECONDS = 0.1

#: Of those that run many handlers at once; each system's worker gets the bound from here.
CONCURRENCY = int(os.environ.get("XPERT_BENCH_CONCURRENCY", "10"))

ATTEMPTS = 3
BACKOFF_MS = 5000
DAY_SECONDS = 24 * 3600
#: Finished jobs that are kept, where the system can count them.
KEPT = 5000
#: Jobs in one call, where there is a call for many.
BULK = 500

#: Where a job comes from and goes to: the managed queue has fields for them, the others carry them beside the payload.
ROUTE = {
    "plugin_name": PLUGIN,
    "queue_name": QUEUE,
    "tenant_id": TENANT,
    "organization_id": ORGANIZATION,
    "scope_key": ORGANIZATION,
}

_RUN = f"{time.time_ns():x}"
_serial = itertools.count()


def payload(number: int, size: int) -> dict[str, Any]:
    """What the handler gets; with `size`, it holds a text of so many characters."""
    text = {"text": "x" * size} if size else {}
    return {"outboundLogId": f"9b2d3c4e-5f6a-4b7c-8d9e-{number:012d}", "number": number, **text}


def envelope(job: str, number: int, size: int) -> dict[str, Any]:
    """The payload and its route: about 350 bytes of JSON."""
    return {**ROUTE, "job_name": job, "payload": payload(number, size)}


def new_id() -> str:
    """An id as plugins make them: unique, and known before the call."""
    return f"outbound-{_RUN}-{next(_serial):08d}"
