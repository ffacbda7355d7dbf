"""`python -m bench.peers.producer MODULE`: enqueues by orders that come as lines, and says how long each took.

A peer's module has `add(job, number, size, delay_ms)` and, where its users have a call for many, `add_many(job,
numbers, size, delay_ms)`; both are coroutine functions where its users await them. `start`, if any, is awaited first.
The managed queue has the coroutine function `aadd` too. `settle`, if any, ends what a run of `add` left behind.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from bench.peers.work import BULK


@dataclass
class Order:
    """Jobs `first` to `first + count - 1`.

    Args:
        how: `single`, `bulk`, or `threads` or `tasks`: one by one in so many of them.
        size: characters of the payload's text.
        due: when each job is due, in seconds of time.time(), in place of `delay_ms`.
    """

    job: str
    count: int
    first: int = 0
    how: str = "single"
    side_by_side: int = 1
    size: int = 0
    delay_ms: int = 0
    due: list[float] = field(default_factory=list)
    #: When the jobs are due, as what they were enqueued with says.
    dues: list[float] = field(default_factory=list)

    def delay(self, number: int) -> int:
        """Milliseconds."""
        if not self.due:
            return self.delay_ms
        now = time.time()
        delay_ms = int((self.due[number] - now) * 1000)
        if delay_ms <= 0:
            raise AssertionError("enqueueing took longer than the delay: the machine is too busy")
        self.dues.append(now + delay_ms / 1000)
        return delay_ms

    def numbers(self) -> range:
        """Of all jobs."""
        return range(self.first, self.first + self.count)

    def batches(self) -> list[range]:
        """For a call that takes many."""
        numbers = self.numbers()
        return [numbers[start : start + BULK] for start in range(0, len(numbers), BULK)]

    def shares(self) -> list[range]:
        """One for each thread or task."""
        return [self.numbers()[place :: self.side_by_side] for place in range(self.side_by_side)]


def carry_out(side: Any, order: Order, runner: asyncio.Runner) -> dict[str, Any]:
    """Enqueues; gives the seconds that it took, the moment of its begin, and the jobs' due times."""
    started_at, started = time.time(), time.perf_counter()
    if inspect.iscoroutinefunction(side.add) or order.how == "tasks":
        runner.run(_add_async(side, order))
    else:
        _add(side, order)
    seconds = time.perf_counter() - started
    if hasattr(side, "settle"):
        side.settle()
    return {"seconds": seconds, "started": started_at, "dues": order.dues}


def _add(side: Any, order: Order) -> None:
    if order.how == "bulk" and hasattr(side, "add_many"):
        for numbers in order.batches():
            side.add_many(order.job, numbers, order.size, order.delay_ms)
    elif order.how == "threads":
        with ThreadPoolExecutor(order.side_by_side) as threads:
            for end in [threads.submit(_add_each, side, order, share) for share in order.shares()]:
                end.result()
    else:
        _add_each(side, order, order.numbers())


def _add_each(side: Any, order: Order, numbers: range) -> None:
    for number in numbers:
        side.add(order.job, number, order.size, order.delay(number))


async def _add_async(side: Any, order: Order) -> None:
    if order.how == "bulk" and hasattr(side, "add_many"):
        for numbers in order.batches():
            await side.add_many(order.job, numbers, order.size, order.delay_ms)
        return
    add = getattr(side, "aadd", side.add)

    async def add_each(numbers: range) -> None:
        for number in numbers:
            await add(order.job, number, order.size, order.delay(number))

    await asyncio.gather(*map(add_each, order.shares()))


def main() -> None:
    """Until the input ends."""
    side = importlib.import_module(f"bench.peers.{sys.argv[1]}")
    with asyncio.Runner() as runner:
        if hasattr(side, "start"):
            runner.run(side.start())
        for line in sys.stdin:
            print(json.dumps(carry_out(side, Order(**json.loads(line)), runner)), flush=True)


if __name__ == "__main__":
    main()
