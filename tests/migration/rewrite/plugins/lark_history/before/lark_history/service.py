import hashlib
from typing import Any

import bullmq
from bullmq.types import JobOptions

from .connection import redis_options
from .names import HISTORY_QUEUE, HistoryJob

MATERIALIZE_OPTIONS: JobOptions = {"attempts": 5, "backoff": {"type": "exponential", "delay": 40}}
CLEANUP_RETENTION = {"age": 3 * 24 * 3600, "count": 1000}

queue = bullmq.Queue(HISTORY_QUEUE, opts={"connection": redis_options(), "prefix": "lark"})


def job_key(*parts: Any) -> str:
    return hashlib.sha256("\x1f".join(map(str, parts)).encode()).hexdigest()[:32]


async def schedule_cleanup(tenant_id: str, integration: str, day: int, continuation: int = 0) -> None:
    await queue.add(
        HistoryJob.CLEANUP,
        {"integrationId": integration, "tenantId": tenant_id, "day": day, "continuation": continuation},
        {
            "jobId": f"cleanup_{job_key(integration, day, continuation)}",
            "delay": 80,
            "attempts": 5,
            "backoff": {"type": "exponential", "delay": 50},
            "removeOnComplete": CLEANUP_RETENTION,
        },
    )


async def materialize(tenant_id: str, message_ids: list, continuation: int = 0):
    await queue.addBulk(
        [
            {
                "name": HistoryJob.MATERIALIZE,
                "data": {"tenantId": tenant_id, "messageLogIds": [one], "continuation": continuation},
                "opts": {**MATERIALIZE_OPTIONS, "jobId": f"materialize_{job_key(tenant_id, one, continuation)}"},
            }
            for one in message_ids
        ]
    )
