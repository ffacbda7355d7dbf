import asyncio
import os

from bullmq import Queue

from . import world

RETENTION = {"age": 24 * 3600, "count": 100}


def redis_url():
    return os.environ["REDIS_URL"]


async def _add(tenant_id, export_id, kind):
    queue = Queue("canvas.artifact-export", {"connection": redis_url()})
    try:
        job = await queue.add(
            "render",
            {"exportId": export_id, "kind": kind},
            {"jobId": f"canvas-artifact-export-{export_id}", "removeOnComplete": RETENTION, "removeOnFail": RETENTION},
        )
        return job.id
    finally:
        await queue.close()


def order(tenant_id, export_id, kind):
    world.exports[export_id] = "queued"
    return asyncio.run(_add(tenant_id, export_id, kind))


def drop(tenant_id, export_id):
    """Whether it had not begun."""

    async def remove():
        queue = Queue("canvas.artifact-export", {"connection": redis_url()})
        removed = await queue.remove(f"canvas-artifact-export-{export_id}")
        await queue.close()
        return bool(removed)

    return asyncio.run(remove())
