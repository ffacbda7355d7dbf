"""Jobs per second: enqueueing, draining, and many handlers that wait."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from bench.jobs import NOOP, STAMP
from bench.node import Node, running
from bench.peers import work
from bench.peers.catalog import ACKNOWLEDGING, BULLMQ, CELERY, LPUSH, OURS, PYTHON
from bench.peers.peer import MANY, Peer
from bench.peers.rows import BASE, Bound, Row
from bench.peers.stand import Stand
from bench.systems import Pool

#: Whoever takes longer is left out.
_SECONDS = 120
_LARGE = 100_000
_THREADS = 10
_TASKS = 100
#: A group of waiting handlers is done within this.
_WAITED_SECONDS = 0.6


def enqueue(stand: Stand) -> list[Row]:
    """One producer. No worker runs."""
    peers = list(stand.peers.values())
    for peer in peers:
        peer.add_many(NOOP, 100)
        peer.order(NOOP, 100)
    single = stand.in_turn(peers, lambda peer: _enqueued(peer, stand.sizes.enqueued))
    bulk = stand.in_turn(
        [peer for peer in peers if peer.kind.many], lambda peer: _enqueued(peer, stand.sizes.bulk, how="bulk")
    )
    bounds = [Bound(0.9, (BULLMQ,)), Bound(1, ACKNOWLEDGING), Bound(0.8, (LPUSH,), is_aim=True)]
    many_bounds = [Bound(1.1, (BULLMQ,)), Bound(0.4, (LPUSH,), is_aim=True)]
    return [
        Row("enqueue, one by one", "jobs/s", single, bounds),
        Row(f"enqueue many, {work.BULK} a call", "jobs/s", bulk, many_bounds),
        *_side_by_side(stand),
    ]


def _side_by_side(stand: Stand) -> list[Row]:
    """Ours, from many threads and tasks of one process, beside itself from one."""
    rounds: dict[str, list[float]] = {"threads": [], "tasks": [], "single": []}
    for _ in range(stand.sizes.rounds):
        for how, many in (("single", 1), ("threads", _THREADS), ("tasks", _TASKS)):
            rounds[how].append(_enqueued(stand.ours, stand.sizes.enqueued, how=how, side_by_side=many))
    return [
        Row(
            f"enqueue, {what}; base: one thread",
            "jobs/s",
            {OURS: rounds[how], BASE: rounds["single"]},
            [Bound(1, (BASE,))],
        )
        for how, what in (("threads", f"{_THREADS} threads"), ("tasks", f"{_TASKS} tasks"))
    ]


def _enqueued(peer: Peer, count: int, **more: Any) -> float:
    peer.clear()
    rate = count / float(peer.order(NOOP, count, **more)["seconds"])
    peer.clear()
    return rate


def drain(stand: Stand) -> list[Row]:
    """Jobs that do nothing, and a worker that was held still while they were enqueued."""
    several = [Bound(2.7, (CELERY,)), Bound(1, PYTHON), Bound(0.4, (BULLMQ,), is_aim=True)]
    two = [Bound(2.2, (CELERY,)), Bound(1, ("dramatiq", "huey"), is_aim=True)]
    one = [Bound(2.2, (CELERY,)), Bound(1, PYTHON, is_aim=True), Bound(0.4, (BULLMQ,), is_aim=True)]
    return [
        _drained(stand, "drain, 1 process, 10 at a time", "threads", several),
        _drained(stand, "drain, 1 process, 1 at a time", "solo", one),
        _drained(stand, "drain, 2 processes", "prefork", two),
    ]


def _drained(stand: Stand, name: str, pool: Pool, bounds: list[Bound]) -> Row:
    with stand.nodes(stand.with_worker(pool), pool) as nodes:
        rates = stand.in_turn(list(nodes), lambda peer: drain_rate(nodes[peer], peer, stand.sizes.drained))
    return Row(name, "jobs/s", rates, bounds)


def drain_rate(node: Node, peer: Peer, count: int, job: str = NOOP, size: int = 0) -> float:
    """From the moment at which the worker may start until the last job has started and none waits or runs."""
    count = peer.part_of(count)
    with running(node):
        node.warm_up()
    if count > 1:
        peer.order(job, count - 1, how="bulk" if peer.kind.many else "single", size=size)
    peer.order(STAMP, 1, first=count - 1, size=size)
    with running(node):
        started = time.perf_counter()
        # The last one ends last, nearly: it tells where unfinished jobs can't be seen. Those that wait all tell.
        peer.stamps.wait_for(1 if job == NOOP else count, _SECONDS)
        finished = peer.wait_until_idle(_SECONDS)
    peer.stamps.clear()
    return count / (finished - started)


def waiting(stand: Stand) -> list[Row]:
    """Handlers that wait, all at once in one process; beside a program without a queue."""
    with stand.nodes(stand.with_worker("asyncio"), "asyncio") as nodes:
        seconds = stand.in_turn(list(nodes), lambda peer: _waited(nodes[peer], peer))
    figures = {**seconds, BASE: [asyncio.run(_program()) for _ in range(stand.sizes.rounds)]}
    name = f"{MANY} handlers that wait {work.WAIT_SECONDS * 1000:g} ms; base: asyncio alone"
    bounds = [Bound(_WAITED_SECONDS), Bound(1.25, (BASE,), is_aim=True)]
    return [Row(name, "s", figures, bounds, more_is_better=False)]


def _waited(node: Node, peer: Peer) -> float:
    return MANY / drain_rate(node, peer, MANY, job=work.WAIT)


async def _program() -> float:
    """Seconds for as many jobs, parsed and awaited."""
    jobs = [json.dumps(work.envelope(work.WAIT, number, 0)) for number in range(MANY)]

    async def handle(job: str) -> None:
        json.loads(job)
        await asyncio.sleep(work.WAIT_SECONDS)

    started = time.perf_counter()
    await asyncio.gather(*map(handle, jobs))
    return time.perf_counter() - started


def large(stand: Stand) -> list[Row]:
    """Payloads of 100 KB."""
    peers = stand.with_worker("threads")
    count = stand.sizes.large
    enqueued = stand.in_turn(peers, lambda peer: _enqueued(peer, peer.part_of(count), size=_LARGE))
    with stand.nodes(peers, "threads") as nodes:
        drained = stand.in_turn(peers, lambda peer: drain_rate(nodes[peer], peer, count, size=_LARGE))
    return [
        Row("100 KB payloads: enqueue", "jobs/s", enqueued, [Bound(1, (BULLMQ,))]),
        Row("100 KB payloads: drain", "jobs/s", drained, [Bound(1, (BULLMQ,))]),
    ]
