"""The generic task: claim the job, find its handler, restore its context, call, record the outcome.

Dispatch records the outcome itself, before it returns or raises. What Celery then tells its monitors and the result
backend is known already. A message is only a wake-up: when the record says that there is nothing to do, it is dropped.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import logging
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler
from celery import Task
from celery.exceptions import Ignore, Reject, TaskPredicate, WorkerShutdown, WorkerTerminate
from celery.result import AsyncResult
from celery.worker import state as worker_state
from celery.worker.request import Request

from xpert_mq import context, eventloop
from xpert_mq.errors import (
    Defer,
    HandlerNotFoundError,
    ManagedQueueError,
    QueueUnavailableError,
    ScopeMismatchError,
    StalledJobError,
    UnrecoverableError,
)
from xpert_mq.handlers import Handler, ManagedQueueJob, registry
from xpert_mq.logs import lines_of
from xpert_mq.models import Envelope, JobContext
from xpert_mq.payload import decode_payload, encode_payload
from xpert_mq.running import running
from xpert_mq.service import ManagedQueueService, managed_queue
from xpert_mq.store import NODE_HEADER, TASK_NAME
from xpert_mq.store.connection import Call
from xpert_mq.store.keys import split_task_id
from xpert_mq.store.store import Claim, Failure, new_nonce

logger = logging.getLogger(__name__)

try:
    from greenlet import GreenletExit
except ImportError:  # without gevent

    class GreenletExit(BaseException):  # type: ignore[no-redef]
        """Never raised."""


#: By these Celery or gevent ends a process or a pool; they are no failure of the job.
_ENDING = (WorkerShutdown, WorkerTerminate, GreenletExit)

#: Characters that are kept of a failure's message, and of its stack.
_LONGEST_TEXT = 32 * 1024


@dataclass(slots=True)
class _Try:
    """One try of one job, kept on the task's request while it runs."""

    claim: Claim
    failure: Failure | None = None


class JobRequest(Request):
    """Celery's account of a message in the worker."""

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """A shutdown that does not wait. Where a pool can't kill, the job goes back when the node leaves."""
        try:
            super().cancel(pool, signal, emit_retry)
        except NotImplementedError:
            # This is a signal's handler. In the pool `solo` it stands in the middle of the job, and ends it by this; in
            # `threads` Celery would go on to wait for the job.
            raise WorkerTerminate from None


