"""When each try began and ended: the demo's workers load this module, and it writes a line for every try.

It listens to Celery's own signals. A message that is stale by the time a worker has it makes no try, and no line.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import states
from celery.signals import task_postrun, task_prerun

#: Names the file.
VARIABLE = "DEMO_TRIES"


@dataclass(frozen=True, slots=True)
class Try:
    """One try of a job, as its worker saw it.

    Attributes:
        logical: plugin, queue and job name, with slashes between.
        began_ms, ended_ms: since 1970. At the end the outcome is recorded.
        began, ended: the same in seconds, by the clock of the service's log.
        again_ms: how long the job waits for its next try; None if this was the last.
        deferred: ended by `Defer`.
    """

    tenant: str
    job_id: str
    logical: str
    began_ms: float
    ended_ms: float
    began: float
    ended: float
    again_ms: float | None
    deferred: bool


def read_tries(path: Path) -> list[Try]:
    """All tries that have ended, in the order of their ends."""
    if not path.exists():
        return []
    # What follows the last line feed is still being written.
    return [Try(**json.loads(line)) for line in path.read_text().split("\n")[:-1]]


def _owner(task_id: str) -> tuple[str, str]:
    """Tenant and job id: a task id is `<tenant's length>:<tenant>:<job id>:<number>`. The demo's are ASCII."""
    length, _, rest = task_id.partition(":")
    tenant, rest = rest[: int(length)], rest[int(length) + 1 :]
    return tenant, rest.rpartition(":")[0]


def _begin(task: Any, **_: Any) -> None:
    task.request.demo_began = time.time() * 1000, time.monotonic()


def _end(task_id: str, task: Any, state: str, retval: Any, **_: Any) -> None:
    if state not in (states.SUCCESS, states.FAILURE, states.RETRY):
        return
    tenant, job_id = _owner(task_id)
    began_ms, began = task.request.demo_began
    comes_back = state == states.RETRY
    line = {
        "tenant": tenant,
        "job_id": job_id,
        "logical": task.request.shadow,
        "began_ms": began_ms,
        "ended_ms": time.time() * 1000,
        "began": began,
        "ended": time.monotonic(),
        "again_ms": retval.when * 1000 if comes_back else None,
        "deferred": comes_back and retval.exc is None,
    }
    # One write, at the end of the file whoever else writes: lines of several nodes don't mix.
    with open(os.environ[VARIABLE], "ab", buffering=0) as file:
        file.write(json.dumps(line).encode() + b"\n")


if VARIABLE in os.environ:
    task_prerun.connect(_begin)
    task_postrun.connect(_end)
