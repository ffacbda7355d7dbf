import asyncio
import os

from bullmq import Job, Queue, UnrecoverableError, Worker

from .world import AnalysisRow, effects, rows

TRANSCRIBE = "transcribe-media"


class AnalysisService:
    def __init__(self, queue: Queue, limit: int = 2):
        self.queue = queue
        self.limit = limit

    async def order(self, row: AnalysisRow):
        """The row's id is the job's, too."""
        rows[row.id] = row
        row.status = "queued"
        options = {"jobId": row.id, "attempts": 3, "backoff": {"type": "exponential", "delay": 30}}
        if row.media == "slow":
            options["delay"] = 3_000
        options["removeOnFail"] = {"age": 3600}
        await self.queue.add(TRANSCRIBE, {"jobId": row.id}, options)

    async def look(self, row: AnalysisRow):
        """What the queue says, where the row does not know."""
        job = await self.queue.getJob(row.id)
        if job is None:
            return [row.status, "gone"]
        if await job.isFailed():
            row.status, row.error = "failed", job.failedReason
        return [row.status, await job.getState(), row.error, job.attemptsMade]

    async def stop(self, row: AnalysisRow) -> bool:
        job = await Job.fromId(self.queue, row.id)
        if not job:
            return False
        try:
            await job.remove()
        except Exception:
            return False
        row.status = "cancelled"
        return True


async def transcribe(job: Job, token: str):
    row = rows[job.data["jobId"]]
    effects.append(["try", row.media, job.attemptsMade])
    if row.media == "broken":
        raise UnrecoverableError("no audio")
    if row.media == "shaky" and job.attemptsMade < 2:
        row.status = "queued"
        raise TimeoutError("no answer")
    row.status = "succeeded"
    return {"text": f"words of {row.media}"}


def create_queue() -> Queue:
    return Queue("cut.analysis", {"connection": os.environ["REDIS_URL"]})


service = AnalysisService(create_queue(), limit=1)


async def serve(stop: asyncio.Event) -> None:
    worker = Worker("cut.analysis", transcribe, {"connection": os.environ["REDIS_URL"], "concurrency": 2})
    await stop.wait()
    await worker.close()
    await service.queue.close()
