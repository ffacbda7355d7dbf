"""A plugin whose jobs wait for one another, or hold up the loop."""

from __future__ import annotations

import asyncio
import os
import threading
import time

from xpert_mq import ManagedQueueJob, plugin_job_processor

MODULE = "tests.acceptance.waiting"
PLUGIN = "acme"
SYNC_JOBS = 3

_met = 0
_all_met = asyncio.Event()
_barrier = threading.Barrier(SYNC_JOBS)


@plugin_job_processor(plugin_name=PLUGIN, queue_name="waiting", job_name="meet")
async def meet(job: ManagedQueueJob[int]) -> int:
    """Waits until so many of its kind run at a time in this process; gives the process' threads."""
    global _met
    _met += 1
    if _met == job.data:
        _all_met.set()
    await asyncio.wait_for(_all_met.wait(), 30)
    return threading.active_count()


@plugin_job_processor(plugin_name=PLUGIN, queue_name="waiting", job_name="meet-sync")
def meet_sync(job: ManagedQueueJob[None]) -> str:
    """Waits for two others; gives its thread's name."""
    _barrier.wait(30)
    return threading.current_thread().name


@plugin_job_processor(plugin_name=PLUGIN, queue_name="waiting", job_name="hog")
async def hog(job: ManagedQueueJob[float]) -> int:
    """Lets nothing else run on the loop."""
    time.sleep(job.data)  # noqa: ASYNC251 # that is the fault
    return os.getpid()


@plugin_job_processor(plugin_name=PLUGIN, queue_name="waiting", job_name="pid")
async def pid(job: ManagedQueueJob[None]) -> int:
    return os.getpid()


@plugin_job_processor(plugin_name=PLUGIN, queue_name="waiting", job_name="stop-iteration")
def stop(job: ManagedQueueJob[None]) -> None:
    """Raises what asyncio's futures can't carry."""
    raise StopIteration("no more")


@plugin_job_processor(plugin_name=PLUGIN, queue_name="waiting", job_name="astop-iteration")
async def astop(job: ManagedQueueJob[None]) -> None:
    await asyncio.sleep(0)
    raise asyncio.CancelledError("cancelled itself")
