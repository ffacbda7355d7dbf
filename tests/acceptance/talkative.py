"""A plugin whose handlers write logs in every way that they can, and a library that they call.

Each line names the job that wrote it, as `<id> says …`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from celery.utils.log import get_task_logger

from xpert_mq import Defer, JobContext, ManagedQueueJob, plugin_job_processor

PLUGIN = "@acme/talkative"
FORGED = "\n[2026-01-01 00:00:00,000: INFO/MainProcess] forged\r\x1b[2K\u2028"

library = logging.getLogger("vendor.library")
task_logger = get_task_logger(__name__)


def _say_all(job: ManagedQueueJob[Any]) -> None:
    library.info("%s says something", job.id)
    task_logger.info("%s says it as Celery's tasks do", job.id)
    print(f"{job.id} says it aloud")  # noqa: T201 - Celery takes it for a line
    library.warning("%s says more", job.id, extra={"tenant_id": "globex", "order": 7, "odd": {1, 2}})
    try:
        raise LookupError(f"{job.id} says{FORGED}")
    except LookupError:
        library.exception("%s says%s", job.id, FORGED)


def _end(job: ManagedQueueJob[Any]) -> None:
    if job.data == "fail" and job.attempts_made == 0:
        raise ValueError(f"{job.id} says no")
    if job.data == "long":
        time.sleep(2)
    if job.data == "defer":
        raise Defer(60_000)


@plugin_job_processor(plugin_name=PLUGIN, queue_name="sync", job_name="talk")
def talk(job: ManagedQueueJob[Any], context: JobContext) -> object:
    _say_all(job)
    _end(job)
    # Not JSON, which dispatch has to say.
    return object()


@plugin_job_processor(plugin_name=PLUGIN, queue_name="async", job_name="talk")
async def async_talk(job: ManagedQueueJob[Any], context: JobContext) -> object:
    await asyncio.sleep(0.01)
    _say_all(job)
    await asyncio.gather(asyncio.to_thread(library.info, "%s says it elsewhere", job.id), asyncio.sleep(0.01))
    _end(job)
    return object()