class DispatchTask(Task):
    """The task of all jobs.

    `apply_async` is only Celery's way in: `self.retry` gives the running job back, anything else enqueues.
    """

    name = TASK_NAME
    Request = JobRequest
    acks_late = True
    #: Attempts are the job's own; `retry` passes them on.
    max_retries = None
    ignore_result = False
    #: Job, not arguments: the message has none.
    typing = False

    @property
    def service(self) -> ManagedQueueService:
        """The service whose jobs these are."""
        return managed_queue

    def run(self, **fields: Any) -> Any:
        """One try. Its result goes to Celery's events; the record has it already."""
        nonce = new_nonce()
        with running.job(nonce):
            claim = self._claimed(nonce)
            with lines_of(claim, self.request):
                if not _has_handler(claim.envelope) and self._passed_on(claim):
                    raise Ignore
                return self._tried(_Try(claim))

    def _tried(self, attempt: _Try) -> Any:
        # Whatever the handler leaves in context variables ends with it.
        outcome = contextvars.copy_context().run(_outcome_of, self.service, attempt.claim)
        self.request.job_try = attempt
        with _soft_limit_is_over():
            return self._ended(attempt, outcome)

    def _ended(self, attempt: _Try, outcome: _Completed | BaseException) -> Any:
        if isinstance(outcome, _Completed):
            self._record(self.service.store.complete(attempt.claim, outcome.json))
            return outcome.result
        if isinstance(outcome, Defer):
            raise self.retry(countdown=outcome.delay_ms / 1000)
        return self._failed(attempt, outcome)

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """By `self.retry` in a try: gives the job back, and never raises. Else enqueues what `kwargs` describe."""
        attempt: _Try | None = getattr(self.request, "job_try", None)
        if attempt is None:
            return self.app.send_task(self.name, args, kwargs, **options)
        delay_ms = round((options.get("countdown") or 0) * 1000)
        self._record(self.service.store.try_again(attempt.claim, delay_ms, attempt.failure))
        return AsyncResult(self.request.id, app=self.app)

    def _claimed(self, nonce: str) -> Claim:
        request = self.request
        try:
            token, generation = split_task_id(request.id)
        except ValueError:
            logger.error("message %s is not of a job; dropped", request.id, extra={"action": "message_dropped"})
            raise Ignore from None
        queue = request.delivery_info["routing_key"]
        # By the transport, which fetched the message for it.
        node_id = request.get(NODE_HEADER) or ""
        try:
            claim: Claim | None = self._run_long(self.service.store.claim(token, generation, queue, node_id, nonce))
        except QueueUnavailableError as error:
            logger.error("job %s could not be claimed: %s", request.id, error, extra={"action": "claim_failed"})
            raise Reject(error, requeue=True) from error
        if claim is None:
            logger.info(
                "message %s has nothing to start: its job is parked, taken or gone",
                request.id,
                extra={"action": "message_stale"},
            )
            raise Ignore
        return claim

    def _passed_on(self, claim: Claim) -> bool:
        """Whether another node has the handler, and got the job: as while an old release runs beside the new one."""
        timeout_ms = round(1000 * self.service.settings.node_timeout)
        try:
            what = self._run_long(self.service.store.pass_on(claim, timeout_ms))
        except QueueUnavailableError:
            return False
        logger.info("job %s: this node has no handler: %s", claim.job_id, what, extra={"action": f"pass_on_{what}"})
        return bool(what != "nobody")

    def _failed(self, attempt: _Try, error: BaseException) -> Any:
        claim = attempt.claim
        attempt.failure = _described(error)
        ended = claim.attempts_made + 1
        if isinstance(error, UnrecoverableError) or ended >= claim.opts.attempts:
            self._record(self.service.store.fail(claim, attempt.failure))
            raise _for_celery(error)
        raise self.retry(
            exc=error, countdown=claim.opts.backoff_before(ended) / 1000, max_retries=claim.opts.attempts - 1
        )

    def _record(self, call: Call[bool]) -> None:
        """Sends the outcome until Redis has it, or the worker is told to end.

        Never raises: Celery would take it for a failure.
        """
        while True:
            try:
                if not self._run_long(call):
                    logger.warning(
                        "job %s: this try no longer owns it; its outcome is dropped",
                        call.job_id,
                        extra={"action": "outcome_refused"},
                    )
                return
            except QueueUnavailableError:
                logger.exception(
                    "job %s: its outcome could not be recorded", call.job_id, extra={"action": "outcome_delayed"}
                )
                if worker_state.should_stop is not None or worker_state.should_terminate is not None:
                    return

    def _run_long(self, call: Call[Any]) -> Any:
        timeout = self.service.settings.node_timeout
        if eventloop.is_spawned():
            return eventloop.wait_for(self.service.async_executor.submit(call, timeout=timeout))
        return self.service.executor.run(call, timeout=timeout)


@dataclass(frozen=True, slots=True)
class _Completed:
    """What a handler returned, and its JSON ('' for none)."""

    result: Any
    json: str


def _outcome_of(service: ManagedQueueService, claim: Claim) -> _Completed | BaseException:
    """Runs the handler in its job's context. Gives what became of it; raises only what ends the process."""
    envelope = claim.envelope
    try:
        handler = registry.resolve(envelope.scope_key, envelope.plugin_name, envelope.queue_name, envelope.job_name)
        context.check_actor(envelope)
        with context.restored(envelope):
            result = _call(service, handler, claim)
        return _completed(claim, result, service.settings.payload_limit)
    except _ENDING:
        raise
    except BaseException as error:
        if _is_signal(error):
            raise
        # Whatever else a handler raises, also by sys.exit: its job must not stay without an outcome.
        return error


