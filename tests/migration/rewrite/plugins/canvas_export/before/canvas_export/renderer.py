import os

from bullmq import Job, Worker

from . import world


class Renderer:
    """Renders with what it was started with."""

    def __init__(self):
        self.scale = 2
        self.worker = None

    def start(self):
        self.worker = Worker(
            "canvas.artifact-export", self.process, {"connection": os.environ["REDIS_URL"], "concurrency": 2}
        )

    async def process(self, job: Job, token: str):
        export_id = job.data["exportId"]
        if world.exports.get(export_id) == "done":
            return
        if job.data["kind"] == "unknown":
            # Said in the row: the job itself is done.
            world.exports[export_id] = "failed"
            world.effects.append(["failed", export_id])
            return
        world.exports[export_id] = "done"
        world.effects.append(["rendered", export_id, job.data["kind"], self.scale])

    async def stop(self):
        if self.worker:
            await self.worker.close()
