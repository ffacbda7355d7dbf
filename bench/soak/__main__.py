"""`python -m bench.soak`: runs jobs and faults side by side, and accounts for every job. Exits with 1 for a wrong."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from bench.soak.run import Soak
from xpert_mq import Settings

#: What the surroundings set for other platforms and applications must not reach this one; the beats are asked for.
_FOREIGN = ("XPERT_MQ_", "MANAGED_QUEUE_", "CELERY_")
_KEPT = ("XPERT_MQ_HEARTBEAT_INTERVAL", "XPERT_MQ_NODE_TIMEOUT")


def main() -> int:
    options = _options()
    signal.signal(signal.SIGTERM, _end)  # so that nodes and server end too
    for name in [name for name in os.environ if name.startswith(_FOREIGN) and name not in _KEPT]:
        del os.environ[name]
    with _folder(options.folder) as folder:
        soak = Soak(
            folder,
            seed=options.seed,
            seconds=options.seconds,
            jobs=options.jobs or round(options.rate * options.seconds),
            nodes=options.workers,
            fault_every=options.fault_every,
            settings=Settings(),
        )
        report = soak.run()
    print(report.text())
    return 1 if report.verdict.wrongs else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="for which jobs come and faults happen (600)")
    parser.add_argument("--seed", type=int, default=1, help="of the plan (1)")
    parser.add_argument("--workers", type=int, default=4, help="nodes: prefork, threads, gevent, solo in turn (4)")
    parser.add_argument("--rate", type=float, default=15, help="jobs per second (15)")
    parser.add_argument("--jobs", type=int, help="how many jobs in all (rate x seconds)")
    parser.add_argument("--fault-every", type=float, default=4, metavar="SECONDS", help="between two faults (4)")
    parser.add_argument("--folder", type=Path, help="keep logs and notes there; must be empty or not there")
    return parser.parse_args()


@contextlib.contextmanager
def _folder(asked: Path | None) -> Iterator[Path]:
    if asked is not None:
        asked.mkdir(parents=True, exist_ok=True)
        yield asked.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="xpert-soak-") as folder:
        yield Path(folder)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