@contextlib.contextmanager
def _soft_limit_is_over() -> Iterator[None]:
    """The soft time limit, which Celery raises in a child by a signal, is the handler's: nothing after it is hit."""
    handler = signal.getsignal(SIG_SOFT_TIMEOUT)
    if handler is not soft_timeout_sighandler:
        yield
        return
    signal.signal(SIG_SOFT_TIMEOUT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(SIG_SOFT_TIMEOUT, handler)


def _has_handler(envelope: Envelope) -> bool:
    try:
        registry.resolve(envelope.scope_key, envelope.plugin_name, envelope.queue_name, envelope.job_name)
    except HandlerNotFoundError:
        return False
    return True


def _is_signal(error: BaseException) -> bool:
    """Whether billiard ends a child by this, upon a signal: it exits with the signal's number minus 256."""
    return isinstance(error, SystemExit) and isinstance(error.code, int) and -256 < error.code < -128


def _call(service: ManagedQueueService, handler: Handler, claim: Claim) -> Any:
    envelope, job, job_context = claim.envelope, _job(service, claim), _context_of(claim.envelope)
    if handler.is_async:
        with context.restored(envelope, _user_for_async(service, envelope, job_context)):
            return eventloop.run_in_loop(_awaited(lambda: handler.call(job, job_context), job_context))
    return eventloop.in_thread(functools.partial(_call_sync, service, handler, envelope, job, job_context))


def _call_sync(
    service: ManagedQueueService,
    handler: Handler,
    envelope: Envelope,
    job: ManagedQueueJob[Any],
    job_context: JobContext,
) -> Any:
    with (
        registry.wrapped(job_context),
        context.restored(envelope, _user_of(service, envelope, job_context)),
    ):
        result = handler.call(job, job_context)
    # Whatever can be awaited: a plain function may give the coroutine of another.
    return eventloop.run_in_loop(_awaited(lambda: result, job_context)) if inspect.isawaitable(result) else result


def _user_for_async(service: ManagedQueueService, envelope: Envelope, job_context: JobContext) -> Any:
    """Loaded in a thread, since a loader may block, and so in wrappers of its own."""
    if _loader_for(service, envelope) is None:
        return None

    def load() -> Any:
        with registry.wrapped(job_context):
            return _user_of(service, envelope, job_context)

    return eventloop.in_thread(load)


def _loader_for(service: ManagedQueueService, envelope: Envelope) -> str | None:
    return service.settings.user_loader if envelope.user_id is not None else None


def _user_of(service: ManagedQueueService, envelope: Envelope, job_context: JobContext) -> Any:
    """The job's user, loaded afresh; None where no loader is set, or the job has no user."""
    loader = _loader_for(service, envelope)
    if loader is None:
        return None
    user = found = context.load_user_function(loader)(envelope.user_id, envelope.tenant_id)
    if inspect.isawaitable(found):
        user = eventloop.run_in_loop(_awaited(lambda: found, job_context))
    if user is None:
        raise ManagedQueueError(f"the user {envelope.user_id!r} of the job is gone")
    loaded = context.RequestContext(user=user).user_id
    if loaded not in (None, envelope.user_id):
        raise ScopeMismatchError("user_id", loaded, envelope.user_id, where="the job: the loader gave another user")
    return user


async def _awaited(make: Callable[[], Any], job_context: JobContext) -> Any:
    async with registry.awrapped(job_context):
        return await make()


def _completed(claim: Claim, result: Any, limit: int) -> _Completed:
    if result is None:
        return _Completed(None, "")
    try:
        return _Completed(result, encode_payload(result, limit, field="return value"))
    except Exception as error:  # noqa: BLE001 - also what the value's own code raises when it is looked at
        logger.warning(
            "job %s: its return value is dropped: %s", claim.job_id, error, extra={"action": "result_dropped"}
        )
        return _Completed(None, "")


def _context_of(envelope: Envelope) -> JobContext:
    return JobContext(
        plugin_name=envelope.plugin_name,
        queue_name=envelope.queue_name,
        job_name=envelope.job_name,
        scope_key=envelope.scope_key,
        tenant_id=envelope.tenant_id,
        organization_id=envelope.organization_id,
        user_id=envelope.user_id,
    )


def _job(service: ManagedQueueService, claim: Claim) -> ManagedQueueJob[Any]:
    def call(data: Any) -> Call[bool]:
        return service.store.checkpoint(claim, encode_payload(data, service.settings.payload_limit))

    def checkpoint(data: Any) -> None:
        _check_owned(claim, service.executor.run(call(data)))

    async def acheckpoint(data: Any) -> None:
        _check_owned(claim, await service.async_executor.run(call(data)))

    return ManagedQueueJob(
        id=claim.job_id,
        name=claim.envelope.job_name,
        data=decode_payload(claim.payload),
        attempts_made=claim.attempts_made,
        opts=claim.opts,
        checkpoint=checkpoint,
        acheckpoint=acheckpoint,
    )


def _check_owned(claim: Claim, done: bool) -> None:
    if not done:
        raise StalledJobError(f"job {claim.job_id!r}: this try no longer owns it; the checkpoint is refused")


def _described(error: BaseException) -> Failure:
    """What is kept of a failure: the bare message, as in BullMQ. Text that can't be UTF-8 is escaped."""
    kind = type(error)
    stack = "".join(traceback.format_exception(error))
    return Failure(_storable(_message_of(error)), _storable(f"{kind.__module__}.{kind.__qualname__}"), _storable(stack))


def _message_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the exception's own code
        return f"{type(error).__name__}, whose message can't be had"


def _for_celery(error: BaseException) -> Exception:
    """The failure as Celery may see it: some exceptions tell it to do something else, or to end."""
    if isinstance(error, Exception) and not isinstance(error, (TaskPredicate, MemoryError)):
        return error
    failure = ManagedQueueError(f"{type(error).__name__}: {_message_of(error)}")
    failure.__cause__ = error
    return failure


def _storable(text: str) -> str:
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]}… ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode()
