"""The managed queue's handlers."""

from __future__ import annotations

import time
from typing import Any

from bench.jobs import HELD, NOOP, PLUGIN, QUEUE, STAMP, stamp
from xpert_mq import ManagedQueueJob, plugin_job_processor


@plugin_job_processor(plugin_name=PLUGIN, queue_name=QUEUE, job_name=NOOP)
def do_nothing(job: ManagedQueueJob[Any]) -> None:
    """What a job costs by itself."""


@plugin_job_processor(plugin_name=PLUGIN, queue_name=QUEUE, job_name=STAMP)
def note_start(job: ManagedQueueJob[Any]) -> None:
    """When it started."""
    stamp(job.data["number"])


@plugin_job_processor(plugin_name=PLUGIN, queue_name=QUEUE, job_name=HELD)
def wait_to_be_killed(job: ManagedQueueJob[Any]) -> None:
    """The first try notes its start and does not end by itself; the second one notes its own."""
    if job.data.get("held"):
        stamp(job.data["number"])
        return
    job.update_data({**job.data, "held": True})
    stamp(job.data["number"])
    time.sleep(600)
