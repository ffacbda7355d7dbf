"""A plugin whose jobs keep a diary in a file, and what a test reads in it: when each try ran, Redis or no Redis.

A worker may be told, too, to let its main process stand still.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

from celery.worker.control import control_command

from tests.acceptance.deployment import Deployment
from xpert_mq import ManagedQueueJob, managed_queue, plugin_job_processor

MODULE = "tests.acceptance.diary"
PLUGIN = "acme"
BETWEEN_LINES = 0.05

#: The job that a worker adds when it stops to look for jobs.
FETCHED = "fetched"

#: Seconds that a job works when it is run again, at the most: nobody waits for that.
AGAIN = 0.2

#: What a worker's log says before it does.
STANDS_STILL = "the loop stands still"

#: In the working directory of the workers.
_FILE = "diary"

Job = ManagedQueueJob[float]


def _has_run(job_id: str) -> bool:
    path = Path(_FILE)
    return path.exists() and f'"id": {json.dumps(job_id)}' in path.read_text()


def _pauses(job: Job) -> Iterator[float]:
    """Writes a line now and after every pause, for so many seconds as the job's data says."""
    started = time.monotonic()
    seconds = min(job.data, AGAIN) if _has_run(job.id) else job.data
    said = {"id": job.id, "try": f"{os.getpid()}:{started}", "pid": os.getpid()}
    with open(_FILE, "a") as diary:

        def write(**more: Any) -> None:
            # In one piece: others write, too.
            diary.write(json.dumps({**said, "at": time.monotonic(), **more}) + "\n")
            diary.flush()

        write()
        while (left := started + seconds - time.monotonic()) > 0:
            yield min(left, BETWEEN_LINES)
            write()
        write(ended=True)


@plugin_job_processor(plugin_name=PLUGIN, queue_name="sync", job_name="work")
def work(job: Job) -> None:
    for pause in _pauses(job):
        time.sleep(pause)


@plugin_job_processor(plugin_name=PLUGIN, queue_name="async", job_name="work")
async def async_work(job: Job) -> None:
    for pause in _pauses(job):
        await asyncio.sleep(pause)


def _add_one() -> None:
    # From here, since the fetch under way, which gets it, waits no longer than a second.
    managed_queue.enqueue(plugin_name=PLUGIN, queue_name="sync", job_name="work", job_id=FETCHED, payload=0)


@plugin_job_processor(plugin_name=PLUGIN, queue_name="sync", job_name="hang")
def hang(job: Job) -> None:
    """Adds a job, and lets no other greenlet run meanwhile."""
    from gevent import monkey

    _add_one()
    for pause in _pauses(job):
        monkey.get_original("time", "sleep")(pause)


@control_command(args=[("seconds", float)])  # type: ignore[untyped-decorator] # has no types
def stand_still(state: Any, seconds: float) -> None:
    """Adds a job, and keeps the consumer's loop from running."""
    _add_one()
    logging.getLogger(__name__).info(STANDS_STILL)
    time.sleep(seconds)


@dataclass
class Try:
    """One try of a job; times by the clock that does not jump, which all processes share."""

    pid: int
    first: float
    last: float
    ended: bool = False


class Diary:
    """What the jobs of a deployment have written until now."""

    def __init__(self, tries: dict[str, list[Try]]) -> None:
        self._tries = tries

    @classmethod
    def of(cls, deployment: Deployment) -> Self:
        path = Path(deployment.folder, _FILE)
        found: dict[str, dict[str, Try]] = defaultdict(dict)
        for text in path.read_text().splitlines(keepends=True) if path.exists() else ():
            if text.endswith("\n"):
                line = json.loads(text)
                one = found[line["id"]].setdefault(line["try"], Try(line["pid"], line["at"], line["at"]))
                one.last, one.ended = line["at"], "ended" in line
        return cls({job: sorted(tries.values(), key=lambda one: one.first) for job, tries in found.items()})

    def tries(self, job_id: str) -> list[Try]:
        """Of the job, in the order of their starts."""
        return self._tries.get(job_id, [])

    def overlapping(self) -> list[str]:
        """Jobs that ran twice at a time."""
        return [
            job_id
            for job_id, tries in self._tries.items()
            if any(later.first < earlier.last for earlier, later in pairwise(tries))
        ]
