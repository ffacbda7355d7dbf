"""The managed queue's handlers, with limits."""

from __future__ import annotations

import time
from typing import Any

from bench.jobs import NOOP, PLUGIN, QUEUE, SLOW, STAMP, stamp
from xpert_mq import ManagedQueueJob, plugin_job_processor

#: As many as a worker of any pool runs at a time here, so that none is ever parked.
NEVER_REACHED = 10
SLOW_SECONDS = 0.1


@plugin_job_processor(plugin_name=PLUGIN, queue_name=QUEUE, job_name=NOOP, concurrency=NEVER_REACHED)
def do_nothing(job: ManagedQueueJob[Any]) -> None:
    """What a job costs under a limit."""


@plugin_job_processor(plugin_name=PLUGIN, queue_name=QUEUE, job_name=STAMP)
def note_start(job: ManagedQueueJob[Any]) -> None:
    """When it started; under no limit."""
    stamp(job.data["number"])


@plugin_job_processor(plugin_name=PLUGIN, queue_name=QUEUE, job_name=SLOW, concurrency=1)
def take_time(job: ManagedQueueJob[Any]) -> None:
    """One at a time, so that the others are parked."""
    time.sleep(SLOW_SECONDS)
