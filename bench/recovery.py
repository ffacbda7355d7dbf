"""What was running when a process died: how long until it runs again, with the default settings."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence

from bench.jobs import HELD, STAMP
from bench.node import Node, freeze
from bench.report import Line, at_most
from bench.stand import Stand
from bench.statistic import percentile
from bench.systems import CONCURRENCY, Managed, Pool

_CHILD_SECONDS = 10
_NODE_SECONDS = 45
#: Defaults: of the node, and between two looks of the pool after its children.
_BEAT_SECONDS = 5
_NODE_TIMEOUT_SECONDS = 30
_LOOK_SECONDS = 5
_POOL: Pool = "prefork"
#: Of a node that is killed: it holds as many again as it runs. By default it would fetch none ahead.
_AHEAD = ("--prefetch-multiplier", "2")
_HELD = CONCURRENCY[_POOL]
#: Numbers of the jobs that are only fetched begin here.
_FETCHED = 1000
_LONGEST_SECONDS = 90


def measure(stand: Stand) -> list[Line]:
    """Kills children, and whole nodes."""
    return [*_children(stand), *_nodes(stand)]


def _children(stand: Stand) -> list[Line]:
    stand.clear()
    with Node(stand.ours, _POOL) as node:
        node.warm_up()
        rounds = [_killed_children(stand.ours, stand.sizes.killed) for _ in range(stand.sizes.rounds)]
    return _lines("job of a killed child starts again", rounds, _CHILD_SECONDS)


def _killed_children(system: Managed, count: int) -> list[float]:
    """Seconds until each job starts again; one child after the other."""
    return [_killed_child(system, _LOOK_SECONDS * number / count) for number in range(count)]


def _killed_child(system: Managed, pause: float) -> float:
    system.stamps.clear()
    system.add(HELD, 0)
    system.stamps.wait_for(1)
    # The one before it was found at a look of the pool; this one is not to be killed right after it, too.
    time.sleep(pause)
    os.kill(system.stamps.read()[0].pid, signal.SIGKILL)
    killed = time.time()
    system.stamps.wait_for(2)
    system.wait_until_idle()
    return system.stamps.read()[1].started - killed


def _nodes(stand: Stand) -> list[Line]:
    ours = stand.ours
    stand.clear()
    with Node(ours, "threads") as survivor:
        survivor.warm_up()
        # Before that it may not call others dead.
        time.sleep(_NODE_TIMEOUT_SECONDS + _BEAT_SECONDS)
        rounds = [_killed_nodes(ours, survivor, stand.sizes.killed) for _ in range(stand.sizes.rounds)]
    running, fetched = zip(*rounds, strict=True)
    return [
        *_lines("job of a killed node starts again", running, _NODE_SECONDS),
        *_lines("job fetched by a killed node starts", fetched, _NODE_SECONDS),
    ]


def _killed_nodes(system: Managed, survivor: Node, count: int) -> tuple[list[float], list[float]]:
    """Seconds until the running jobs and the fetched ones start elsewhere, of nodes that are killed together."""
    system.stamps.clear()
    with contextlib.ExitStack() as started:
        for number in range(count):
            started.enter_context(Node(system, _POOL, *_AHEAD))
            while system.nodes() < number + 2:
                time.sleep(0.05)
            _fill(system, survivor, number)
            # So that they beat at different times.
            time.sleep(_BEAT_SECONDS / count)
    killed = time.time()
    system.stamps.wait_for(3 * count * _HELD, _LONGEST_SECONDS)
    system.wait_until_idle()
    stamps = [stamp for stamp in system.stamps.read() if stamp.started > killed]
    running = [stamp.started - killed for stamp in stamps if stamp.number < _FETCHED]
    return running, [stamp.started - killed for stamp in stamps if stamp.number >= _FETCHED]


def _fill(system: Managed, survivor: Node, number: int) -> None:
    """Gives the newest node as many jobs as it runs, and as many again that it only fetches. The others are full."""
    freeze(survivor)
    for job, first in ((HELD, 0), (STAMP, _FETCHED)):
        for place in range(_HELD):
            system.add(job, first + number * _HELD + place)
    system.stamps.wait_for((number + 1) * _HELD)
    while system.queued():
        time.sleep(0.001)
    survivor.signal(signal.SIGCONT)


def _lines(what: str, rounds: Sequence[Sequence[float]], bound: float) -> list[Line]:
    return [
        Line(f"{what}: p50", "s", [percentile(seconds, 50) for seconds in rounds]),
        Line(f"{what}: slowest of {len(rounds[0])}", "s", [max(seconds) for seconds in rounds], target=at_most(bound)),
    ]
