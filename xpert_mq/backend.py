"""Job records as Celery results: whoever asks Celery for a result is answered from the record.

Nothing is written here for a try that dispatch could see: it has recorded the outcome itself, before Celery's tracer
reports it.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from celery import states
from celery.backends.base import BaseBackend
from celery.exceptions import SecurityError, TimeLimitExceeded, WorkerLostError
from celery.worker import state as worker_state

from xpert_mq.errors import QueueUnavailableError
from xpert_mq.models import JobSnapshot
from xpert_mq.node import node
from xpert_mq.service import ManagedQueueService, managed_queue
from xpert_mq.store.keys import split_task_id, split_token
from xpert_mq.store.store import Record

logger = logging.getLogger(__name__)

#: What became of a job whose process died.
_SAID = {"rerun": "it runs again", "failed": "it stalled too often and has failed", "other": "it had ended"}


class RecordBackend(BaseBackend):
    """The result backend of the platform's app."""

    persistent = True
    supports_autoexpire = True

    @property
    def service(self) -> ManagedQueueService:
        """The service whose records these are."""
        return managed_queue

    def as_uri(self, include_password: bool = False) -> str:
        """Where the records are; never with the password."""
        return self.service.settings.safe_redis_url

    def store_result(
        self, task_id: str, result: Any, state: str, traceback: Any = None, request: Any = None, **kwargs: Any
    ) -> Any:
        """Acts on what dispatch can't see: a revoked task is a cancelled job. All else is in the record already."""
        if state == states.REVOKED:
            self._revoked(task_id, result)
        elif isinstance(result, (WorkerLostError, TimeLimitExceeded)):
            self._take_back(task_id, result)
        return result

    def _take_back(self, task_id: str, error: Exception) -> None:
        """A pool's child has died with the job, or was killed: at its time limit, or by remote control."""
        try:
            token, generation = split_task_id(task_id)
        except ValueError:
            return
        # Those that a shutdown kills don't count.
        most = None if worker_state.should_terminate is not None else self.service.settings.max_stalled
        call = self.service.store.stall(token, node.id, generation=generation, most_stalls=most)
        try:
            what = self.service.executor.run(call, timeout=self.service.settings.node_timeout)
        except QueueUnavailableError:
            # It stays this node's, and is taken back when the node goes.
            logger.exception("job %s could not be taken back", task_id, extra={"action": "take_back_failed"})
            return
        logger.warning("job %s: %s: %s", task_id, error, _SAID[what], extra={"action": f"job_stalled_{what}"})

    def _revoked(self, task_id: str, result: Any) -> None:
        """Cancels the job. One that runs can't be cancelled; `terminate` has ended its process, or its greenlet."""
        try:
            token, generation = split_task_id(task_id)
            outcome = self.service.executor.run(self.service.store.cancel(*split_token(token), generation))
            if outcome.state == "active" and str(result) == "terminated":
                self._take_back(task_id, result)
        except ValueError:
            logger.warning("revoked task %s is not a job", task_id)
        except QueueUnavailableError:
            logger.exception("revoked task %s could not be cancelled", task_id)

    def _get_task_meta_for(self, task_id: str) -> dict[str, Any]:
        try:
            token, generation = split_task_id(task_id)
        except ValueError:
            return _meta(task_id, states.PENDING)
        record = self.service.executor.run(self.service.store.read(*split_token(token)))
        if record is None or not record.answers_for(generation):
            return _meta(task_id, states.PENDING)
        return self._meta_of(task_id, record)

    def _meta_of(self, task_id: str, record: Record) -> dict[str, Any]:
        job = record.snapshot
        state = _celery_state(job)
        result = job.return_value if state == states.SUCCESS else None
        if state in states.EXCEPTION_STATES:
            module, _, name = (record.failed_type or "builtins.Exception").rpartition(".")
            failure = {"exc_type": name, "exc_module": module, "exc_message": (job.failed_reason or "",)}
            result = self._exception_of(failure)
        return {
            **_meta(task_id, state, result),
            "traceback": job.stacktrace[-1] if job.stacktrace and state in states.EXCEPTION_STATES else None,
            "date_done": None if job.finished_on is None else datetime.fromtimestamp(job.finished_on / 1000, UTC),
            "name": f"{job.plugin_name}/{job.queue_name}/{job.name}",
            "retries": job.attempts_made,
        }

    def _exception_of(self, failure: dict[str, Any]) -> BaseException:
        try:
            found: BaseException = self.exception_to_python(failure)
        except SecurityError:
            # The name means something else in this process.
            return Exception(*failure["exc_message"])
        return found


def _celery_state(job: JobSnapshot) -> Any:
    """Celery's word for a job's state; between two tries it is RETRY."""
    if job.state in ("waiting", "delayed"):
        return states.RETRY if job.attempts_made else states.PENDING
    return {"active": states.STARTED, "completed": states.SUCCESS, "failed": states.FAILURE}[job.state]


def _meta(task_id: str, state: str, result: Any = None) -> dict[str, Any]:
    return {"task_id": task_id, "status": state, "result": result, "traceback": None, "children": []}
