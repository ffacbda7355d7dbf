import os
import time

from bullmq import DelayedError, Queue, Worker

from .world import answers, effects, tasks

NAME = "story-studio.video-generation"
connection = os.environ["REDIS_URL"]
videos = Queue(NAME, {"connection": connection, "defaultJobOptions": {"removeOnComplete": 500, "attempts": 1}})
POLLS = (30, 60, 90)


async def order(task_id, tenant_id, by="poll"):
    tasks[task_id] = {"status": "queued", "tenant_id": tenant_id, "sequence": 0, "by": by}
    await videos.add("submit", {"taskId": task_id}, {"jobId": f"story-video-submit-{task_id}"})


async def poll_later(task_id):
    task = tasks[task_id]
    sequence = task["sequence"]
    await videos.add(
        task["by"],
        {"taskId": task_id, "tenant_id": task["tenant_id"]},
        {"jobId": f"story-video-poll-{task_id}-{sequence}", "delay": POLLS[min(sequence, 2)]},
    )


async def process(job, token):
    task_id = job.data["taskId"]
    task = tasks[task_id]
    if task["status"] == "cancelled":
        return
    if job.name == "submit":
        if task["status"] != "queued":
            return
        task["status"] = "generating"
        effects.append(["ordered", task_id])
        await poll_later(task_id)
        return
    if job.name == "poll":
        answer = answers[task_id].pop(0)
        effects.append([answer, task_id, task["sequence"]])
        if answer == "running":
            task["sequence"] += 1
            await poll_later(task_id)
        else:
            task["status"] = answer
        return
    if job.name == "watch":
        answer = answers[task_id].pop(0)
        effects.append([answer, task_id, job.attemptsMade])
        if answer == "running":
            # The same job, later, with no attempt spent.
            await job.moveToDelayed(int(time.time() * 1000) + POLLS[0], token)
            raise DelayedError
        task["status"] = answer
        return
    raise ValueError(job.name)


async def serve(stop):
    worker = Worker(NAME, process, {"connection": connection, "concurrency": 8})
    await stop.wait()
    await worker.close()
    await videos.close()
