"""A plugin whose handlers have limits."""

from __future__ import annotations

import asyncio

from tests.acceptance import plugin
from xpert_mq import JobContext, ManagedQueueJob, plugin_job_processor

Job = ManagedQueueJob[object]


@plugin_job_processor(plugin_name="acme", queue_name="limited", job_name="one", concurrency=1)
@plugin_job_processor(plugin_name="acme", queue_name="limited", job_name="two", concurrency=2)
class Limited:
    """Notes its start and end."""

    async def handle(self, job: Job, context: JobContext) -> None:
        await asyncio.to_thread(plugin.note, context.job_name, event="start", id=job.id)
        await asyncio.sleep(0.05)
        await asyncio.to_thread(plugin.note, context.job_name, event="end", id=job.id)
