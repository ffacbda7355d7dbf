import asyncio
import logging

from bullmq import Worker

from .connection import REDIS_URL
from .outbound import process_send
from .queues import OUTBOUND, outbound_queue

logger = logging.getLogger(__name__)


async def main(stop: asyncio.Event) -> None:
    worker = Worker(OUTBOUND, process_send, {"connection": REDIS_URL, "concurrency": 1})
    worker.on("failed", lambda job, error: logger.warning("job %s failed: %s", job.id, error))
    try:
        await stop.wait()
    finally:
        await worker.close()
        await outbound_queue.close()
