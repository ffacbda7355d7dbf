import os

from bullmq import Queue

QUEUES = {"evolution": "agent-evolution"}
EVOLUTION = QUEUES["evolution"]
evolution_queue = Queue(EVOLUTION, {"connection": os.environ["REDIS_URL"]})


async def release(tenant_id, name, steps):
    jobs = []
    for number, step in enumerate(steps):
        data = {"release": name, "number": number}
        jobs.append(
            {"name": step, "data": data, "opts": {"attempts": 3, "backoff": 50, "jobId": f"EVOJOB-{name}-{step}"}}
        )
    added = await evolution_queue.addBulk(jobs)
    return [job.id for job in added]


async def outcome(tenant_id, job_id):
    job = await evolution_queue.getJob(job_id)
    return [job.attemptsMade, job.failedReason] if job else None
