"""A platform of a test's own: a prefix on a Redis, a service to enqueue with, and workers and commands as processes."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import uuid
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pytest_celery import CeleryBrokerCluster, CeleryWorkerCluster

from tests.acceptance.nodes import LocalProcess, Worker, WorkerContainer, broker_of, environment, wait_for
from xpert_mq import EnqueueResult, JobSnapshot, ManagedQueueService, PoolHealth, Settings
from xpert_mq.embedded import EmbeddedServer

PLUGIN = "acme"
MODULE = "tests.acceptance.plugin"


class Deployment:
    """One platform.

    Args:
        server: its Redis.
        folder: the working directory of its processes.
        url: default: the server's TCP URL.
        env: of all its processes.
    """

    def __init__(self, server: EmbeddedServer, folder: Path, url: str | None = None, **env: str) -> None:
        self.brokers = CeleryBrokerCluster(broker_of(server))
        self.server = server
        self.folder = folder
        self.prefix = f"test:{uuid.uuid4().hex[:12]}"
        self.settings = Settings(redis_url=url or server.url, prefix=self.prefix)
        self.service = ManagedQueueService(self.settings)
        self.workers: list[Worker] = []
        self.env = {
            "XPERT_MQ_REDIS_URL": self.settings.redis_url,
            "MANAGED_QUEUE_PREFIX": self.prefix,
            "MANAGED_QUEUE_CONCURRENCY": "1",
            "XPERT_MQ_PLUGINS": MODULE,
            **env,
        }
        self._processes: list[LocalProcess] = []
        self._names = (f"w{number}" for number in itertools.count(1))

    def worker(self, *options: str, pool: str = "threads", wait: bool = True, fast: bool = True, **env: str) -> Worker:
        """Starts a worker; by default waits until it is ready. `fast` leaves out what only several nodes need."""
        if pool == "asyncio":
            pool, env = "custom", {"CELERY_CUSTOM_WORKER_POOL": "xpert_mq.worker.asyncio_pool:TaskPool", **env}
        options = ("-P", pool, *(("--without-mingle", "--without-gossip") if fast else ()), *options)
        name = next(self._names)
        command = ("worker", "-n", f"{name}@test", "-l", "INFO", *options)
        worker = Worker(WorkerContainer(self.start(*command, name=name, **env)), None)
        self.workers.append(worker)
        if wait:
            assert CeleryWorkerCluster(worker).ready()
        return worker

    def start(self, *words: str, name: str, app: str = "xpert_mq", **env: str) -> LocalProcess:
        """Starts `celery -A xpert_mq …`."""
        return self.spawn("-m", "celery", "-A", app, *words, name=name, **env)

    def spawn(self, *words: str, name: str, **env: str) -> LocalProcess:
        """Starts Python with this platform's environment."""
        command = [sys.executable, *words]
        process = LocalProcess(command, environment(**{**self.env, **env}), self.folder, name)
        self._processes.append(process)
        process.start()
        return process

    def celery(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Runs `celery -A xpert_mq …` to its end."""
        return self.python("-m", "celery", "-A", "xpert_mq", *words, **env)

    def python(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Runs Python to its end, with this platform's environment."""
        return subprocess.run(
            [sys.executable, *words],
            env=environment(**{**self.env, **env}),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def enqueue(self, job: str, payload: Any = None, *, queue: str = "sync", **fields: Any) -> str:
        """Enqueues a job of the test plugin; gives its id."""
        result: EnqueueResult = self.service.enqueue(
            plugin_name=PLUGIN, queue_name=queue, job_name=job, payload=payload, **fields
        )
        return result.job_id

    def job(self, job_id: str, tenant_id: str | None = None) -> JobSnapshot:
        snapshot = self.service.get_job(job_id, tenant_id=tenant_id)
        assert snapshot is not None, f"no job {job_id}"
        return snapshot

    def finished(self, job_id: str, tenant_id: str | None = None, timeout: float = 15) -> JobSnapshot:
        """The job when it has ended, either way."""
        self.wait_state(job_id, "completed", "failed", tenant_id=tenant_id, timeout=timeout)
        return self.job(job_id, tenant_id)

    def run(self, job: str, payload: Any = None, **fields: Any) -> JobSnapshot:
        """Enqueues a job, and waits for its end."""
        return self.finished(self.enqueue(job, payload, **fields), fields.get("tenant_id"))

    def wait_state(self, job_id: str, *states: str, tenant_id: str | None = None, timeout: float = 15) -> None:
        """Waits until the job is in one of the states."""

        def reached() -> bool:
            snapshot = self.service.get_job(job_id, tenant_id=tenant_id)
            return snapshot is not None and snapshot.state in states

        try:
            wait_for(reached, f"job {job_id} {' or '.join(states)}", timeout)
        except AssertionError as error:
            now = self.service.get_job(job_id, tenant_id=tenant_id)
            raise AssertionError(f"{error}; it is {now}\n{self.log_tail()}") from None

    def notes(self, subject: str) -> list[dict[str, Any]]:
        """What handlers have noted under a subject (by default their job's id), in order."""
        return [json.loads(one) for one in self.redis_list(f"{self.prefix}:note:{subject}")]

    def redis_list(self, key: str) -> Sequence[Any]:
        found: Any = self.service.get_redis().lrange(key, 0, -1)
        return list(found)

    def open_gate(self, gate: str, times: int = 1) -> None:
        """Lets handlers that wait at this gate go on."""
        self.service.get_redis().rpush(f"{self.prefix}:gate:{gate}", *["open"] * times)

    def hold(self, gate: str, **fields: Any) -> str:
        """Enqueues a job that waits at a gate, and waits until it runs there."""
        job_id = self.enqueue("gate", {"gate": gate}, **fields)
        self.wait_state(job_id, "active", tenant_id=fields.get("tenant_id"))
        # It is active a moment before its handler starts.
        wait_for(lambda: any(one["id"] == job_id for one in self.notes(gate)), f"job {job_id} to come to the gate")
        return job_id

    def health(self, pool: str = "default") -> PoolHealth:
        """By the settings of its processes, which may beat faster than this one's."""
        timeout = float(self.env.get("XPERT_MQ_NODE_TIMEOUT", "30"))
        settings = self.settings.model_copy(update={"node_timeout": timeout})
        with closing(ManagedQueueService(settings)) as service:
            return service.get_execution_pool_health(pool)

    def log_tail(self) -> str:
        """The last lines of all workers, cut to a readable width."""
        return "\n".join(line[:300] for worker in self.workers for line in worker.logs().splitlines()[-40:])

    def close(self) -> None:
        """Ends all of its processes."""
        for process in self._processes:
            process.remove()
        self.service.close()
