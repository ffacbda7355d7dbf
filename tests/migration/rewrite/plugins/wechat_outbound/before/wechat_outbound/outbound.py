import uuid

from bullmq import Job

from .queues import outbound_queue
from .world import Row, effects, rows, send

RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


async def enqueue(row: Row, delay: int = 0, turn: int = 0) -> str:
    """Every turn of a message has an id of its own."""
    rows[row.id] = row
    job = await outbound_queue.add(
        "plugin_wechat_send_text",
        {"outboundLogId": row.id, "turn": turn},  # ids alone
        {
            "jobId": f"outbound-{row.id}-{turn}",
            "delay": delay,
            "attempts": 3,
            "backoff": {"type": "fixed", "delay": 60},
        },
    )
    return job.id


async def process_send(job: Job, token: str):
    row = rows[job.data["outboundLogId"]]
    if row.status in ("sent", "cancelled"):
        return
    redis = outbound_queue.client
    key = f"plugin_wechat:{row.tenant_id}:lock:{row.account}"
    mine = uuid.uuid4().hex
    if await redis.set(f"plugin_wechat:{row.tenant_id}:next:{row.id}", "1", nx=True, px=60_000) and row.text == "late":
        row.status = "deferred"
        effects.append(["deferred", row.id])
        await enqueue(row, delay=100, turn=job.data["turn"] + 1)
        return
    await redis.set(key, mine, nx=True, px=30_000)
    try:
        send(row)
        row.status = "sent"
    except ConnectionError as error:
        last = job.attemptsMade + 1 >= job.opts.get("attempts", 1)
        row.status = "failed" if last else "deferred"
        effects.append([row.status, row.id, str(error), job.attemptsMade])
        raise
    finally:
        effects.append(["released", row.id, await redis.eval(RELEASE, 1, key, mine)])


async def cancel(row: Row, job_id: str) -> None:
    job = await outbound_queue.getJob(job_id)
    if job is not None:
        await job.remove()
        row.status = "cancelled"
        effects.append(["cancelled", row.id])
