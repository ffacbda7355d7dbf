"""The managed queue's handlers."""

from __future__ import annotations

from typing import Any

from bench.jobs import NOOP, PLUGIN, QUEUE, STAMP, stamp
from xpert_mq import ManagedQueueJob, plugin_job_processor


@plugin_job_processor(plugin_name=PLUGIN, queue_name=QUEUE, job_name=NOOP)
def do_nothing(job: ManagedQueueJob[Any]) -> None:
    """What a job costs by itself."""


@plugin_job_processor(plugin_name=PLUGIN, queue_name=QUEUE, job_name=STAMP)
def note_start(job: ManagedQueueJob[Any]) -> None:
    """When it started."""
    stamp(job.data["number"])
