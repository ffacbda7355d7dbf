"""Plays all scenarios with the plugins as they were, on real BullMQ, and prints what they did as JSON.

python -m tests.migration.rewrite.play_before redis://127.0.0.1:6379/9
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from urllib.parse import urlsplit

from redis.asyncio import Redis

from .stages import PLUGINS, BullStage, names, scenario_of


async def _play(name: str, redis: Redis) -> object:
    sys.path.insert(0, str(PLUGINS / name / "before"))
    scenario = scenario_of(name)
    stage = BullStage(redis, scenario.QUEUES)
    await scenario.start(stage)
    return await scenario.play(stage)


async def _main(url: str) -> None:
    redis = Redis.from_url(url, decode_responses=True)
    await redis.flushdb()
    outcomes = await asyncio.gather(*(_play(name, redis) for name in names()))
    sys.stdout.write(json.dumps(dict(zip(names(), outcomes, strict=True))))
    sys.stdout.flush()
    os._exit(0)  # a worker of bullmq that is idle does not always notice that it is to close


if __name__ == "__main__":
    server = urlsplit(sys.argv[1])
    os.environ.update(REDIS_URL=sys.argv[1], REDIS_HOST=str(server.hostname), REDIS_PORT=str(server.port))
    asyncio.run(_main(sys.argv[1]))
