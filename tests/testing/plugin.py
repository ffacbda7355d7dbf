"""Handlers for the tests: what they do is in the payload."""

from __future__ import annotations

import os
from typing import Any

from xpert_mq import Defer, ManagedQueueJob, UnrecoverableError, current_context, managed_queue, plugin_job_processor

JOB: dict[str, Any] = {"plugin_name": "acme", "queue_name": "mail", "job_name": "send"}
ASYNC_JOB: dict[str, Any] = {**JOB, "job_name": "send-async"}


def act(job: ManagedQueueJob[Any]) -> Any:
    """Fails `fail` times, defers `defer` times, else gives who calls."""
    data = job.data or {}
    if job.attempts_made < data.get("fail", 0):
        raise ValueError(f"try {job.attempts_made}")
    if data.get("broken"):
        raise UnrecoverableError("broken")
    if data.get("defer", 0):
        job.update_data({**data, "defer": data["defer"] - 1})
        raise Defer(data.get("defer_ms", 0))
    return {"tenant": current_context().tenant_id, "pid": os.getpid(), "attempts_made": job.attempts_made}


@plugin_job_processor(**JOB)
def send(job: ManagedQueueJob[Any]) -> Any:
    return act(job)


@plugin_job_processor(**ASYNC_JOB)
async def send_async(job: ManagedQueueJob[Any]) -> Any:
    client = await managed_queue.aget_redis()
    assert await client.ping()
    return act(job)
