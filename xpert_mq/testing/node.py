"""A worker node in the test's own process, which runs one job at a time.

It goes a worker's way: the transport's channel and fetch script, Celery's request and tracer, the generic task, and the
result backend. Only the consumer's loop, which would wait for work, and the pool are not there.
"""

from __future__ import annotations

import contextvars
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import signals, states
from celery.app.trace import trace_task_ret
from celery.concurrency.base import apply_target
from celery.worker import state as worker_state
from kombu import Consumer, Exchange, Queue

from xpert_mq.celery import app
from xpert_mq.dispatch import JobRequest
from xpert_mq.service import managed_queue
from xpert_mq.settings import Settings
from xpert_mq.store.keys import split_task_id, split_token
from xpert_mq.testing.runs import JobRun, RunOutcome


class InProcessNode:
    """Fetches from the pools of the settings, and runs what it gets in the calling thread.

    Makes no connection before the first fetch; `close` ends it.
    """

    def __init__(self, settings: Settings) -> None:
        self._queues = [settings.queue_name(pool) for pool in settings.pools]
        self._connection: Any = None
        self._channel: Any = None
        self._message: Any = None

    def run_next(self) -> JobRun | None:
        """Runs the job of the next message; None when there is no message."""
        message = self._fetched()
        if message is None:
            return None
        try:
            # A worker has no context of the code that enqueued.
            return contextvars.Context().run(_run, message)
        except BaseException:
            # The message is not acknowledged: it goes back when the next channel fetches.
            self.close()
            raise

    def close(self) -> None:
        """Ends the connection."""
        if self._connection is not None:
            self._connection.release()
            self._connection = self._channel = None

    def _fetched(self) -> Any:
        channel = self._channel or self._connected()
        self._message = None
        while self._message is None and channel.fetch():
            pass
        return self._message

    def _connected(self) -> Any:
        self._connection = app.connection_for_read()
        self._channel = channel = self._connection.channel()
        consumer = Consumer(
            channel,
            queues=[Queue(name, Exchange(""), routing_key=name) for name in self._queues],
            on_message=functools.partial(setattr, self, "_message"),
            accept=["json"],
            auto_declare=False,
        )
        # One at a time, so that a job which must come before the next one is seen in between.
        consumer.qos(prefetch_count=1)
        consumer.consume()
        return channel


def _run(message: Any) -> JobRun:
    request = JobRequest(
        message, app=app, on_ack=message.ack_log_error, on_reject=message.reject_log_error, connection_errors=()
    )
    token, _ = split_task_id(request.id)
    tenant_id, job_id = split_token(token)
    record = managed_queue.executor.run(managed_queue.store.read(tenant_id, job_id))
    with _watched() as seen, _active(request):
        # What the pool `solo` does, but for the process' current application, which stays the host's.
        apply_target(
            functools.partial(trace_task_ret, app=app),
            (request.task.name, request.id, request.request_dict, request.body, message.content_type, "utf-8"),
            # The process died: a pool with child processes would tell the other callback.
            callback=lambda result: (
                request.on_failure(result) if isinstance(result, ExceptionInfo) else request.on_success(result)
            ),
            accept_callback=request.on_accepted,
        )
    job = record.snapshot if record else None
    if job is None or seen.outcome == "dropped":
        return JobRun(job_id, "dropped", tenant_id=tenant_id)
    names = job.plugin_name, job.queue_name, job.name
    return JobRun(job_id, seen.outcome, *names, tenant_id, job.attempts_made, seen.result, seen.error)


@dataclass(slots=True)
class _Seen:
    """What the tracer says of a task when it has ended; nothing, if the process dies."""

    outcome: RunOutcome = "crashed"
    result: Any = None
    error: BaseException | None = None

    def note(self, task: Any, retval: Any, state: str | None, **_: Any) -> None:
        """Receives the signal."""
        attempt = getattr(task.request, "job_try", None)
        if state == states.SUCCESS:
            self.outcome, self.result = "completed", retval
        elif state == states.FAILURE:
            self.outcome, self.error = "failed", retval
        elif state == states.RETRY and attempt is not None and attempt.failure:
            self.outcome, self.error = "retry", retval.exc
        elif state is not None:
            self.outcome = "deferred" if state == states.RETRY else "dropped"


@contextmanager
def _active(request: Any) -> Iterator[None]:
    """Celery's account of what runs, whatever ends it: what is in there takes a channel's place."""
    try:
        yield
    except BaseException:
        worker_state.task_ready(request)
        raise


@contextmanager
def _watched() -> Iterator[_Seen]:
    seen = _Seen()
    signals.task_postrun.connect(seen.note, weak=False)
    try:
        yield seen
    finally:
        signals.task_postrun.disconnect(seen.note)
