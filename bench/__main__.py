"""`python -m bench`: runs the measures on a server of its own and prints the table."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TypeVar

from bench import drain, enqueue, latency, lateness, limits, listing, memory, overhead, recovery
from bench.peers import delays, growth, rates
from bench.peers import stand as peers_stand
from bench.peers.rows import Row, report
from bench.report import Line, table, write_json
from bench.stand import FULL, QUICK, Stand
from xpert_mq.embedded import EmbeddedServer

MEASURES: dict[str, Callable[[Stand], list[Line]]] = {
    "enqueue": enqueue.measure,
    "drain": drain.measure,
    "latency": latency.measure,
    "lateness": lateness.measure,
    "server-memory": memory.measure_server,
    "worker-memory": memory.measure_worker,
    "listing": listing.measure,
    "recovery": recovery.measure,
    "limits": limits.measure,
    "overhead": overhead.measure,
    "scripts": overhead.measure_scripts,
}

S = TypeVar("S")
T = TypeVar("T")

#: They need the extra `bench`, and take long: only where asked for, and all of them as `peers`.
PEERS: dict[str, Callable[[peers_stand.Stand], list[Row]]] = {
    "peers-enqueue": rates.enqueue,
    "peers-drain": rates.drain,
    "peers-waiting": rates.waiting,
    "peers-latency": delays.latency,
    "peers-lateness": delays.lateness,
    "peers-memory": delays.memory,
    "peers-large": rates.large,
    "growth": growth.measure,
}

#: What the surroundings set for other platforms and applications must not reach this one.
_FOREIGN = ("XPERT_MQ_", "MANAGED_QUEUE_", "CELERY_")


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    options = _options()
    signal.signal(signal.SIGTERM, _end)  # so that the workers and the server end too
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    names = options.only or list(MEASURES)
    beside_peers = [name for name in PEERS if name in names or "peers" in names]
    with EmbeddedServer() as server, tempfile.TemporaryDirectory(prefix="xpert-bench-") as folder:
        sizes, peers_sizes = (QUICK, peers_stand.QUICK) if options.quick else (FULL, peers_stand.FULL)
        rounds = options.rounds or sizes.rounds
        stand = Stand(server, Path(folder), replace(sizes, rounds=rounds))
        lines = [line for name in MEASURES if name in names for line in _run(name, MEASURES[name], stand)]
        server_version = stand.server_version()
        stand.clear()
        with peers_stand.Stand(server, Path(folder), replace(peers_sizes, rounds=rounds)) as peers:
            others = [row for name in beside_peers for row in _run(name, PEERS[name], peers)]
    if lines:
        print(table(lines))
    if others:
        print(report(others))
    if options.json:
        about = {"quick": options.quick, "rounds": rounds}
        write_json(options.json, [*lines, *others], server_version, about)


def _run(name: str, measure: Callable[[S], list[T]], stand: S) -> Sequence[T]:
    started = time.monotonic()
    lines = measure(stand)
    print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return lines


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    names = [*MEASURES, "peers", *PEERS]
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--quick", action="store_true", help="smaller numbers, about a minute in all")
    parser.add_argument("--rounds", type=int, help="of each measure; the table shows their medians")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round there")
    return parser.parse_args()


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
