"""The two systems behind one face, so that each measure is written once."""

from __future__ import annotations

import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import redis

from bench.jobs import ORGANIZATION, PLUGIN, QUEUE, STAMPS_VARIABLE, TENANT, Stamps, payload
from xpert_mq import EnqueueResult, JobSnapshot, ManagedQueueService, Settings
from xpert_mq.inspector import Inspector
from xpert_mq.store.keys import pool_keys
from xpert_mq.store.listing import JobFilter

Pool = Literal["solo", "threads", "prefork", "asyncio", "gevent"]

#: Of a worker, by pool; two processes for two cores.
CONCURRENCY: dict[Pool, int] = {"solo": 1, "threads": 10, "prefork": 2, "asyncio": 10, "gevent": 10}

#: Jobs in one call of `enqueue_many`.
BULK = 500

#: Finished jobs that are kept, as that plugin has it. No measure reads more records than that.
KEPT = 5000


class System(ABC):
    """One system on its own database of the server."""

    name: str

    def __init__(self, url: str, stamps: Path) -> None:
        self.url = url
        self.client = redis.Redis.from_url(url)
        self.stamps = Stamps(stamps)

    @abstractmethod
    def add(self, job: str, number: int, delay_ms: int = 0) -> str:
        """Enqueues one job as its users do; gives its id."""

    @abstractmethod
    def add_many(self, job: str, count: int, delay_ms: int = 0) -> str:
        """Enqueues jobs 0 to `count` - 1 in the quickest way that the system has; gives the last one's id."""

    @abstractmethod
    def queued(self) -> int:
        """Messages that no worker has fetched."""

    @abstractmethod
    def unfinished(self) -> int:
        """Jobs that wait or run."""

    @abstractmethod
    def has_completed(self, job_id: str) -> bool:
        """Whether the job is known to have succeeded."""

    @abstractmethod
    def worker(self) -> tuple[list[str], dict[str, str]]:
        """The arguments of `celery` that name the application, and what the worker's environment needs."""

    def clear(self) -> None:
        """Empties the database. No worker may be running."""
        # Valkey's default is to do it later, in the middle of what is measured next.
        self.client.execute_command("FLUSHDB", "SYNC")

    @abstractmethod
    def settle(self) -> None:
        """Ends what a run of `add` left behind in this process."""

    def wait_until_idle(self, timeout: float = 60) -> float:
        """Returns when no job waits or runs; gives the moment (of time.perf_counter) at which that was seen first."""
        deadline = time.monotonic() + timeout
        empty_since = None
        while time.monotonic() < deadline:
            if self.unfinished():
                empty_since = None
            elif empty_since is None:
                empty_since = time.perf_counter()
            else:
                # Twice, since kombu's message is for a moment in neither of its places.
                return empty_since
            time.sleep(0.005)
        raise TimeoutError(f"{self.unfinished()} jobs of {self.name} left after {timeout:g} s")

    def worker_command(self, pool: Pool) -> list[str]:
        """The command that starts a worker."""
        application, _ = self.worker()
        kind = "custom" if pool == "asyncio" else pool
        options = ["--pool", kind, "--concurrency", str(CONCURRENCY[pool]), "--loglevel", "WARNING"]
        return [sys.executable, "-m", "celery", *application, "worker", *options]

    def worker_environment(self) -> dict[str, str]:
        """The environment of that command."""
        # Celery warns of root, under which containers run.
        quiet = {"PYTHONWARNINGS": "ignore", "CELERY_CUSTOM_WORKER_POOL": "xpert_mq.worker.asyncio_pool:TaskPool"}
        return {**os.environ, **quiet, STAMPS_VARIABLE: str(self.stamps.path), **self.worker()[1]}


