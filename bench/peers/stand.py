"""What the measures of peers get: the server, the peers on it, and how much to do."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from bench.node import Node, prepare
from bench.peers.catalog import KINDS, OURS
from bench.peers.environment import MissingPeerError
from bench.peers.peer import Peer
from bench.systems import Managed, Pool
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
    kept: int
    large: int
    #: Of an operation, whose median counts.
    calls: int
    #: What the growth is divided by.
    growth_part: int


FULL = Sizes(
    rounds=3,
    enqueued=3000,
    bulk=10_000,
    drained=4000,
    idle=200,
    spread=2000,
    kept=5000,
    large=300,
    calls=200,
    growth_part=1,
)
QUICK = Sizes(
    rounds=1, enqueued=500, bulk=2000, drained=500, idle=30, spread=2000, kept=1000, large=50, calls=50, growth_part=50
)


class Stand:
    """A server with one database for each peer. As a context manager it ends what the peers started."""

    def __init__(self, server: EmbeddedServer, folder: Path, sizes: Sizes) -> None:
        self.sizes = sizes
        self._url, self._folder = server.url, folder
        self._used = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._used:
            for peer in self.peers.values():
                peer.close()

    @functools.cached_property
    def peers(self) -> dict[str, Peer]:
        """All that can run here, by name."""
        self._used = True
        peers = {}
        for number, kind in enumerate(KINDS):
            try:
                peers[kind.name] = Peer(kind, self._database(number), self._folder / f"peer-{number}.stamps")
            except MissingPeerError as error:
                print(f"without {kind.name}: {error}", file=sys.stderr)
        return peers

    @property
    def ours(self) -> Peer:
        """The managed queue."""
        return self.peers[OURS]

    def named(self, *names: str) -> list[Peer]:
        """Those of them that run here."""
        return [self.peers[name] for name in names if name in self.peers]

    def with_worker(self, pool: Pool) -> list[Peer]:
        """Those that have such a worker."""
        return [peer for peer in self.peers.values() if pool in peer.kind.workers]

    def managed(self, number: int) -> Managed:
        """The managed queue on a further database, for calls without a worker. Emptied."""
        place = len(KINDS) + number
        system = Managed(self._database(place), self._folder / f"managed-{number}.stamps")
        system.clear()
        return system

    @contextlib.contextmanager
    def nodes(self, peers: Iterable[Peer], pool: Pool) -> Iterator[dict[Peer, Node]]:
        """A worker of each, held still."""
        with contextlib.ExitStack() as started:
            nodes = {}
            for peer in peers:
                peer.clear()
                nodes[peer] = started.enter_context(Node(peer, pool))
                prepare(nodes[peer])
            yield nodes

    def in_turn(self, peers: Sequence[Peer], measure: Callable[[Peer], float]) -> dict[str, list[float]]:
        """Each round measures all of them; every other one backwards. A peer that fails has no figures."""
        figures: dict[str, list[float]] = {peer.name: [] for peer in peers}
        for number in range(self.sizes.rounds):
            for peer in peers if number % 2 == 0 else reversed(peers):
                if peer.name in figures and not self._measured(peer, measure, figures[peer.name]):
                    del figures[peer.name]
        return figures

    def _measured(self, peer: Peer, measure: Callable[[Peer], float], figures: list[float]) -> bool:
        try:
            figures.append(measure(peer))
        except TimeoutError as error:
            if peer is self.ours:
                raise
            print(f"without {peer.name}: {error}", file=sys.stderr)
            return False
        return True

    def _database(self, number: int) -> str:
        return f"{self._url.rsplit('/', 1)[0]}/{number}"
