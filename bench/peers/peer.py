"""One job queue as the measures see it: a producer process that takes orders, and the command of its workers."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from bench.jobs import NOOP
from bench.node import ROOT
from bench.peers import work
from bench.peers.environment import NODE_FOLDER
from bench.systems import Pool, System

#: How a worker runs here, by the pool of ours that stands beside it: `threads` is one process with ten jobs at a time,
#: `solo` one process with one, `prefork` two processes, `asyncio` one process with a thousand jobs that wait.
MANY = 1000

#: Stands for the interpreter in the commands.
PROGRAM = "PROGRAM"


@dataclass(frozen=True)
class Kind:
    """What tells the peers apart.

    Args:
        program: gives the interpreter, and makes what it needs. Raises MissingPeerError.
        module: of `bench.peers`, or none where the program is Node.js.
        workers: the command, by how a worker runs; what is not there, it doesn't have.
        unfinished: jobs that wait or run.
        unequal: what it does less, or more, than the managed queue.
        many: whether there is a call for many jobs.
        part: of the jobs that the others get; less for those that would take all the time.
    """

    name: str
    program: Callable[[], str]
    module: str
    workers: Mapping[Pool, list[str]]
    unfinished: Callable[[redis.Redis], int]
    unequal: str
    many: bool = False
    part: float = 1


class Peer(System):
    """A kind on a database of its own. `close` ends its producer."""

    def __init__(self, kind: Kind, url: str, stamps: Path) -> None:
        super().__init__(url, stamps)
        self.kind = kind
        self.name = kind.name
        self._program = kind.program()
        self._producer: subprocess.Popen[str] | None = None

    def order(self, job: str, count: int, **more: Any) -> dict[str, Any]:
        """Has the producer enqueue; see its `Order`. Gives what it answers."""
        if self._producer is None:
            self._producer = self._start()
        assert self._producer.stdin
        assert self._producer.stdout
        self._producer.stdin.write(json.dumps({"job": job, "count": count, **more}) + "\n")
        self._producer.stdin.flush()
        answer = self._producer.stdout.readline()
        if not answer:
            raise RuntimeError(f"the producer of {self.name} ended")
        said: dict[str, Any] = json.loads(answer)
        return said

    def add(self, job: str, number: int, delay_ms: int = 0) -> str:
        self.order(job, 1, first=number, delay_ms=delay_ms)
        return ""

    def add_many(self, job: str, count: int, delay_ms: int = 0) -> str:
        self.order(job, count, how="bulk" if self.kind.many else "single", delay_ms=delay_ms)
        return ""

    def close(self) -> None:
        """Ends the producer."""
        if self._producer is not None:
            self._producer.kill()
            self._producer.wait()

    def part_of(self, count: int) -> int:
        """How many jobs it gets where the others get so many."""
        return max(1, round(count * self.kind.part))

    def queued(self) -> int:
        return self.unfinished()

    def unfinished(self) -> int:
        return self.kind.unfinished(self.client)

    def has_completed(self, job_id: str) -> bool:
        raise NotImplementedError

    def settle(self) -> None:
        """The producer does it after each order."""

    def worker(self) -> tuple[list[str], dict[str, str]]:
        # Each is read by one kind alone.
        return [], {
            "XPERT_MQ_REDIS_URL": self.url,
            "XPERT_MQ_PLUGINS": "bench.peers.ours",
            "RQ_REDIS_URL": self.url,
        }

    def worker_command(self, pool: Pool) -> list[str]:
        concurrency = {"solo": 1, "threads": 10, "prefork": 1, "asyncio": MANY}.get(pool, 1)
        command = [self._program if part == PROGRAM else part for part in self.kind.workers[pool]]
        return ["env", f"XPERT_BENCH_CONCURRENCY={concurrency}", *command]

    def _start(self) -> subprocess.Popen[str]:
        module = ["-m", "bench.peers.producer", self.kind.module]
        return subprocess.Popen(
            [self._program, *(module if self.kind.module else [str(NODE_FOLDER / "producer.js")])],
            env=self.worker_environment(),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def worker_environment(self) -> dict[str, str]:
        jobs = {"noop": NOOP, "wait": work.WAIT, "wait_ms": work.WAIT_SECONDS * 1000}
        return {
            **super().worker_environment(),
            work.URL_VARIABLE: self.url,
            "XPERT_BENCH_ROUTE": json.dumps(work.ROUTE),
            "XPERT_BENCH_JOBS": json.dumps(jobs),
        }
