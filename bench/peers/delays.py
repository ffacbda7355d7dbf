"""How long a job waits for an idle worker, and after it was due; and what a delayed one takes on the server."""

from __future__ import annotations

import time

from bench.jobs import NOOP, STAMP
from bench.node import Node, running
from bench.peers.catalog import BULLMQ, OURS
from bench.peers.peer import Peer
from bench.peers.rows import Bound, Row
from bench.peers.stand import Stand
from bench.statistic import percentile

#: After each job, so that the worker is idle and waits again before the next one.
_PAUSE_SECONDS = 0.01
_SPREAD_SECONDS = 3.0
_TRIED = 200
#: Systems round to milliseconds.
_EARLY_MS = 1
_HOUR_MS = 3_600_000
_WITH_DELAYS = (OURS, "bullmq.py", BULLMQ)


def latency(stand: Stand) -> list[Row]:
    """One job at a time, from just before the enqueue to the first line of the handler."""
    times: dict[str, list[list[float]]] = {}

    def measure(peer: Peer) -> float:
        times.setdefault(peer.name, []).append(_latencies_ms(nodes[peer], peer, peer.part_of(stand.sizes.idle)))
        return 0

    with stand.nodes(stand.with_worker("threads"), "threads") as nodes:
        stand.in_turn(list(nodes), measure)
    aims = {50: 0.7, 99: 1.5}
    return [
        Row(
            f"idle latency p{percent}",
            "ms",
            {name: [percentile(each, percent) for each in rounds] for name, rounds in times.items()},
            [Bound(1.2, (BULLMQ,)), Bound(aim, is_aim=True)],
            more_is_better=False,
        )
        for percent, aim in aims.items()
    ]


def _latencies_ms(node: Node, peer: Peer, count: int) -> list[float]:
    sent = []
    with running(node):
        node.warm_up()
        for number in range(count):
            time.sleep(_PAUSE_SECONDS)
            sent.append(peer.order(STAMP, 1, first=number)["started"])
            peer.stamps.wait_for(number + 1)
        peer.wait_until_idle()
    stamps = peer.stamps.read()
    peer.stamps.clear()
    return [(stamp.started - sent[stamp.number]) * 1000 for stamp in stamps]


def lateness(stand: Stand) -> list[Row]:
    """Delayed jobs that are due one after the other."""
    runs: dict[str, list[list[float]]] = {}

    def measure(peer: Peer) -> float:
        runs.setdefault(peer.name, []).append(_late_ms(nodes[peer], peer, stand.sizes.spread))
        return 0

    with stand.nodes(stand.named(*_WITH_DELAYS), "threads") as nodes:
        stand.in_turn(list(nodes), measure)
    what = f"{stand.sizes.spread} due over {_SPREAD_SECONDS:g} s: start late"
    rows = [
        Row(
            f"{what} p{percent}",
            "ms",
            {name: [percentile(late, percent) for late in rounds] for name, rounds in runs.items()},
            [Bound(most), Bound(aim, is_aim=True)],
            more_is_better=False,
        )
        for percent, most, aim in ((50, 5, 1), (99, 50, 5))
    ]
    early = {name: [float(sum(ms < -_EARLY_MS for ms in late)) for late in rounds] for name, rounds in runs.items()}
    return [*rows, Row(f"{what}: early", "jobs", early, [Bound(0)], more_is_better=False)]


def _late_ms(node: Node, peer: Peer, count: int) -> list[float]:
    with running(node):
        node.warm_up()
        # Enough time for enqueueing all, by what some of them take on this machine now.
        each = peer.order(NOOP, _TRIED)["seconds"] / _TRIED
        peer.wait_until_idle()
        start = time.time() + 1 + 2 * count * each
        due = [start + _SPREAD_SECONDS * number / count for number in range(count)]
        dues = peer.order(STAMP, count, due=due)["dues"]
        peer.stamps.wait_for(count)
        peer.wait_until_idle()
    stamps = peer.stamps.read()
    peer.stamps.clear()
    return [(stamp.started - dues[stamp.number]) * 1000 for stamp in stamps]


def memory(stand: Stand) -> list[Row]:
    """What the server's memory grows by, per delayed job. Once, since it hardly varies."""
    figures = {peer.name: [_bytes(peer, stand.sizes.kept)] for peer in stand.named(*_WITH_DELAYS)}
    bounds = [Bound(1, (BULLMQ,)), Bound(0.5, (BULLMQ,), is_aim=True)]
    return [Row("server memory per delayed job", "bytes", figures, bounds, more_is_better=False)]


def _bytes(peer: Peer, count: int) -> float:
    peer.add(NOOP, 0)
    peer.clear()
    before = peer.client.info("memory")["used_memory"]
    peer.add_many(NOOP, count, _HOUR_MS)
    after = peer.client.info("memory")["used_memory"]
    peer.clear()
    return float(after - before) / count
