"""What the test plugin has besides, for the tests of a job's life."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

from tests.acceptance.plugin import PLUGIN, Job, awaited, gate, key, note
from xpert_mq import Defer, JobContext, UnrecoverableError, managed_queue, plugin_job_processor, registry


class NeverAgainError(UnrecoverableError):
    """A plugin's own."""


class EndedError(BaseException):
    """No Exception."""


ERRORS: dict[str, Callable[[], BaseException]] = {
    "exit": lambda: SystemExit(1),
    "interrupt": KeyboardInterrupt,
    "generator": GeneratorExit,
    "own": lambda: EndedError("ended"),
    "unrecoverable": lambda: NeverAgainError("never"),
}


def end(job: Job, context: JobContext) -> int:
    """Raises the error `how` in its first `times` tries."""
    if job.attempts_made < job.data["times"]:
        raise ERRORS[job.data["how"]]()
    return job.attempts_made


def long(job: Job, context: JobContext) -> None:
    """Fails its first try, after a while."""
    note(job.id, event="start")
    if job.attempts_made == 0:
        time.sleep(job.data)
        note(job.id, event="end")
        raise ValueError("went wrong")


def tick(job: Job, context: JobContext) -> None:
    """Tells quickly that it ran."""
    managed_queue.get_redis().rpush(key("ran", job.data["subject"]), job.data["number"])


def step(job: Job) -> tuple[Any, str]:
    """The data with the next step taken, and what that is."""
    what, *rest = job.data["plan"]
    seen = [*job.data["seen"], [what, job.attempts_made]]
    return {"plan": rest, "seen": seen}, what


def take(job: Job, what: str) -> Any:
    if what == "defer":
        raise Defer(1)
    if what == "fail":
        raise ValueError("a step failed")
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return job.data["seen"]


def steps(job: Job, context: JobContext) -> Any:
    """Notes the next step of its plan as a checkpoint, and takes it."""
    data, what = step(job)
    job.update_data(data)
    return take(job, what)


async def async_steps(job: Job, context: JobContext) -> Any:
    data, what = step(job)
    await job.aupdate_data(data)
    return take(job, what)


def pause(job: Job, context: JobContext) -> str:
    """Redis takes no writes for so many milliseconds, this try's outcome among them."""
    managed_queue.get_redis().execute_command("CLIENT", "PAUSE", job.data, "WRITE")
    return "paused"


def late(job: Job, context: JobContext) -> str:
    """Makes a checkpoint when the gate has opened, and goes on if that is refused."""
    gate(job)
    try:
        job.update_data({**job.data, "late": True})
    except Exception as error:  # noqa: BLE001 - told to the test
        note("refused", error=type(error).__name__, text=str(error))
    return "late"


async def async_wait(job: Job, context: JobContext) -> None:
    """Takes a while on the event loop, and tells how that ended."""
    note(job.id, event="start", attempts_made=job.attempts_made)
    try:
        await asyncio.sleep(job.data)
    except BaseException as error:
        note(job.id, event=type(error).__name__)
        raise


def wait(job: Job, context: JobContext) -> None:
    note(job.id, event="start", attempts_made=job.attempts_made)
    try:
        time.sleep(job.data)
    except BaseException as error:
        note(job.id, event=type(error).__name__)
        raise


HANDLERS: dict[str, tuple[Callable[[Job, JobContext], Any], Callable[[Job, JobContext], Awaitable[Any]]]] = {
    "end": (end, awaited(end)),
    "long": (long, awaited(long)),
    "tick": (tick, awaited(tick)),
    "steps": (steps, async_steps),
    "wait": (wait, async_wait),
    "late": (late, awaited(late)),
    "pause": (pause, awaited(pause)),
}

for name, (act, async_act) in HANDLERS.items():
    registry.register(plugin_name=PLUGIN, queue_name="sync", job_name=name, handler=act)
    registry.register(plugin_name=PLUGIN, queue_name="async", job_name=name, handler=async_act)


@plugin_job_processor(plugin_name=PLUGIN, queue_name="narrow", job_name="gate", concurrency=1)
def narrow_gate(job: Job) -> str:
    """One at a time waits until the test opens the gate."""
    return gate(job)
