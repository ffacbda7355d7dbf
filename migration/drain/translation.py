"""Jobs of an old queue, described for the managed queue."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from xpert_mq import ManagedQueueError, ManagedQueueService
from xpert_mq.adoption import Adoption

from .errors import MappingError
from .mapping import Found, JobMapping, Nothing, Rule
from .old_job import OldJob, UnfitError, lost_options, managed_options


@dataclass(frozen=True, slots=True)
class Move:
    """A job, what it becomes, the name of that as `plugin/queue/job`, and the options that get lost."""

    job: OldJob
    adoption: Adoption
    target: str
    lost: Collection[str]


class Translator:
    """Translates the jobs of one queue by a mapping file.

    Args:
        service: of the managed queue; it is asked whether it would take a job.

    Raises:
        MappingError: a rule gives the managed queue what it never takes.
    """

    def __init__(self, mapping: JobMapping, queue: str, service: ManagedQueueService) -> None:
        self._mapping = mapping
        self._queue = queue
        self._service = service
        for table, rule in mapping.rules_of(queue):
            self._check(table, rule)

    def translate(self, job: OldJob) -> Move:
        """The job as the managed queue takes it.

        Raises:
            UnfitError: why it can't be.
        """
        described = self.describe(job)
        try:
            prepared = self._service.prepare(described)
        except ManagedQueueError as error:
            raise UnfitError(f"the managed queue does not take it: {error}") from error
        target = "/".join(described[part] for part in ("plugin_name", "queue_name", "job_name"))
        return Move(job, Adoption(prepared, job.source_id, job.attempts_made), target, lost_options(job.opts()))

    def describe(self, job: OldJob) -> dict[str, Any]:
        """What `enqueue` would be given. Raises UnfitError."""
        job.check()
        job_id, name = _text(job.id, "id"), _text((job.hash or {})["name"], "name")
        rule = self._mapping.rule(self._queue, name)
        described = {**rule.fields(job_id, self._queue, name, job.data()), **managed_options(job.opts())}
        return {**described, "delay_ms": job.due_in_ms} if job.due_in_ms else described

    def _check(self, table: str, rule: Rule) -> None:
        sample = {"job_name": "job", **{field: value for field, value in rule if _is_sent(field, value)}}
        for field in ("plugin_name", "queue_name"):
            sample.setdefault(field, "name")
        try:
            self._service.prepare(sample)
        except ManagedQueueError as error:
            raise MappingError(f"{self._mapping.file}: {table} {error}") from error


def _is_sent(field: str, value: object) -> bool:
    return field not in ("id", "payload") and value is not None and not isinstance(value, (Found, Nothing))


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise UnfitError(f"its {what} is not UTF-8 text") from None
