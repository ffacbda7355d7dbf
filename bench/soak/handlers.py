"""The plugin: handlers that do what their job's payload says, and write down when they did."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import logging
import secrets
import time
from collections.abc import Iterator
from typing import Any

from celery.signals import task_postrun
from celery.states import FAILURE, RETRY, SUCCESS

from bench.soak.notes import STACKS_SIGNAL, ActionNotes, note, task_id_here
from bench.soak.plan import HANDLERS, PLUGIN, QUEUE
from xpert_mq import Defer, ManagedQueueJob, QueueUnavailableError, UnrecoverableError, registry

Job = ManagedQueueJob[Any]

# Of a node that does not end the log then says where it stands.
faulthandler.register(STACKS_SIGNAL, all_threads=True)
logging.getLogger("xpert_mq").addHandler(ActionNotes())

#: Seconds between two attempts to keep a checkpoint.
_PAUSE = 0.05


def work(job: Job) -> dict[str, str]:
    """A try of a sync handler."""
    with _noted(job) as run:
        for step in _steps(job, run):
            if isinstance(step, dict):
                _keep(job, run, step)
            else:
                time.sleep(step)
    return {"run": run}


async def work_async(job: Job) -> dict[str, str]:
    """A try of an async handler."""
    with _noted(job) as run:
        for step in _steps(job, run):
            if isinstance(step, dict):
                await _akeep(job, run, step)
            else:
                await asyncio.sleep(step)
    return {"run": run}


def _steps(job: Job, run: str) -> Iterator[float | dict[str, Any]]:
    """What a try does: seconds to let pass, and data to keep."""
    data = job.data
    hold = data["hold_ms"] / 1000
    while data["steps_done"] < data["steps"]:
        yield hold
        data = {**data, "steps_done": data["steps_done"] + 1}
        yield data
    yield hold
    if job.attempts_made < data["fails"]:
        raise RuntimeError(run)
    if data["fatal"]:
        raise UnrecoverableError(run)
    if data["deferred"] < data["defers"]:
        yield {**data, "deferred": data["deferred"] + 1}
        raise Defer(data["defer_ms"])


def _kept(data: dict[str, Any]) -> int:
    """The number of checkpoints until then."""
    return int(data["steps_done"] + data["deferred"])


def _keep(job: Job, run: str, data: dict[str, Any]) -> None:
    while True:
        try:
            job.update_data(data)
            break
        except QueueUnavailableError:
            time.sleep(_PAUSE)
    note("kept", run=run, kept=_kept(data))


async def _akeep(job: Job, run: str, data: dict[str, Any]) -> None:
    while True:
        try:
            await job.aupdate_data(data)
            break
        except QueueUnavailableError:
            await asyncio.sleep(_PAUSE)
    note("kept", run=run, kept=_kept(data))


@contextlib.contextmanager
def _noted(job: Job) -> Iterator[str]:
    """Writes down start and end of a try, under a name of its own."""
    run, how = secrets.token_hex(6), "cut"
    note("start", run=run, task_id=task_id_here(), made=job.attempts_made, kept=_kept(job.data), name=job.name)
    try:
        yield run
        how = "returned"
    except Defer:
        how = "deferred"
        raise
    except Exception:
        how = "raised"
        raise
    finally:
        note("end", run=run, how=how)


def _note_settled(task_id: str, state: str | None = None, **_: Any) -> None:
    """Dispatch has recorded the outcome, or has been refused."""
    if state in (SUCCESS, FAILURE, RETRY):
        note("settled", task_id=task_id)


task_postrun.connect(_note_settled, weak=False)

for _name, _limit in HANDLERS.items():
    registry.register(
        plugin_name=PLUGIN,
        queue_name=QUEUE,
        job_name=_name,
        handler=work_async if _name.endswith("async") else work,
        concurrency=_limit or None,
    )
