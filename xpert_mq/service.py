"""The managed queue as plugins see it. Each verb builds one call and sends it, from a thread or from a coroutine."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import secrets
import sys
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import redis
import redis.asyncio

from xpert_mq.context import capture, current_context, current_job, effective_tenant
from xpert_mq.errors import InvalidJobError, JobIdConflictError, ManagedQueueError
from xpert_mq.models import (
    CancelResult,
    EnqueueResult,
    Envelope,
    JobOptions,
    JobRequest,
    JobSnapshot,
    PoolHealth,
    parse_job_ref,
)
from xpert_mq.payload import encode_payload
from xpert_mq.settings import Settings, get_settings
from xpert_mq.store import TASK_NAME
from xpert_mq.store.connection import AsyncExecutor, Call, Executor, at_loop_end, thread_place
from xpert_mq.store.keys import job_token
from xpert_mq.store.store import FORMAT, Added, NodeState, Outcome, Record, Store, shadow_of


class CommitHook(Protocol):
    """How a framework makes jobs wait for the commit of its transaction."""

    @property
    def by_default(self) -> bool:
        """What `on_commit=None` means."""
        ...

    def __call__(self, jobs: Sequence[PreparedJob], using: str | None) -> bool:
        """Take the jobs, to be sent after the commit of the current transaction, or dropped if it is rolled back.

        Args:
            using: the framework's name of the database; None: its default one.

        Returns:
            False where there is no transaction: the jobs are sent at once then.
        """
        ...


@runtime_checkable
class AsyncCommitHook(Protocol):
    """A CommitHook whose transactions belong to threads: coroutines call this in its place."""

    async def acall(self, jobs: Sequence[PreparedJob], using: str | None) -> bool:
        """The same for a coroutine."""
        ...


class ManagedQueueService:
    """Enqueues, cancels, reads and re-runs jobs; and lends the platform's Redis. Safe in threads, coroutines and forks.

    Args:
        settings: default: the process' own, read from the environment at the first use.

    Every verb raises InvalidJobError for its input, ScopeMismatchError for a tenant, organization or user that
    contradicts the current context, and QueueUnavailableError when Redis does not answer within
    `settings.enqueue_timeout` seconds.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._given_settings: Settings | Callable[[], Settings] | None = settings
        self.commit_hook: CommitHook | None = None
        """Set by a framework's integration; what `on_commit` needs."""
        self._redis: dict[int, redis.Redis] = {}
        self._async_redis: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, redis.asyncio.Redis] = (
            weakref.WeakKeyDictionary()
        )

    @functools.cached_property
    def settings(self) -> Settings:
        """What this service runs with."""
        return self.given_settings or get_settings()

    @property
    def given_settings(self) -> Settings | None:
        """What it was given, by `configure` or when it was made; None where the process' own settings count."""
        given = self._given_settings
        return given() if callable(given) else given

    def configure(self, settings: Settings | Callable[[], Settings] | None) -> None:
        """Run with these settings from now on, for frameworks when they start.

        Args:
            settings: or what gives them at the first use; None: the process' own again.
        """
        self.close()
        self._given_settings = settings
        for name in ("settings", "store", "executor", "async_executor"):
            self.__dict__.pop(name, None)
        self._async_redis.clear()

    @functools.cached_property
    def store(self) -> Store:
        """The operations on job records: for the platform's own parts, not for plugins."""
        return Store(self.settings, _fill_function)

    @functools.cached_property
    def executor(self) -> Executor:
        """Sends the store's calls from threads."""
        return Executor(self.settings)

    @functools.cached_property
    def async_executor(self) -> AsyncExecutor:
        """Sends the store's calls from coroutines."""
        return AsyncExecutor(self.settings)

    def enqueue(
        self, job: object = None, /, *, on_commit: Any = None, using: Any = None, **fields: Any
    ) -> EnqueueResult:
        """Add a job, and return when it is in Redis.

        The job is given as keywords, as one mapping, or as one model; in snake_case or camelCase. An id that is kept by
        the same logical job adds and changes nothing: `created` is False then (as BullMQ's `add` with a known jobId).

        Args:
            on_commit: True adds the job after the commit of the current transaction of the framework's database, and
                not at all after a rollback. The result then says what will be if the id is free: `created` is True,
                and a delay begins with the commit. Where there is no transaction, the job is added at once. None: as
                the framework's integration is set up; without one it is False.
            using: the database of that transaction, as the framework names it. Means `on_commit`, too.

        Raises:
            JobIdConflictError: the id is kept by another logical job of the tenant.
            InvalidJobError: also for `on_commit` without the integration of a framework.
        """
        pending = self._pending(job, fields)
        hook = self._hook(on_commit, using)
        if hook is not None and hook([PreparedJob(self, pending)], using):
            return pending.promised()
        return _single(pending.result(self.executor.run(pending.call)))

    async def aenqueue(
        self, job: object = None, /, *, on_commit: Any = None, using: Any = None, **fields: Any
    ) -> EnqueueResult:
        """`enqueue` without blocking the event loop."""
        await self._prepared()
        pending = self._pending(job, fields)
        hook = self._hook(on_commit, using)
        if hook is not None and await _offer(hook, [PreparedJob(self, pending)], using):
            return pending.promised()
        return _single(pending.result(await self.async_executor.run(pending.call)))

    def enqueue_many(
        self, jobs: Iterable[object], *, on_commit: Any = None, using: Any = None
    ) -> list[EnqueueResult | JobIdConflictError]:
        """Add many jobs in few round trips; results in the order given.

        If one input is invalid none is added, and the error names its index. A conflicting id stops only its own job:
        its place in the results holds the JobIdConflictError. After a QueueUnavailableError, calling again with the
        same ids is safe. `on_commit` and `using` are those of `enqueue`.
        """
        pending = self._all_pending(jobs)
        hook = self._hook(on_commit, using)
        if hook is not None and hook([PreparedJob(self, one) for one in pending], using):
            return [one.promised() for one in pending]
        replies = self.executor.run_many([one.call for one in pending])
        return [one.result(reply) for one, reply in zip(pending, replies, strict=True)]

    async def aenqueue_many(
        self, jobs: Iterable[object], *, on_commit: Any = None, using: Any = None
    ) -> list[EnqueueResult | JobIdConflictError]:
        """`enqueue_many` without blocking the event loop."""
        await self._prepared()
        pending = self._all_pending(jobs)
        hook = self._hook(on_commit, using)
        if hook is not None and await _offer(hook, [PreparedJob(self, one) for one in pending], using):
            return [one.promised() for one in pending]
        replies = await self.async_executor.run_many([one.call for one in pending])
        return [one.result(reply) for one, reply in zip(pending, replies, strict=True)]

    def prepare(self, job: object = None, /, **fields: Any) -> PreparedJob:
        """Check and encode an enqueue, to be sent later or by another process."""
        return PreparedJob(self, self._pending(job, fields))

    def send_prepared(self, jobs: Sequence[PreparedJob]) -> list[EnqueueResult | JobIdConflictError]:
        """Send jobs of this service that a commit hook took, in few round trips; results in the order given.

        Sending one again is safe: it is the same call, and gets the same answer as long as its job is kept.
        """
        calls = [job.next_call() for job in jobs]
        replies = self.executor.run_many(calls)
        return [job.pending.result(reply) for job, reply in zip(jobs, replies, strict=True)]

    def cancel(self, job: object = None, tenant_id: str | None = None, /, **fields: Any) -> CancelResult:
        """Remove a job that has not started; it then never runs, and its id is free.

        Args:
            job, tenant_id: the ids, as arguments or as keywords; or a mapping of `job_id` and `tenant_id`. Without a
                tenant it is the current context's, else the jobs without one.

        Returns:
            success with the state it had (`waiting` or `delayed`); else the reason: `active`, `completed`, `failed`,
            `not_found`.
        """
        call = self._cancel_call(job, tenant_id, fields)
        return _cancelled(call, self.executor.run(call))

    async def acancel(self, job: object = None, tenant_id: str | None = None, /, **fields: Any) -> CancelResult:
        """`cancel` without blocking the event loop."""
        call = self._cancel_call(job, tenant_id, fields)
        return _cancelled(call, await self.async_executor.run(call))

    def get_job(self, job: object = None, tenant_id: str | None = None, /, **fields: Any) -> JobSnapshot | None:
        """The job as it is now; None where the tenant has no such job (any more)."""
        return _snapshot(self.executor.run(self._read_call(job, tenant_id, fields)))

    async def aget_job(self, job: object = None, tenant_id: str | None = None, /, **fields: Any) -> JobSnapshot | None:
        """`get_job` without blocking the event loop."""
        return _snapshot(await self.async_executor.run(self._read_call(job, tenant_id, fields)))

    def retry(self, job: object = None, tenant_id: str | None = None, /, **fields: Any) -> CancelResult:
        """Run a failed job again with its full number of attempts; data and stack traces are kept.

        Returns:
            success with the state it has now (`waiting`); else the state that stood against it as reason, or
            `not_found`.
        """
        call = self._rerun_call(job, tenant_id, fields)
        return _cancelled(call, self.executor.run(call))

    async def aretry(self, job: object = None, tenant_id: str | None = None, /, **fields: Any) -> CancelResult:
        """`retry` without blocking the event loop."""
        await self._prepared()
        call = self._rerun_call(job, tenant_id, fields)
        return _cancelled(call, await self.async_executor.run(call))

    def get_execution_pool_health(self, pool: str = "default") -> PoolHealth:
        """Whether workers serve the pool, by their heartbeats.

        A worker counts that has beaten within `settings.node_timeout` seconds and whose consumer's loop was seen then.

        Raises:
            InvalidJobError: the pool is not declared.
        """
        queue = self.settings.queue_name(pool)
        return self._health(pool, queue, self.executor.run(self.store.nodes()))

    async def aget_execution_pool_health(self, pool: str = "default") -> PoolHealth:
        """`get_execution_pool_health` without blocking the event loop."""
        queue = self.settings.queue_name(pool)
        return self._health(pool, queue, await self.async_executor.run(self.store.nodes()))

    def _health(self, pool: str, queue: str, nodes: Sequence[NodeState]) -> PoolHealth:
        serving = [one for one in nodes if one.consumes(queue) and one.takes_jobs]
        alive = [one for one in serving if one.is_healthy(round(1000 * self.settings.node_timeout))]
        warning = None
        if not alive:
            warning = f"no live worker consumes the execution pool {pool!r}"
        elif len(alive) < len(serving):
            warning = (
                f"{len(serving) - len(alive)} of {len(serving)} workers of the execution pool {pool!r} don't answer"
            )
        return PoolHealth(pool, bool(alive), len(alive), warning)

    def get_redis(self) -> redis.Redis:
        """The platform's pooled redis-py client; replies are bytes, unless the URL says otherwise. Don't close it."""
        place = thread_place()
        client = self._redis.get(place)
        if client is None:
            client = self._redis.setdefault(place, redis.Redis.from_url(self.settings.redis_url))
        return client

    async def aget_redis(self) -> redis.asyncio.Redis:
        """The platform's asyncio client of the running loop, which closes it at its end."""
        loop = asyncio.get_running_loop()
        client = self._async_redis.get(loop)
        if client is None:
            client = self._async_redis[loop] = redis.asyncio.Redis.from_url(self.settings.redis_url)

            async def close() -> None:
                # The client holds its loop, which the dictionary must not.
                ours = self._async_redis.pop(loop, None)
                if ours is not None:
                    await ours.aclose()

            await at_loop_end(close)
        return client

    def redis_key(self, *parts: str | int, plugin_name: str | None = None, allow_no_tenant: bool = False) -> str:
        """A key of the plugin's own, `{plugin}:{tenant}:{organization}:{parts}`, from the current context.

        Each part is escaped (`:` and `%`), so that no two lists of parts make the same key. What the context lacks
        reads `-`.

        Args:
            parts: what the key is for, as `"lock", "outbound"`.
            plugin_name: default: that of the running job. Outside of a handler there is none to take: name it there,
                and wherever the same key is meant, or all plugins share the key.
            allow_no_tenant: build a key that all tenants share.

        Raises:
            InvalidJobError: no parts, a blank one, or no tenant in the context.
        """
        context = current_context()
        if context.tenant_id is None and not allow_no_tenant:
            raise InvalidJobError(
                "redis_key: no tenant in the current context; set one, or pass allow_no_tenant=True for a key that all "
                "tenants share",
                field="tenant_id",
            )
        if not parts or any(not isinstance(part, (str, int)) or isinstance(part, bool) or part == "" for part in parts):
            raise InvalidJobError(
                f"redis_key: parts must be texts or integers, none of them blank, not {parts!r}", field="parts"
            )
        job = current_job()
        plugin = plugin_name or (job.plugin_name if job else None)
        owners = [
            "-" if part is None else escaped_part(part) for part in (plugin, context.tenant_id, context.organization_id)
        ]
        return ":".join([*owners, *map(escaped_part, parts)])

    def close(self) -> None:
        """Closes the idle connections of this process' threads; the next call opens new ones."""
        if "executor" in self.__dict__:
            self.executor.close()
        while self._redis:
            self._redis.popitem()[1].close()

    async def aclose(self) -> None:
        """Closes the connections that coroutines of the running loop have used; the next call opens new ones."""
        client = self._async_redis.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()
        if "async_executor" in self.__dict__:
            await self.async_executor.close()

    async def _prepared(self) -> None:
        if not self.store.hands_out:
            await asyncio.to_thread(self.store.prepare)

    def _hook(self, on_commit: Any, using: Any) -> CommitHook | None:
        """The hook to offer jobs to, if they are to wait for a commit.

        The verbs' own types are not narrower either: else a type checker would refuse `enqueue(**job)` for a `dict[str,
        str]`.
        """
        if on_commit is not None and not isinstance(on_commit, bool):
            raise InvalidJobError(f"on_commit must be True, False or None, not {on_commit!r}", field="on_commit")
        if using is not None and not isinstance(using, str):
            raise InvalidJobError(f"using must be the name of a database, not {using!r}", field="using")
        hook = self.commit_hook
        if on_commit is None:
            on_commit = using is not None or (hook is not None and hook.by_default)
        if not on_commit:
            return None
        if hook is None:
            raise InvalidJobError(
                "on_commit needs a framework whose transactions are known: install xpert_mq.contrib.django, or "
                "xpert_mq.contrib.flask with Flask-SQLAlchemy",
                field="on_commit",
            )
        return hook

    def _all_pending(self, jobs: Iterable[object]) -> Sequence[_Pending]:
        if isinstance(jobs, (str, bytes)) or not isinstance(jobs, Iterable):
            raise InvalidJobError(f"enqueue_many takes a list of jobs, not {type(jobs).__name__}")
        pending = []
        for index, job in enumerate(jobs):
            try:
                pending.append(self._pending(job, {}))
            except ManagedQueueError as error:
                raise error.at(index) from error.__cause__
        return pending

    def _pending(self, job: object, fields: dict[str, Any]) -> _Pending:
        request, actor, delegation = capture(JobRequest.parse(job, **fields))
        queue = self.settings.queue_name(request.execution_pool)
        payload = encode_payload(request.payload, self.settings.payload_limit)
        envelope = Envelope(
            plugin_name=request.plugin_name,
            queue_name=request.queue_name,
            job_name=request.job_name,
            tenant_id=request.tenant_id,
            organization_id=request.organization_id,
            scope_key=request.scope_key,
            user_id=request.user_id,
            execution_pool=request.execution_pool,
            actor=actor,
            delegation=delegation,
        )
        job_id = request.job_id or secrets.token_hex(16)
        publication = _publication(job_id, envelope, queue)
        headers = publication.before() if publication else ""
        call = self.store.add(job_id, envelope, request.options(), payload, queue, headers)
        return _Pending(job_id, envelope, call, publication)

    def _cancel_call(self, job: object, tenant_id: str | None, fields: dict[str, Any]) -> Call[Outcome]:
        ref = parse_job_ref(job, tenant_id, **fields)
        return self.store.cancel(effective_tenant(ref.tenant_id), ref.job_id)

    def _read_call(self, job: object, tenant_id: str | None, fields: dict[str, Any]) -> Call[Record | None]:
        ref = parse_job_ref(job, tenant_id, **fields)
        return self.store.read(effective_tenant(ref.tenant_id), ref.job_id)

    def _rerun_call(self, job: object, tenant_id: str | None, fields: dict[str, Any]) -> Call[Outcome]:
        ref = parse_job_ref(job, tenant_id, **fields)
        return self.store.rerun(effective_tenant(ref.tenant_id), ref.job_id)