class Managed(System):
    """This project.

    Args:
        application: what `celery -A` names.
        variables: of the workers' environment, beside those that name the server and the plugin.
    """

    name = "xpert_mq"

    def __init__(
        self, url: str, stamps: Path, application: str = "xpert_mq", variables: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(url, stamps)
        self.application = application
        self._variables = {"XPERT_MQ_PLUGINS": "bench.plugin", **(variables or {})}
        self.service = ManagedQueueService(Settings(redis_url=url))
        self.inspector = Inspector(self.service)
        self.keys = pool_keys(self.service.settings.queue_name())

    def add(self, job: str, number: int, delay_ms: int = 0) -> str:
        return self.service.enqueue(**_described(job, number, delay_ms)).job_id

    def settle(self) -> None:
        """Nothing is left behind."""

    def add_many(self, job: str, count: int, delay_ms: int = 0) -> str:
        last = ""
        for start in range(0, count, BULK):
            numbers = range(start, min(start + BULK, count))
            result = self.service.enqueue_many([_described(job, number, delay_ms) for number in numbers])[-1]
            assert isinstance(result, EnqueueResult)
            last = result.job_id
        return last

    def queued(self) -> int:
        return int(self.client.llen(self.keys.queue))

    def unfinished(self) -> int:
        lines = self.inspector.queues(JobFilter())
        return sum(line.states["waiting"] + line.states["active"] for line in lines)

    def delayed(self) -> int:
        """Jobs that are not due, or not handed out yet."""
        return self.client.zcard(self.keys.delayed)

    def waiting(self) -> int:
        """Jobs that are handed out and not started, fetched or not."""
        return self.client.zcard(self.keys.waiting)

    def parked(self) -> int:
        """Jobs that are over a limit."""
        keys = self.service.store.keys
        places: Any = self.client.zrange(keys.parked, 0, -1)
        return sum(self.client.zcard(keys.parked_at + place.decode()) for place in places)

    def nodes(self) -> int:
        """Workers that are not known to be gone."""
        return self.client.zcard(self.service.store.keys.nodes)

    def has_completed(self, job_id: str) -> bool:
        return self.record(job_id).state == "completed"

    def record(self, job_id: str) -> JobSnapshot:
        """The job's record."""
        snapshot = self.service.get_job(job_id, tenant_id=TENANT)
        if snapshot is None:
            raise LookupError(f"the job {job_id} has no record")
        return snapshot

    def worker(self) -> tuple[list[str], dict[str, str]]:
        return ["-A", self.application], {"XPERT_MQ_REDIS_URL": self.url, **self._variables}


class Plain(System):
    """Celery by itself."""

    name = "plain Celery"

    def __init__(self, url: str, stamps: Path) -> None:
        super().__init__(url, stamps)
        os.environ["XPERT_BENCH_PLAIN_URL"] = url
        from bench.plain import app

        self.app = app

    def add(self, job: str, number: int, delay_ms: int = 0) -> str:
        countdown = {"countdown": delay_ms / 1000} if delay_ms else {}
        task_id: str = self.app.tasks[job].apply_async(kwargs={"payload": payload(number)}, **countdown).id
        return task_id

    def add_many(self, job: str, count: int, delay_ms: int = 0) -> str:
        last = ""
        for number in range(count):
            last = self.add(job, number, delay_ms)
        self.settle()
        return last

    def settle(self) -> None:
        # apply_async subscribes to each result, and nobody reads what the server answers. Left alone, that would fill
        # the server's memory while something else is measured.
        self.app.backend.result_consumer.stop()

    def queued(self) -> int:
        return int(self.client.llen(self.app.conf.task_default_queue))

    def unfinished(self) -> int:
        with self.client.pipeline(transaction=False) as pipe:
            pipe.llen(self.app.conf.task_default_queue)
            pipe.hlen("unacked")
            return sum(pipe.execute())

    def has_completed(self, job_id: str) -> bool:
        return bool(self.app.AsyncResult(job_id).state == "SUCCESS")

    def worker(self) -> tuple[list[str], dict[str, str]]:
        return ["-A", "bench.plain"], {"XPERT_BENCH_PLAIN_URL": self.url}


def _described(job: str, number: int, delay_ms: int) -> dict[str, Any]:
    return {
        "plugin_name": PLUGIN,
        "queue_name": QUEUE,
        "job_name": job,
        "tenant_id": TENANT,
        "organization_id": ORGANIZATION,
        "scope_key": ORGANIZATION,
        "payload": payload(number),
        "delay_ms": delay_ms,
        "attempts": 3,
        "backoff_ms": {"type": "exponential", "delay": 5000},
        "remove_on_complete": {"age": 24 * 3600, "count": KEPT},
    }
