"""What the lifecycle costs: draining with and without it, and the server's time for its scripts."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

from bench.jobs import NOOP
from bench.node import Node, prepare, running
from bench.report import Line, at_least, at_most
from bench.stand import Stand
from bench.systems import Managed, Pool
from xpert_mq.store.connection import Call
from xpert_mq.store.keys import split_task_id
from xpert_mq.store.store import NodeInfo

_POOL: Pool = "threads"
#: The application whose workers don't beat.
_BARE = "bench.bare"
_LEAST_PERCENT = 95
_OTHER_NODES = 10
#: What each of them holds: fetched messages, half of them of jobs that it runs.
_HELD = 10
_STEP_MS = 5
#: Nodes and waiting jobs.
_SCALES = ((1, 0), (10, 0), (100, 0), (1, 100_000), (10, 100_000), (100, 100_000))
_CALLS = 20
#: Seconds that a worker runs before its rate counts: it was held still before.
_START_SECONDS = 1


class Crowd:
    """Nodes that exist in Redis alone: they beat when told to, and hold jobs and messages that they never end."""

    def __init__(self, system: Managed, count: int) -> None:
        self._system = system
        self._store = system.service.store
        self._run = system.service.executor.run
        self._queue = system.keys.queue
        self._info = NodeInfo([self._queue], [f"h:{number}" for number in range(20)], {"h:1": 1, "h:2": 5})
        self.names = [f"bench:{number}" for number in range(count)]
        self.beat()
        for name in self.names:
            self._hold(name)

    def beat(self) -> None:
        """Each says that it is alive."""
        for name in self.names:
            self._run(self.beat_of(name))

    def beat_of(self, name: str) -> Call[bool]:
        """One node's call."""
        return self._store.beat(name, self._info, fresh=True, gap_ms=1000)

    def _hold(self, name: str) -> None:
        values = {
            "nodes": self._store.keys.nodes,
            "node": name,
            "fresh": 0,
            "channel": "bench",
            "count": _HELD,
            "queues": json.dumps([self._queue]),
        }
        taken: list[Any] = self._run(Call(self._store.fetch_script, values, list))
        for raw in taken[1 : _HELD + 1 : 2]:
            token, generation = split_task_id(json.loads(raw)["headers"]["id"])
            self._run(self._store.claim(token, generation, self._queue, name))


def measure(stand: Stand) -> list[Line]:
    """Rates of three workers that take turns, each with a backlog and other nodes of its own; and their ratios."""
    systems = {
        "no heartbeats, no limits": stand.another(_BARE, {"XPERT_MQ_POOLS": "default"}),
        "heartbeats, recovery, sweep": stand.another(variables={"XPERT_MQ_POOLS": "default"}),
        "and limits": stand.another(variables={"XPERT_MQ_PLUGINS": "bench.limited"}),
    }
    with contextlib.ExitStack() as started:
        sides = [_Side(each, started.enter_context(Node(each, _POOL)), stand) for each in systems.values()]
        rounds = [_round(sides, number) for number in range(stand.sizes.rounds)]
    for system in systems.values():
        system.clear()
    return list(_lines(list(systems), rounds))


class _Side:
    """A worker with a backlog that never ends, and other nodes around it."""

    def __init__(self, system: Managed, node: Node, stand: Stand) -> None:
        self._system, self._node = system, node
        self._sizes = stand.sizes
        self._is_to_beat = system.application != _BARE
        prepare(node)
        self._fill()
        self._crowd = Crowd(self._system, _OTHER_NODES)

    def rate(self) -> float:
        """Jobs per second in one window."""
        self._fill()
        self._crowd.beat()
        beats = self._beats()
        with running(self._node):
            time.sleep(_START_SECONDS)
            started, before = time.perf_counter(), self._system.waiting()
            time.sleep(self._sizes.window)
            ended, after = time.perf_counter(), self._system.waiting()
        if not after:
            raise AssertionError("the backlog ran out")
        if (self._beats() != beats) != self._is_to_beat:
            raise AssertionError("the worker beat, or did not, against what is measured")
        return (before - after) / (ended - started)

    def _beats(self) -> Any:
        """The nodes, with the times of their last beats."""
        return self._system.client.zrange(self._system.service.store.keys.nodes, 0, -1, withscores=True)

    def _fill(self) -> None:
        self._system.add_many(NOOP, self._sizes.backlog - self._system.waiting())


def _round(sides: Sequence[_Side], number: int) -> list[float]:
    # In turn from the first and from the last, so that a machine that gets slower or quicker favours nobody.
    order = range(len(sides)) if number % 2 == 0 else reversed(range(len(sides)))
    rates = {place: sides[place].rate() for place in order}
    return [rates[place] for place in range(len(sides))]


def _lines(names: Sequence[str], rounds: Sequence[Sequence[float]]) -> Iterator[Line]:
    by_side = list(zip(*rounds, strict=True))
    for name, rates in zip(names, by_side, strict=True):
        yield Line(f"drain of a backlog: {name}", "jobs/s", rates, more_is_better=True)
    for name, rates in zip(names[1:], by_side[1:], strict=True):
        shares = [100 * rate / bare for rate, bare in zip(rates, by_side[0], strict=True)]
        yield Line(f"of the rate without: {name}", "%", shares, target=at_least(_LEAST_PERCENT), more_is_better=True)


def measure_scripts(stand: Stand) -> list[Line]:
    """The server's time for one call, by the number of nodes and of waiting jobs."""
    system = stand.another()
    lines: list[Line] = []
    for nodes, waiting in _SCALES:
        system.clear()
        system.add_many(NOOP, waiting + nodes * _HELD)
        what = f"{nodes} nodes, {waiting} waiting"
        for name, call in _calls(system, Crowd(system, nodes)).items():
            times = [_server_ms(system, call) for _ in range(stand.sizes.rounds)]
            lines.append(Line(f"{name} on the server, {what}", "ms", times, target=at_most(_STEP_MS)))
    system.clear()
    return lines


def _calls(system: Managed, crowd: Crowd) -> dict[str, Call[Any]]:
    store, node = system.service.store, crowd.names[0]
    # As if it had beaten for long: else it would not look after the others.
    system.client.hset(f"{store.keys.node}{node}", "steady", 0)
    return {
        "beat": crowd.beat_of(node),
        "recover": store.recover(node, 600_000, 1, 250),
        "sweep": store.sweep(system.keys.queue, 250),
        "running": store.running(node),
    }


def _server_ms(system: Managed, call: Call[Any]) -> float:
    """Of the quickest of some calls: they all do the same, and what makes one longer is the machine."""
    client = system.client
    client.config_set("slowlog-log-slower-than", 0)
    client.slowlog_reset()
    for _ in range(_CALLS):
        system.service.executor.run(call)
    client.config_set("slowlog-log-slower-than", -1)
    entries = client.slowlog_get(10 * _CALLS)
    times: list[int] = [entry["duration"] for entry in entries if entry["command"].startswith(b"EVALSHA")]
    return min(times) / 1000
