"""The plugin that the workers of the acceptance tests run.

Each job is registered twice: in the queue `sync` as a plain function, in `async` as a coroutine function. What a
handler wants to be known, it notes in Redis; where it has to wait for the test, it waits at a gate.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import asdict
from typing import Any

import redis

from tests.acceptance.plugin_errors import error_of
from xpert_mq import (
    Defer,
    JobContext,
    ManagedQueueJob,
    PluginContext,
    current_context,
    managed_queue,
    plugin_job_processor,
    registry,
    request_context,
)

Job = ManagedQueueJob[Any]
PLUGIN = "acme"

#: Seconds that a handler waits at a gate, at the most.
GATE_SECONDS = 30

left_behind: ContextVar[str | None] = ContextVar("left_behind", default=None)


def key(kind: str, name: str) -> str:
    return f"{managed_queue.settings.prefix}:{kind}:{name}"


def note(subject: str, **said: Any) -> int:
    """Adds a note with the server's time; gives how many there are."""
    # A connection of its own, so that what is noted tells nothing of the platform's client.
    with redis.Redis.from_url(managed_queue.settings.redis_url) as client:
        now: Any = client.time()
        count: Any = client.rpush(
            key("note", subject), json.dumps({"at": int(now[0]) * 1000 + int(now[1]) // 1000, **said})
        )
    return int(count)


def echo(job: Job, context: JobContext) -> Any:
    """All that the handler sees."""
    now = current_context()
    return {
        "id": job.id,
        "name": job.name,
        "data": job.data,
        "attempts_made": job.attempts_made,
        "attempts": job.opts.attempts,
        "context": asdict(context),
        "current": [now.tenant_id, now.organization_id, now.user_id, getattr(now.user, "name", None)],
    }


def fail(job: Job, context: JobContext) -> Any:
    """Raises the error `how` in its first `times` tries."""
    note(job.data.get("subject", job.id), event="start", id=job.id, attempts_made=job.attempts_made)
    if job.attempts_made < job.data["times"]:
        note(job.data.get("subject", job.id), event="end", id=job.id)
        raise error_of(job.data["how"])
    return job.attempts_made


def defer(job: Job, context: JobContext) -> Any:
    """Defers itself once."""
    if note(job.id, attempts_made=job.attempts_made) == 1:
        raise Defer(job.data)
    return job.attempts_made


def give(job: Job, context: JobContext) -> Any:
    """Returns something by its name, or the data itself."""
    values: dict[str, Any] = {
        "object": object(),
        "nan": float("nan"),
        "function": give,
        "large": "x" * 2_000_000,
        "set": {1},
        "key": {object(): 1},
    }
    return values.get(job.data, job.data) if isinstance(job.data, str) else job.data


def leak(job: Job, context: JobContext) -> Any:
    """Tells what earlier jobs left behind, leaves something itself, and fails if told to."""
    found = [left_behind.get(), current_context().tenant_id, current_context().user_id]
    note(job.data["subject"], found=found)
    left_behind.set(job.id)
    request_context(tenant_id="left", user="behind").__enter__()
    if job.data.get("how"):
        raise error_of(job.data["how"])


def client(job: Job, context: JobContext) -> Any:
    """Uses the platform's Redis, also where that blocks the event loop."""
    return managed_queue.get_redis().incr(key("count", job.data))


PAIRS: dict[str, Callable[[Job, JobContext], Any]] = {
    "echo": echo,
    "fail": fail,
    "defer": defer,
    "give": give,
    "leak": leak,
    "client": client,
}


def awaited(act: Callable[[Job, JobContext], Any]) -> Callable[[Job, JobContext], Awaitable[Any]]:
    async def handle(job: Job, context: JobContext) -> Any:
        await asyncio.sleep(0)
        return act(job, context)

    return handle


for name, act in PAIRS.items():
    registry.register(plugin_name=PLUGIN, queue_name="sync", job_name=name, handler=act)
    registry.register(plugin_name=PLUGIN, queue_name="async", job_name=name, handler=awaited(act))


@plugin_job_processor(plugin_name=PLUGIN, queue_name="sync", job_name="checkpoint")
def checkpoint(job: Job) -> Any:
    """Moves on by a step, and fails, until it has made three."""
    job.update_data({**job.data, "step": job.data["step"] + 1})
    if job.data["step"] < 3:
        raise ValueError(f"after step {job.data['step']}")
    return job.data


@plugin_job_processor(plugin_name=PLUGIN, queue_name="async", job_name="checkpoint")
async def async_checkpoint(job: Job) -> Any:
    await job.aupdate_data({**job.data, "step": job.data["step"] + 1})
    if job.data["step"] < 3:
        raise ValueError(f"after step {job.data['step']}")
    return job.data


@plugin_job_processor(plugin_name=PLUGIN, queue_name="sync", job_name="gate")
def gate(job: Job) -> str:
    """Waits until the test opens the gate."""
    note(job.data["gate"], id=job.id)
    for _ in range(GATE_SECONDS):
        if managed_queue.get_redis().blpop([key("gate", job.data["gate"])], 1):
            return "through"
    return "closed"


@plugin_job_processor(plugin_name=PLUGIN, queue_name="async", job_name="gate")
async def async_gate(job: Job) -> str:
    client = await managed_queue.aget_redis()
    await client.rpush(key("note", job.data["gate"]), json.dumps({"id": job.id}))
    for _ in range(GATE_SECONDS):
        if await client.blpop([key("gate", job.data["gate"])], 1):
            return "through"
    return "closed"


@plugin_job_processor(plugin_name=PLUGIN, queue_name="sync", job_name="sleep")
def sleep(job: Job) -> None:
    """Takes a while, and needs nothing for it."""
    time.sleep(job.data)


@plugin_job_processor(plugin_name=PLUGIN, queue_name="sync", job_name="die")
def die(job: Job) -> int:
    """Waits to be killed, so many times; then ends."""
    if note(job.data["gate"], id=job.id, pid=os.getpid()) <= job.data["times"]:
        time.sleep(GATE_SECONDS)
    return job.attempts_made


@plugin_job_processor(plugin_name=PLUGIN, queue_name="sync", job_name="hang")
def hang(job: Job) -> None:
    """Takes a while, and lets no other greenlet run."""
    from gevent import monkey

    monkey.get_original("time", "sleep")(job.data)


@plugin_job_processor(plugin_name=PLUGIN, queue_name="sync", job_name="own")
def own(job: Job) -> Any:
    """Cancels itself, enqueues its own id, and enqueues another job."""
    cancelled = managed_queue.cancel(job.id)
    same = managed_queue.enqueue(plugin_name=PLUGIN, queue_name="sync", job_name="own", job_id=job.id)
    nested = managed_queue.enqueue(plugin_name=PLUGIN, queue_name="sync", job_name="echo", payload="nested")
    return [cancelled.success, cancelled.reason, same.created, same.state, nested.job_id]


@plugin_job_processor(plugin_name=PLUGIN, queue_name="async", job_name="own")
async def async_own(job: Job) -> Any:
    cancelled = await managed_queue.acancel(job.id)
    same = await managed_queue.aenqueue(plugin_name=PLUGIN, queue_name="async", job_name="own", job_id=job.id)
    nested = await managed_queue.aenqueue(plugin_name=PLUGIN, queue_name="async", job_name="echo", payload="nested")
    return [cancelled.success, cancelled.reason, same.created, same.state, nested.job_id]


@plugin_job_processor(plugin_name=PLUGIN, queue_name="stacked", job_name="first")
@plugin_job_processor(plugin_name=PLUGIN, queue_name="stacked", job_name="second")
class Stacked:
    """One instance for several job names."""

    def __init__(self, context: PluginContext) -> None:
        self.plugin_context = context

    async def handle(self, job: Job) -> Any:
        return [job.name, self.plugin_context.plugin_name, id(self)]


@plugin_job_processor(pluginName=PLUGIN, queue="stacked", jobType="processed")
class Processed:
    """A class with `process`, and the other spellings."""

    def process(self, job: Job, context: JobContext) -> Any:
        return [job.name, context.queue_name]


class User:
    """A user as a framework has one."""

    def __init__(self, user_id: str, tenant_id: str | None) -> None:
        self.id = user_id
        self.name = f"{user_id} of {tenant_id}"


async def load_later(user_id: str, tenant_id: str | None) -> User | None:
    await asyncio.sleep(0)
    return User(user_id, tenant_id)


def load_user(user_id: str, tenant_id: str | None) -> Any:
    """Named by XPERT_MQ_USER_LOADER: `gone` is gone, and ids that begin with `later` are loaded by a coroutine."""
    if user_id == "gone":
        return None
    if user_id == "broken":
        raise LookupError("the user database is away")
    return load_later(user_id, tenant_id) if user_id.startswith("later") else User(user_id, tenant_id)