class _Pending:
    """An enqueue between its call and its reply."""

    __slots__ = ("_envelope", "_job_id", "_publication", "call")

    def __init__(self, job_id: str, envelope: Envelope, call: Call[Added], publication: _Publication | None) -> None:
        self._job_id = job_id
        self._envelope = envelope
        self._publication = publication
        self.call = call

    def promised(self) -> EnqueueResult:
        """What `result` will be if the job is sent and its id is free."""
        return EnqueueResult(self._job_id, True, "delayed" if self.call.values["delay_ms"] else "waiting")

    def result(self, added: Added) -> EnqueueResult | JobIdConflictError:
        if added.holder is not None:
            holder = added.holder
            return JobIdConflictError(
                self._job_id, self._envelope.tenant_id, (holder.plugin_name, holder.queue_name, holder.job_name)
            )
        created = added.outcome == "created"
        if created and self._publication:
            self._publication.after()
        return EnqueueResult(self._job_id, created, added.state)


class PreparedJob:
    """An enqueue that is checked and encoded, and still to be sent: what a CommitHook takes, and `prepare` gives.

    Sending it again is safe, also from another process by its text: it stays the same call. Only if its job is gone by
    then (its retention is over, or it was cancelled more than some seconds ago) it runs once more.
    """

    __slots__ = ("_sent", "_service", "pending")

    def __init__(self, service: ManagedQueueService, pending: _Pending, *, sent: bool = False) -> None:
        self._service = service
        self._sent = sent
        self.pending = pending

    @property
    def job_id(self) -> str:
        """The job's id within its tenant."""
        return self.pending.call.job_id or ""

    def send(self) -> EnqueueResult:
        """Add the job now. Raises JobIdConflictError and QueueUnavailableError, as `enqueue` does."""
        return _single(self._service.send_prepared([self])[0])

    def to_text(self) -> str:
        """ASCII JSON for a row of an outbox. It holds the payload and who enqueued, and no token or key of theirs."""
        values = self.pending.call.values
        kept = {name: values[name] for name in ("envelope", "payload", "headers")}
        return json.dumps({"jobId": self.job_id, **kept}, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str, service: ManagedQueueService | None = None) -> Self:
        """What `to_text` wrote, as a job of this service (default: `managed_queue`); it may have been sent already.

        Raises:
            InvalidJobError: the text is none of these, of a later release, or its execution pool is not declared.
        """
        service = service or managed_queue
        try:
            data = json.loads(text)
            kept = json.loads(data["envelope"])
            if kept["v"] > FORMAT:
                raise InvalidJobError(f"a job was prepared by a later release (format {kept['v']}): {data['jobId']!r}")
            return cls(service, _pending_of(service, data, kept), sent=True)
        except InvalidJobError:
            raise
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidJobError(f"this is not the text of a prepared job: {error!r}") from error

    def next_call(self) -> Call[Added]:
        """The call to send now; from the second on it says that it is a repetition."""
        call = self.pending.call
        if self._sent:
            call = dataclasses.replace(call, values={**call.values, "resend": 1})
        self._sent = True
        return call


