import logging
import os

from bullmq import Worker

from .jobs import EVOLUTION
from .steps import HANDLERS

logger = logging.getLogger(__name__)
CONCURRENCY = int(os.environ.get("EVOLUTION_CONCURRENCY", "1"))


async def process(job, token):
    logger.info("step %s of %s", job.name, job.data["release"])
    handler = HANDLERS[job.name]
    return await handler(job)


async def serve(stop):
    worker = Worker(EVOLUTION, process, {"connection": os.environ["REDIS_URL"], "concurrency": CONCURRENCY})
    await stop.wait()
    await worker.close()
