"""Taking jobs over from another queue, each once, however often it is tried: for migrations, not for plugins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import redis

from xpert_mq.errors import InvalidJobError, ManagedQueueError, QueueUnavailableError
from xpert_mq.models import JobState
from xpert_mq.service import ManagedQueueService, PreparedJob, managed_queue
from xpert_mq.store.connection import Call
from xpert_mq.store.store import Added


@dataclass(frozen=True, slots=True)
class Adoption:
    """A job of another queue.

    Attributes:
        job: what `enqueue` takes as one mapping, or what the service's `prepare` has made of it.
        source_id: what the ledger notes; no other job of the other queue has it.
        attempts_made: tries that have ended there, of the job's `attempts`.
    """

    job: Mapping[str, Any] | PreparedJob
    source_id: str
    attempts_made: int = 0


@dataclass(frozen=True, slots=True)
class Adopted:
    """What became of an adoption.

    Attributes:
        outcome: `adopted`; `already`: the ledger had it, and nothing was added, whatever has become of that job since;
            `kept` or `conflict`: the id is held by a job that did not come from this ledger, of the same logical job or
            of another: nothing was added or noted.
        state: of the job that has the id now; None where the outcome is `already`.
    """

    job_id: str
    outcome: Literal["adopted", "already", "kept", "conflict"]
    state: JobState | None


class AdoptionLedger:
    """What has been taken over from one queue. It stays in Redis until it is told to forget.

    Args:
        name: of the other queue; any text.
    """

    def __init__(self, name: str, service: ManagedQueueService = managed_queue) -> None:
        if not name:
            raise InvalidJobError("an adoption ledger needs a name", field="name")
        self._name = name
        self._service = service
        self._key = service.store.keys.adopted + name

    def adopt_many(self, jobs: Sequence[Adoption]) -> list[Adopted]:
        """Add the jobs that the ledger does not have, and note them, each in one step; results in the order given.

        Calling again with the same source ids is safe, also after a crash or a QueueUnavailableError.

        Raises:
            InvalidJobError: for any of them, with its index; none is added then.
            QueueUnavailableError: Redis does not answer; any of them may have been added.
        """
        calls = [self._call(index, job) for index, job in enumerate(jobs)]
        replies = self._service.executor.run_many(calls)
        return [_adopted(call, added) for call, added in zip(calls, replies, strict=True)]

    def count(self) -> int:
        """How many jobs it has noted. Raises QueueUnavailableError."""
        with self._told():
            return int(self._service.get_redis().scard(self._key))

    def forget(self) -> None:
        """Forget all, when no job of the other queue is left that could be offered again.

        Raises QueueUnavailableError.
        """
        with self._told():
            self._service.get_redis().unlink(self._key)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (redis.RedisError, OSError) as error:
            raise QueueUnavailableError(self._service.settings.safe_redis_url, str(error).rstrip(".")) from error

    def _call(self, index: int, adoption: Adoption) -> Call[Added | None]:
        made = adoption.attempts_made
        try:
            if not adoption.source_id:
                raise InvalidJobError("source_id is missing", field="source_id")
            if isinstance(made, bool) or not isinstance(made, int) or made < 0:
                raise InvalidJobError(f"attempts_made must be 0 or more, not {made!r}", field="attempts_made")
            job = adoption.job
            prepared = job if isinstance(job, PreparedJob) else self._service.prepare(job)
        except ManagedQueueError as error:
            raise error.at(index) from error.__cause__
        return self._service.store.adopt(prepared.pending.call, self._name, adoption.source_id, made)


def _adopted(call: Call[Added | None], added: Added | None) -> Adopted:
    job_id = call.job_id or ""
    if added is None:
        return Adopted(job_id, "already", None)
    return Adopted(job_id, "adopted" if added.outcome == "created" else added.outcome, added.state)
