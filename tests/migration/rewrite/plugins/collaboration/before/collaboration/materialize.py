import os
from typing import Optional

from bullmq import Queue, Worker

from . import world

_queue: Optional[Queue] = None


def get_queue() -> Queue:
    global _queue
    if _queue is None:
        _queue = Queue("collaboration", {"connection": os.environ["REDIS_URL"]})
    return _queue


async def changed(document_id, context, wait=0):
    """Many changes of one state make one job."""
    sequence = world.changes[document_id] // 3
    world.changes[document_id] += 1
    world.effects.append(["changed", document_id, context["tenantId"]])
    opts = {"jobId": f"materialize-{document_id}-{sequence}", "removeOnComplete": True, "attempts": 3, "backoff": 40}
    if wait:
        opts["delay"] = wait
    await get_queue().add("materialize", {"documentId": document_id, "sequence": sequence}, opts)


async def close():
    global _queue
    if _queue is not None:
        await _queue.close()
        _queue = None


async def materialize(job, token):
    if job.data["documentId"] == "d2" and job.attemptsMade == 0:
        raise OSError("disk")
    world.effects.append(["written", job.data["documentId"], job.data["sequence"]])


async def serve(stop):
    worker = Worker("collaboration", materialize, {"connection": os.environ["REDIS_URL"]})
    try:
        await stop.wait()
    finally:
        await worker.close()
        await close()
