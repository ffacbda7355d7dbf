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

from bench import drain, enqueue, latency, lateness, limits, listing, memory, overhead, recovery
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

#: What the surroundings set for other platforms and applications must not reach this one.
_FOREIGN = ("XPERT_MQ_", "MANAGED_QUEUE_", "CELERY_")


def main() -> None:
    """Measures, prints, and writes JSON where asked."""
    options = _options()
    signal.signal(signal.SIGTERM, _end)  # so that the workers and the server end too
    for name in [name for name in os.environ if name.startswith(_FOREIGN)]:
        del os.environ[name]
    sizes = QUICK if options.quick else FULL
    sizes = replace(sizes, rounds=options.rounds or sizes.rounds)
    with EmbeddedServer() as server, tempfile.TemporaryDirectory(prefix="xpert-bench-") as folder:
        stand = Stand(server, Path(folder), sizes)
        lines = [line for name in options.only or MEASURES for line in _run(name, stand)]
        server_version = stand.server_version()
    print(table(lines))
    if options.json:
        write_json(options.json, lines, server_version, {"quick": options.quick, "rounds": sizes.rounds})


def _run(name: str, stand: Stand) -> Sequence[Line]:
    started = time.monotonic()
    lines = MEASURES[name](stand)
    print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return lines


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=MEASURES, metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--quick", action="store_true", help="smaller numbers, about a minute in all")
    parser.add_argument("--rounds", type=int, help="of each measure; the table shows their medians")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of every round there")
    return parser.parse_args()


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
