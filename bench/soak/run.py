"""One run: server, nodes, producer and faults side by side, until every job has ended or none will any more."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from bench.soak.evidence import Ended, History, Story, told_by
from bench.soak.faults import Faults
from bench.soak.judge import judge, recoveries
from bench.soak.nodes import POOLS, Node
from bench.soak.notes import read_notes
from bench.soak.plan import make_faults, make_jobs
from bench.soak.producer import Producer
from bench.soak.report import Report
from xpert_mq import JobSnapshot, ManagedQueueService, Settings
from xpert_mq.embedded import EmbeddedServer

_CONCURRENCY = 4
#: Seconds that the main loop sleeps, and between two looks at the records.
_STEP, _LOOK = 0.02, 0.5
#: Records that are read at once.
_READ = 200


class Soak:
    """A run.

    Args:
        folder: for logs and notes.
        seconds: for which jobs come and faults happen; the rest takes as long as it takes.
        fault_every: seconds between two faults.
        settings: whose beats and timeout the nodes have.
    """

    def __init__(
        self, folder: Path, *, seed: int, seconds: float, jobs: int, nodes: int, fault_every: float, settings: Settings
    ) -> None:
        self._folder = folder
        self._seed = seed
        self._settings = settings
        self._node_count = nodes
        self._jobs = make_jobs(seed, jobs, seconds, settings.node_timeout)
        self._faults = make_faults(seed, seconds, fault_every, settings.node_timeout)
        #: Without any progress for so long, in health: what has not ended by then never does.
        self._patience = 2 * settings.node_timeout + 30

    def run(self) -> Report:
        """Raises TimeoutError if the nodes do not start."""
        for name in ("logs", "notes"):
            (self._folder / name).mkdir()
        with contextlib.ExitStack() as ended:
            server = ended.enter_context(EmbeddedServer(appendonly=True, appendfsync="always"))
            settings = self._settings.model_copy(update={"redis_url": server.url})
            service = ended.enter_context(contextlib.closing(ManagedQueueService(settings)))
            nodes = self._nodes(settings)
            for node in nodes:
                ended.callback(node.destroy)
                node.start()
            self._wait_until_served(service)
            producer = Producer(service, self._jobs)
            ended.callback(producer.stop)
            start = time.monotonic()
            producer.start()
            faults = Faults(self._faults, nodes, server, settings.queue_name(), start)
            ended.callback(faults.end_now)
            self._until_over(producer, faults)
            seconds = self._until_ended(service, producer, faults) - start
            for node in nodes:
                node.end()
            snapshots = _read(service, producer.stories)
        return self._report(producer, faults, nodes, snapshots, seconds)

    def _nodes(self, settings: Settings) -> list[Node]:
        environment = {
            **os.environ,
            "PYTHONWARNINGS": "ignore",  # Celery warns of root, under which containers run.
            "XPERT_MQ_REDIS_URL": settings.redis_url,
            "XPERT_MQ_PLUGINS": "bench.soak.handlers",
            "MANAGED_QUEUE_CONCURRENCY": str(_CONCURRENCY),
        }
        # A job may take a bit more than the timeout, and Redis may be away for longer.
        patience = 5 * settings.node_timeout + 20
        return [
            Node(number, POOLS[number % len(POOLS)], self._folder, environment, patience)
            for number in range(self._node_count)
        ]

    def _wait_until_served(self, service: ManagedQueueService) -> None:
        deadline = time.monotonic() + 60
        while service.get_execution_pool_health("default").worker_count < self._node_count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not all nodes have started; see {self._folder / 'logs'}")
            time.sleep(_STEP)

    def _keep(self, name: str, lines: Iterable[object]) -> None:
        """Writes what helps to understand a wrong."""
        (self._folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    def _until_over(self, producer: Producer, faults: Faults) -> None:
        """Until all is enqueued, and all faults have passed."""
        while not (producer.is_done() and faults.are_over):
            faults.step()
            time.sleep(_STEP)

    def _until_ended(self, service: ManagedQueueService, producer: Producer, faults: Faults) -> float:
        """Until all jobs have ended, or none does for long. Gives when the last did."""
        pending = [story for story in producer.stories if story.cancelled is None]
        progress = time.monotonic()
        while pending and time.monotonic() < progress + self._patience:
            snapshots = _read(service, pending)
            left = [story for story, one in zip(pending, snapshots, strict=True) if one and _is_open(one)]
            if len(left) < len(pending):
                progress = time.monotonic()
                print(f"{len(left)} jobs left", file=sys.stderr, flush=True)
            pending = left
            until = time.monotonic() + _LOOK
            while pending and time.monotonic() < until:
                faults.step()
                time.sleep(_STEP)
        return progress

    def _report(
        self,
        producer: Producer,
        faults: Faults,
        nodes: Sequence[Node],
        snapshots: Sequence[JobSnapshot | None],
        seconds: float,
    ) -> Report:
        told = told_by(read_notes(self._folder / "notes"))
        incidents = [*faults.incidents, *(one for node in nodes for one in node.incidents)]
        self._keep("incidents", map(asdict, incidents))
        history = History(incidents, self._settings.node_timeout, told.renewals)
        for story, snapshot in zip(producer.stories, snapshots, strict=True):
            story.ended = None if snapshot is None else _ended(snapshot)
            story.runs = told.runs[story.plan.key]
        return Report(
            seed=self._seed,
            jobs=len(producer.stories),
            tries=sum(map(len, told.runs.values())),
            seconds=seconds,
            verdict=judge(producer.stories, history),
            outcomes=Counter(_outcome(story) for story in producer.stories),
            recoveries=recoveries(producer.stories, history),
            faults=dict(faults.done),
            unbidden=sum(node.unbidden for node in nodes),
            hung=sum(node.hung for node in nodes),
            unavailable=producer.unavailable,
            maybe_added=producer.maybe_added,
            actions=told.actions,
        )


def _read(service: ManagedQueueService, stories: Sequence[Story]) -> list[JobSnapshot | None]:
    found: list[JobSnapshot | None] = []
    for start in range(0, len(stories), _READ):
        calls = [service.store.read(*story.plan.key) for story in stories[start : start + _READ]]
        found += [record and record.snapshot for record in service.executor.run_many(calls)]
    return found


def _is_open(snapshot: JobSnapshot) -> bool:
    return snapshot.state not in ("completed", "failed")


def _ended(snapshot: JobSnapshot) -> Ended:
    return Ended(snapshot.state, snapshot.attempts_made, snapshot.return_value, snapshot.failed_reason)


def _outcome(story: Story) -> str:
    if story.cancelled is not None:
        return "cancelled"
    return "without a record" if story.ended is None else story.ended.state
