import asyncio

from bullmq import Worker

from .connection import redis_options
from .names import HISTORY_QUEUE
from .processor import process
from .service import queue


async def main(stop: asyncio.Event):
    worker = Worker(HISTORY_QUEUE, process, {"connection": redis_options(), "prefix": "lark"})
    await stop.wait()
    await asyncio.gather(worker.close(), queue.close())
