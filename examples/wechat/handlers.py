"""What the platform runs. A handler unpacks its job and leaves the work to a class that knows no jobs.

None of them sets `concurrency`: a slow service of one tenant would take the places of all. The locks see to it that a
contact gets one message at a time, and who has to wait holds no place.
"""

from __future__ import annotations

from typing import Any

from xpert_mq import MANAGED_QUEUE_SERVICE_TOKEN, ManagedQueueJob, PluginContext, plugin_job_processor

from . import keys
from .debounce import Debounce
from .rows import Rows
from .sending import Sending
from .settings import get_settings

Job = ManagedQueueJob[dict[str, Any]]


@plugin_job_processor(plugin_name=keys.PLUGIN, queue_name=keys.OUTBOUND_QUEUE, job_name=keys.SEND)
class SendMessage:
    """One try of an outbound message."""

    def __init__(self, context: PluginContext) -> None:
        self._sending = Sending(context.resolve(MANAGED_QUEUE_SERVICE_TOKEN), Rows(get_settings().database))

    def handle(self, job: Job) -> str:
        last_try = job.attempts_made + 1 >= job.opts.attempts
        return self._sending.run(job.data["row"], job.data["round"], last_try=last_try)


@plugin_job_processor(plugin_name=keys.PLUGIN, queue_name=keys.INBOUND_QUEUE, job_name=keys.AGGREGATE)
class AggregateInbound:
    """Adds an inbound message to its conversation's batch."""

    def __init__(self, context: PluginContext) -> None:
        self._debounce = Debounce(context.resolve(MANAGED_QUEUE_SERVICE_TOKEN), Rows(get_settings().database))

    async def handle(self, job: Job) -> str:
        return await self._debounce.aggregate(job.data["row"], job.data["round"])


@plugin_job_processor(plugin_name=keys.PLUGIN, queue_name=keys.INBOUND_QUEUE, job_name=keys.FLUSH)
class FlushInbound:
    """Dispatches a conversation's batch, unless a message has come since."""

    def __init__(self, context: PluginContext) -> None:
        self._debounce = Debounce(context.resolve(MANAGED_QUEUE_SERVICE_TOKEN), Rows(get_settings().database))

    async def handle(self, job: Job) -> str:
        return await self._debounce.flush(job.data["row"], job.data["batch"], job.data["version"])
