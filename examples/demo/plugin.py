"""The handlers of the demo, shaped after real plugins; what they would do outside is simulated.

Every handler notes that it started, in a Redis hash of its tenant, so that the demo can tell who ran how often.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from xpert_mq import (
    MANAGED_QUEUE_SERVICE_TOKEN,
    Defer,
    JobContext,
    ManagedQueueJob,
    PluginContext,
    UnrecoverableError,
    current_context,
    managed_queue,
    plugin_job_processor,
)

Job = ManagedQueueJob[dict[str, Any]]

WECHAT = ("@xpert-ai/plugin-community-wechat", "plugin_wechat_outbound", "plugin_wechat_send_text")
CUT = ("@xpert-ai/plugin-cut", "cut.analysis", "transcribe-media")
KLING = ("@xpert-ai/plugin-kling", "kling-video-generation", "generate-video")
STORY_SUBMIT = ("@xpert-ai/plugin-story-studio", "story-studio.video-generation", "submit")
STORY_POLL = ("@xpert-ai/plugin-story-studio", "story-studio.video-generation", "poll")
PRESENTATION = ("@xpert-ai/plugin-presentation-studio", "presentation-studio.export", "render")
LARK = ("@xpert-ai/plugin-lark", "lark-message-history", "cleanup-expired")

#: Milliseconds between two texts to one contact, and between two looks at a video of story-studio.
CONTACT_INTERVAL_MS = 60
POLL_INTERVAL_MS = 150


def tally_key(name: str) -> str:
    """The hash of the current tenant that counts, by job id, what `name` says."""
    return managed_queue.redis_key("tally", name, plugin_name="demo")


def count(name: str, job: Job) -> None:
    """Adds one to the job's count, after a look whether the tenant's context is the job's own."""
    if current_context().tenant_id != job.data["tenant"]:
        raise UnrecoverableError(f"job {job.id} of {job.data['tenant']} runs as {current_context().tenant_id}")
    managed_queue.get_redis().hincrby(tally_key(name), job.id, 1)


def done(job: Job, **what: Any) -> dict[str, Any]:
    """What a handler returns: the demo looks for the tenant in it."""
    return {"tenant": current_context().tenant_id, "job": job.id, **what}


@plugin_job_processor(plugin_name=WECHAT[0], queue_name=WECHAT[1], job_name=WECHAT[2])
class SendText:
    """Sends a text, but not too soon after the last one to the same contact: then it comes back later."""

    def __init__(self, context: PluginContext) -> None:
        self._queue = context.resolve(MANAGED_QUEUE_SERVICE_TOKEN)

    def handle(self, job: Job) -> dict[str, Any]:
        count("starts", job)
        redis = self._queue.get_redis()
        turn = self._queue.redis_key("next", "contact", job.data["contact"])
        if not redis.set(turn, job.id, px=CONTACT_INTERVAL_MS, nx=True):
            raise Defer(max(1, redis.pttl(turn)))
        time.sleep(0.005)
        return done(job, sent_to=job.data["contact"])


@plugin_job_processor(plugin_name=CUT[0], queue_name=CUT[1], job_name=CUT[2])
def transcribe(job: Job) -> dict[str, Any]:
    """Fails as many first tries as its payload says; a damaged file is not worth a second one."""
    count("starts", job)
    time.sleep(0.01)
    if job.data.get("damaged"):
        raise UnrecoverableError("the media file is damaged")
    if job.attempts_made < job.data["bad_tries"]:
        raise TimeoutError(f"speech service timed out in try {job.attempts_made + 1} of {job.opts.attempts}")
    return done(job, words=len(job.id))


@plugin_job_processor(plugin_name=KLING[0], queue_name=KLING[1], job_name=KLING[2])
class GenerateVideo:
    """Submits once, whatever happens later: each step is a checkpoint, and a retry goes on after the last one."""

    async def handle(self, job: Job, context: JobContext) -> dict[str, Any]:
        await asyncio.to_thread(count, "starts", job)
        if "provider_id" not in job.data:
            await asyncio.to_thread(count, "submissions", job)
            await job.aupdate_data({**job.data, "phase": "submitted", "provider_id": f"{context.tenant_id}-{job.id}"})
        await asyncio.sleep(0.03)
        if job.attempts_made == 0:
            raise ConnectionResetError("the provider closed the connection while it was asked")
        await job.aupdate_data({**job.data, "phase": "succeeded", "result": f"{job.data['provider_id']}.mp4"})
        return done(job, video=job.data["result"])


@plugin_job_processor(plugin_name=STORY_SUBMIT[0], queue_name=STORY_SUBMIT[1], job_name=STORY_SUBMIT[2])
@plugin_job_processor(plugin_name=STORY_POLL[0], queue_name=STORY_POLL[1], job_name=STORY_POLL[2])
class StoryVideo:
    """One job submits and enqueues another, which asks again and again and holds no worker in between."""

    async def handle(self, job: Job) -> dict[str, Any]:
        await asyncio.to_thread(count, "starts", job)
        return await (self._submit(job) if job.name == "submit" else self._poll(job))

    async def _submit(self, job: Job) -> dict[str, Any]:
        plugin, queue, name = STORY_POLL
        # Tenant, organization and user come from the context, which is this job's.
        poll = await managed_queue.aenqueue(
            plugin_name=plugin, queue_name=queue, job_name=name, job_id=job.data["poll_id"], payload=job.data
        )
        return done(job, poll=poll.job_id)

    async def _poll(self, job: Job) -> dict[str, Any]:
        left = job.data["polls"]
        if left:
            await job.aupdate_data({**job.data, "polls": left - 1})
            raise Defer(POLL_INTERVAL_MS)
        return done(job)


@plugin_job_processor(plugin_name=PRESENTATION[0], queue_name=PRESENTATION[1], job_name=PRESENTATION[2])
def render(job: Job) -> dict[str, Any]:
    """Renders an export, in the execution pool for browsers."""
    count("starts", job)
    time.sleep(0.02)
    return done(job, file=f"{job.id}.pdf")


@plugin_job_processor(plugin_name=LARK[0], queue_name=LARK[1], job_name=LARK[2])
def clean_up(job: Job) -> dict[str, Any]:
    """Scheduled for tomorrow in the demo, and cancelled long before."""
    count("starts", job)
    return done(job)
