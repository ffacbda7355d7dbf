"""The platform in the hands of a test: jobs run when it says so, time passes when it says so, and things go wrong."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from typing import TYPE_CHECKING, Any, NoReturn

import redis

from xpert_mq.context import effective_tenant
from xpert_mq.errors import ManagedQueueError
from xpert_mq.models import JobSnapshot, parse_job_ref
from xpert_mq.node import node
from xpert_mq.service import ManagedQueueService, managed_queue
from xpert_mq.settings import Settings
from xpert_mq.store.connection import Call
from xpert_mq.store.keys import job_token, pool_keys, task_id
from xpert_mq.store.store import Record
from xpert_mq.testing.enqueued import EnqueuedJobs
from xpert_mq.testing.runs import JobRun, WorkerCrash
from xpert_mq.testing.target import Targets, WatchedExecutor

if TYPE_CHECKING:
    from xpert_mq.testing.node import InProcessNode

#: Jobs per script call.
_BATCH = 250

#: What `advance` takes at the most: an integer for Lua, and more than anything is delayed by.
_LONGEST_MS = 10**15

#: The scripts that record a try's outcome.
_OUTCOMES = ("finish", "retry")


class RunLimitError(ManagedQueueError, AssertionError):
    """`run_jobs` has run as many tries as it may, and jobs are still due: one comes back at once, again and again."""


class QueueKit:
    """What the fixtures give, in one object. The process-wide service is on the test's server as long as it is used.

    Attributes:
        service: the process-wide service.
        enqueued: assertions of what has been enqueued.
    """

    def __init__(self, nodes: dict[Settings, InProcessNode], overrides: Mapping[str, Any]) -> None:
        self._overrides = overrides
        self.service: ManagedQueueService = managed_queue
        self.enqueued = EnqueuedJobs(managed_queue)
        self._nodes = nodes
        self._running = threading.Lock()
        self._outcomes_to_lose = 0

    @property
    def redis(self) -> redis.Redis:
        """The service's client."""
        return self.service.get_redis()

    @property
    def forced(self) -> dict[str, Any]:
        """What a process that belongs to the test must be set to, by the settings' fields."""
        settings = self.service.settings
        return {**self._overrides, "redis_url": settings.redis_url, "prefix": settings.prefix}

    def run_jobs(self, limit: int = 1000, *, raising: bool = False) -> list[JobRun]:
        """Run jobs in this thread, as one worker would that runs one at a time, until none is due.

        A retry or a Defer without a delay comes in the same call. What is delayed waits for `advance`, or until its
        time has come by itself.

        Args:
            limit: tries at the most.
            raising: raise what a job fails with for good, when it does.

        Returns:
            The tries in their order.

        Raises:
            RunLimitError: jobs were due after `limit` tries.
            KeyboardInterrupt, and what pytest ends a test by (`pytest.fail`, a time limit): a handler has raised it.
        """
        if not self._running.acquire(blocking=False):
            raise ManagedQueueError("run_jobs runs already: a handler can't call it, nor two threads at a time")
        try:
            runs: list[JobRun] = []
            while len(runs) < limit:
                run = self._run_next()
                if run is None:
                    return runs
                runs.append(run)
                _raise_of_tests(run.error)
                if raising and run.outcome == "failed" and run.error is not None:
                    raise run.error
            self._hand_out()
            if any(self.redis.llen(queue) for queue in self._queues()):
                raise RunLimitError(f"jobs are still due after {limit} tries; the last was {runs[-1:]}")
            return runs
        finally:
            self._running.release()

    async def arun_jobs(self, limit: int = 1000, *, raising: bool = False) -> list[JobRun]:
        """`run_jobs` in another thread, while this event loop goes on: async handlers have a loop of their own."""
        return await asyncio.to_thread(self.run_jobs, limit, raising=raising)

    def advance(self, ms: float) -> None:
        """Let `ms` milliseconds pass for Redis, without sleeping; fractions are cut.

        What is delayed or backs off comes nearer, ages of finished jobs go by, and keys that expire do so earlier, a
        plugin's own among them. Clocks stay as they are: those of Python, and what Redis itself says of the time.

        Raises ValueError for what is no number from 0 to 10^15.
        """
        if isinstance(ms, bool) or not isinstance(ms, (int, float)) or not 0 <= ms <= _LONGEST_MS:
            raise ValueError(f"time goes on by 0 to {_LONGEST_MS} milliseconds, not by {ms!r}: it can't go back")
        store = self.service.store
        delayed = [pool_keys(queue).delayed for queue in self._queues()]
        self.redis.eval(_advance(), 0, str(int(ms)), store.keys.jobs, store.keys.expiring, store.keys.due, *delayed)
        # Due times are rounded up to whole milliseconds: what was parked in this one is due from the next one on.
        began = self._server_ms()
        while self._server_ms() == began:
            pass

    def _server_ms(self) -> int:
        seconds, microseconds = self.redis.time()
        return seconds * 1000 + microseconds // 1000

    def finished(self, job_id: str, tenant_id: str | None = None) -> JobSnapshot:
        """The job, which must have ended. AssertionError if it has not, or is not kept."""
        __tracebackhide__ = True
        job = self.service.get_job(job_id, tenant_id=tenant_id)
        if job is None or job.state not in ("completed", "failed"):
            raise AssertionError(f"job {job_id!r} has not ended: {job.state if job else 'it is not kept'}")
        return job

    def crash(self, *_: object, **__: object) -> NoReturn:
        """Call it within a handler, or in the place of what the handler calls: the worker's process dies there.

        The job is taken back as from a worker that was killed: it runs again, at once and at the front, with no attempt
        spent; the second time it fails (XPERT_MQ_MAX_STALLED). Python unwinds the handler here, so `finally` and `with`
        are run, which a real death does not do: for that use a real worker, and its `kill`.
        """
        raise WorkerCrash

    def crash_after_handler(self, times: int = 1) -> None:
        """The worker's process dies the next `times` when a handler has ended, before its outcome is recorded.

        So its job runs twice, and whatever it has done it does again.
        """
        self._outcomes_to_lose = times
        executor = self.service.executor
        assert isinstance(executor, WatchedExecutor)
        executor.before = self._lose_outcome

    def deliver_again(self, job_id: str, tenant_id: str | None = None) -> None:
        """Puts a second copy of the job's latest message into its queue: whoever comes second has nothing to start.

        The tenant is the given one, else the current context's. Raises LookupError for a job that is not kept.
        """
        tenant_id, job_id, record = self._kept(job_id, tenant_id)
        if record is None:
            raise LookupError(f"no job {job_id!r} is kept of tenant {tenant_id!r}")
        self._push(job_token(tenant_id, job_id), record.generation, record.envelope.execution_pool)

    def deliver_stale(self, job_id: str, tenant_id: str | None = None) -> None:
        """Puts a message of an earlier hand-out into the queue: as of a job that was cancelled, retried, or taken back.

        The tenant is the given one, else the current context's. No such job needs to be there.
        """
        tenant_id, job_id, record = self._kept(job_id, tenant_id)
        generation, pool = (record.generation - 1, record.envelope.execution_pool) if record else (0, "default")
        self._push(job_token(tenant_id, job_id), generation, pool)

    def _kept(self, job_id: str, tenant_id: str | None) -> tuple[str | None, str, Record | None]:
        """The ids as every verb of the service takes them, and the job's record."""
        ref = parse_job_ref(job_id, tenant_id)
        tenant_id = effective_tenant(ref.tenant_id)
        return tenant_id, ref.job_id, self.service.executor.run(self.service.store.read(tenant_id, ref.job_id))

    def _hand_out(self) -> None:
        """What the maintenance thread does: due jobs to their queues, and those away whose age is over."""
        store = self.service.store
        self.service.executor.run_many(
            [*(store.promote(queue, _BATCH) for queue in self._queues()), store.expire(_BATCH)]
        )

    def _run_next(self) -> JobRun | None:
        self._hand_out()
        return self._node().run_next()

    def _node(self) -> InProcessNode:
        # Celery's application reads the service's settings when it is imported: those of the test.
        from xpert_mq.testing.node import InProcessNode

        settings = self.service.settings
        return self._nodes.get(settings) or self._nodes.setdefault(settings, InProcessNode(settings))

    def _queues(self) -> list[str]:
        return [self.service.settings.queue_name(pool) for pool in self.service.settings.pools]

    def _lose_outcome(self, call: Call[Any]) -> None:
        if self._outcomes_to_lose > 0 and call.script.name in _OUTCOMES:
            self._outcomes_to_lose -= 1
            raise WorkerCrash

    def _push(self, token: str, generation: int, pool: str) -> None:
        from xpert_mq.message import template

        queue = self.service.settings.queue_name(pool)
        number = str(generation)
        slots: Mapping[str, Any] = {
            "id": task_id(token, generation),
            "tag": number,
            "shadow": "",
            "retries": 0,
            "queue": queue,
        }
        message = json.loads(template(), object_hook=functools.partial(_filled, slots))
        self.redis.lpush(queue, json.dumps(message))
        self.redis.zadd(pool_keys(queue).wake, {"0": 0})