def _pending_of(service: ManagedQueueService, data: dict[str, Any], kept: dict[str, Any]) -> _Pending:
    """Of a prepared job's text, and of the envelope in it. Raises all kinds of errors for what is none."""
    job_id, payload, headers, nonce = texts = data["jobId"], data["payload"], data["headers"], kept["nonce"]
    if not all(isinstance(one, str) for one in texts):
        raise TypeError("what must be a text is none")
    opts, envelope = JobOptions.load(kept["opts"]), Envelope.load(kept)
    queue = service.settings.queue_name(envelope.execution_pool)
    call = service.store.add(job_id, envelope, opts, payload, queue, headers, nonce)
    # Lone surrogates would else come out when it is sent.
    call.packed(resend=True)
    return _Pending(job_id, envelope, call, None)


class _Publication:
    """Celery's signals around a publish, for whoever listens (tracing): listeners may add headers, which the record
    keeps.
    """

    def __init__(self, job_id: str, envelope: Envelope, queue: str) -> None:
        self._queue = queue
        self._body: tuple[Any, ...] = ((), {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
        self._headers: dict[str, Any] = {
            "lang": "py",
            "task": TASK_NAME,
            "id": job_token(envelope.tenant_id, job_id),
            "shadow": shadow_of(envelope),
            "retries": 0,
        }

    def before(self) -> str:
        """What the listeners added, as the inside of a JSON object."""
        from celery.signals import before_task_publish

        own = set(self._headers)
        before_task_publish.send(
            sender=TASK_NAME,
            body=self._body,
            exchange="",
            routing_key=self._queue,
            declare=[],
            headers=self._headers,
            properties={"correlation_id": self._headers["id"], "reply_to": ""},
            retry_policy={},
        )
        added = {name: value for name, value in self._headers.items() if name not in own}
        return json.dumps(added, separators=(",", ":"), default=str)[1:-1]

    def after(self) -> None:
        """Tells the listeners that the job is in Redis."""
        from celery.signals import after_task_publish

        after_task_publish.send(
            sender=TASK_NAME, body=self._body, headers=self._headers, exchange="", routing_key=self._queue
        )


def _fill_function() -> str:
    # Here, since it imports Celery: a process that never hands a job out needs none.
    from xpert_mq.message import lua_fill_function

    return lua_fill_function()


def _publication(job_id: str, envelope: Envelope, queue: str) -> _Publication | None:
    signals = sys.modules.get("celery.signals")
    if signals is None or not (signals.before_task_publish.receivers or signals.after_task_publish.receivers):
        return None
    return _Publication(job_id, envelope, queue)


async def _offer(hook: CommitHook, jobs: Sequence[PreparedJob], using: str | None) -> bool:
    return await hook.acall(jobs, using) if isinstance(hook, AsyncCommitHook) else hook(jobs, using)


def _single(result: EnqueueResult | JobIdConflictError) -> EnqueueResult:
    if isinstance(result, JobIdConflictError):
        raise result
    return result


def _cancelled(call: Call[Outcome], outcome: Outcome) -> CancelResult:
    job_id = call.job_id or ""
    if outcome.done:
        return CancelResult(True, job_id, outcome.state)
    return CancelResult(False, job_id, outcome.state, outcome.state or "not_found")


def _snapshot(record: Record | None) -> JobSnapshot | None:
    return record.snapshot if record else None


def escaped_part(part: str | int) -> str:
    """A part of a key as `redis_key` spells it."""
    text = str(part).replace("%", "%25").replace(":", "%3A")
    return "%2D" if text == "-" else text


#: The process-wide service, ready to use.
managed_queue = ManagedQueueService()
