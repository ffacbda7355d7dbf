"""Two stages for one play: a plugin as it was, on BullMQ, and as it has been rewritten, on the managed queue."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from redis.asyncio import Redis

from xpert_mq.testing import QueueKit

PLUGINS = Path(__file__).parent / "plugins"
TENANT = "acme"
_LONGEST_SECONDS = 15
_STEP_MS = 25


def names() -> list[str]:
    """The plugins that there are."""
    return sorted(folder.name for folder in PLUGINS.iterdir() if (folder / "scenario.py").exists())


def scenario_of(name: str) -> ModuleType:
    """A plugin's scenario, imported; the plugin itself must be importable."""
    spec = importlib.util.spec_from_file_location(f"scenario_{name}", PLUGINS / name / "scenario.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Stage:
    """What a scenario is given."""

    is_managed = False

    async def call(self, function: Callable[..., Awaitable[Any]], *arguments: Any, **more: Any) -> Any:
        """Calls a function of the plugin, which may have got a parameter for the tenant."""
        if "tenant_id" in inspect.signature(function).parameters:
            more.setdefault("tenant_id", TENANT)
        return await function(*arguments, **more)

    async def settle(self) -> None:
        """Returns when no job is left that has not ended."""
        raise NotImplementedError


class BullStage(Stage):
    """Workers of bullmq in this event loop.

    Args:
        queues: the beginnings of the queues' keys.
    """

    def __init__(self, redis: Redis, queues: Sequence[str]) -> None:
        self.stop = asyncio.Event()
        self.closing: list[Any] = []
        self._redis = redis
        self._queues = queues
        self._tasks: list[asyncio.Task[Any]] = []

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Runs what serves until `stop`."""
        self._tasks.append(asyncio.create_task(coroutine))

    async def settle(self) -> None:
        async with asyncio.timeout(_LONGEST_SECONDS):
            while await self._left():  # noqa: ASYNC110 - Redis tells nobody
                await asyncio.sleep(0.01)

    async def _left(self) -> int:
        pipeline = self._redis.pipeline()
        for queue in self._queues:
            pipeline.llen(f"{queue}:wait")
            pipeline.llen(f"{queue}:active")
            pipeline.zcard(f"{queue}:delayed")
        return sum(await pipeline.execute())


class ManagedStage(Stage):
    """The testing kit."""

    is_managed = True

    def __init__(self, kit: QueueKit) -> None:
        self._kit = kit

    async def settle(self) -> None:
        await self._kit.arun_jobs()
        while self._kit.enqueued.all(state="delayed"):
            self._kit.advance(_STEP_MS)
            await self._kit.arun_jobs()
