"""What every measure gets: the server, both systems, and how much to do."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.node import Node, prepare
from bench.systems import Managed, Plain, Pool, System
from xpert_mq.embedded import EmbeddedServer


@dataclass(frozen=True, slots=True)
class Sizes:
    """Jobs per round of each measure, and rounds."""

    rounds: int
    enqueued: int
    bulk: int
    drained: int
    idle: int
    spread: int
    same_moment: int
    kept: int
    delayed: int
    listed: int
    killed: int
    parked: int
    backlog: int
    #: Seconds of draining.
    window: float


FULL = Sizes(
    rounds=3,
    enqueued=3000,
    bulk=10_000,
    drained=2000,
    idle=120,
    spread=2000,
    same_moment=5000,
    kept=5000,
    delayed=20_000,
    listed=1_000_000,
    killed=4,
    parked=5000,
    backlog=50_000,
    window=10,
)
QUICK = Sizes(
    rounds=1,
    enqueued=1000,
    bulk=3000,
    drained=1000,
    idle=60,
    spread=2000,
    same_moment=2000,
    kept=2000,
    delayed=5000,
    listed=50_000,
    killed=2,
    parked=2000,
    backlog=20_000,
    window=5,
)


class Stand:
    """A server of its own with both systems on it, one database each."""

    def __init__(self, server: EmbeddedServer, folder: Path, sizes: Sizes) -> None:
        self.sizes = sizes
        self._url, self._folder = server.url, folder
        self._others = itertools.count(2)
        self.ours = Managed(_database(server.url, 0), folder / "managed.stamps")
        self.plain = Plain(_database(server.url, 1), folder / "plain.stamps")
        self.systems: tuple[System, System] = (self.ours, self.plain)

    def clear(self) -> None:
        """Empties both databases. No worker may be running."""
        for system in self.systems:
            system.clear()

    def another(self, application: str = "xpert_mq", variables: Mapping[str, str] | None = None) -> Managed:
        """Ours once more, on a database of its own; see `Managed` for what its workers may differ in."""
        number = next(self._others)
        return Managed(_database(self._url, number), self._folder / f"managed-{number}.stamps", application, variables)

    @contextlib.contextmanager
    def nodes(self, pool: Pool) -> Iterator[dict[System, Node]]:
        """A worker of each system, held still."""
        self.clear()
        with Node(self.ours, pool) as ours, Node(self.plain, pool) as plain:
            prepare(ours, plain)
            yield {self.ours: ours, self.plain: plain}

    def server_version(self) -> str:
        info = self.ours.client.info("server")
        return f"{info.get('server_name', 'redis')} {info.get('valkey_version', info['redis_version'])}"


def _database(url: str, number: int) -> str:
    return f"{url.rsplit('/', 1)[0]}/{number}"
