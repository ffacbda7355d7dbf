"""Not run: mypy checks it. The decorator keeps types, and knows its keywords; each `type: ignore` must be needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, assert_type

from xpert_mq.handlers import HandlerRegistry, ManagedQueueJob, PluginJobProcessor, plugin_job_processor
from xpert_mq.models import JobContext, JobOptions
from xpert_mq.plugins import MANAGED_QUEUE_SERVICE_TOKEN, PluginContext
from xpert_mq.service import ManagedQueueService


class Message(TypedDict):
    text: str


@plugin_job_processor(plugin_name="p", queue_name="q", job_name="one")
@plugin_job_processor(pluginName="p", queueName="q", jobName="two", scopeKey="s", concurrency=1)
class Sender:
    def __init__(self, plugin_context: PluginContext) -> None:
        self.plugin_context = plugin_context

    async def handle(self, job: ManagedQueueJob[Message], context: JobContext) -> int:
        assert_type(job.data, Message)
        assert_type(job.opts, JobOptions)
        job.update_data({"text": "sent"})
        await job.aupdate_data({"text": "sent"})
        job.update_data({"words": "sent"})  # type: ignore[typeddict-unknown-key, typeddict-item]
        assert_type(context.tenant_id, str | None)
        return len(job.data["text"])


@PluginJobProcessor(plugin_name="p", queue="q", job_type="three")
def count(job: ManagedQueueJob[Message]) -> int:
    return len(job.data["text"])


@plugin_job_processor(plugin_name="p", queue_name="q", job_name="four")
async def shout(job: ManagedQueueJob[Message]) -> str:
    return job.data["text"].upper()


async def check_decorated_objects_keep_their_types(job: ManagedQueueJob[Message], context: JobContext) -> None:
    sender = Sender(PluginContext("p"))
    assert_type(sender, Sender)
    assert_type(await sender.handle(job, context), int)
    assert_type(count(job), int)
    assert_type(await shout(job), str)
    Sender()  # type: ignore[call-arg]
    count(job, context)  # type: ignore[call-arg]
    count("job")  # type: ignore[arg-type]


def check_keywords_are_known() -> None:
    plugin_job_processor(plugin_name="p", queue_name="q", jobname="five")  # type: ignore[call-arg]
    plugin_job_processor(plugin_name="p", queue_name="q", job_name=5)  # type: ignore[arg-type]
    plugin_job_processor(plugin_name="p", queue_name="q", job_name="five", concurrency="1")  # type: ignore[arg-type]
    plugin_job_processor(lambda job: job)(42)  # type: ignore[type-var]


def check_registry(registry: HandlerRegistry) -> None:
    unregister = registry.register(plugin_name="p", queue_name="q", job_name="six", handler=count)
    assert_type(unregister, Callable[[], None])
    assert_type(registry.register_processor(Sender(PluginContext("p"))), Callable[[], None])


def check_plugin_context(context: PluginContext) -> None:
    assert_type(context.resolve(MANAGED_QUEUE_SERVICE_TOKEN), ManagedQueueService)