class KitMaker:
    """Makes the kits of one server, one at a time; connections live on from one to the next.

    Args:
        redis_url: of a server for tests alone: each kit begins by emptying it.
    """

    def __init__(self, redis_url: str) -> None:
        self._targets = Targets(redis_url)
        self._nodes: dict[Settings, InProcessNode] = {}

    @contextmanager
    def kit(self, overrides: Mapping[str, Any]) -> Iterator[QueueKit]:
        """A kit on the empty server, with the plugins loaded as in a worker; one that fails is logged.

        Args:
            overrides: settings by their fields' names; all others are the process' own.
        """
        with self._targets.pointed(overrides):
            kit = QueueKit(self._nodes, overrides)
            kit.redis.flushall()
            # Redis has forgotten the node.
            node.leave(node.id)
            yield kit

    def close(self) -> None:
        """Closes the connections."""
        for one in self._nodes.values():
            one.close()
        self._targets.close()


def _raise_of_tests(error: BaseException | None) -> None:
    """What is meant for the test, and not for the job: a worker would take it for a failed try."""
    for one in (error, error and error.__cause__):
        if one is not None and not isinstance(one, (Exception, SystemExit, GeneratorExit, asyncio.CancelledError)):
            raise one


@functools.cache
def _advance() -> str:
    return resources.files(__package__).joinpath("advance.lua").read_text(encoding="utf-8")


def _filled(slots: Mapping[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """A part of the message's template, with values in its slots; without the one for more headers."""
    names = {
        name: slots.get(value.strip("\0"), value) if isinstance(value, str) else value for name, value in part.items()
    }
    return {name: value for name, value in names.items() if "\0" not in name}
