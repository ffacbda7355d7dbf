import os
import re

from bullmq import Job, Queue, Worker
from pydantic import BaseModel

from . import world

queue = Queue("kling-video-generation", {"connection": os.environ["REDIS_URL"]})


class GenerateInput(BaseModel):
    tool_call_id: str
    tenant_id: str
    prompt: str


async def generate(request: GenerateInput):
    """The tool's call pays once, however often an agent repeats it."""
    job_id = "kling-" + re.sub(r"[^A-Za-z0-9_-]", "-", request.tool_call_id)
    await queue.add(
        "generate-video",
        {"input": request.model_dump(), "phase": "queued"},
        {
            "jobId": job_id,
            "attempts": 3,
            "backoff": {"type": "exponential", "delay": 40},
            "removeOnComplete": {"age": 24 * 3600, "count": 1000},
            "removeOnFail": {"age": 7 * 24 * 3600, "count": 1000},
        },
    )
    return job_id


async def save(job: Job, **fields):
    await job.updateData({**job.data, **fields})


async def process(job: Job, token: str):
    prompt = job.data["input"]["prompt"]
    if job.data["phase"] == "succeeded":
        return job.data["result"]
    if "request" not in job.data:
        request = await world.submit(prompt)
        await save(job, request=request, phase="submitted")
    if world.crashes.get(job.data["input"]["tool_call_id"], 0) > job.attemptsMade:
        raise ConnectionError(f"lost after {job.data['phase']}, {job.attemptsMade}")
    if await world.query(job.data["request"]) != "succeeded":
        raise RuntimeError("failed")
    await save(job, phase="succeeded", result={"url": f"/{prompt}.mp4"})
    world.effects.append(["made", prompt, job.attemptsMade])
    return job.data["result"]


async def wait_for(job_id: str, tenant_id: str):
    job = await queue.getJob(job_id)
    if job is None:
        return "not found"
    if job.returnvalue:
        return [job.name, job.data["phase"], job.returnvalue, job.attemptsMade]
    return job.failedReason


async def serve(stop):
    worker = Worker("kling-video-generation", process, {"connection": os.environ["REDIS_URL"], "concurrency": 4})
    await stop.wait()
    await worker.close()
    await queue.close()
