"""One job in full: what is read of it, and how it is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from xpert_mq.cli.output import duration, json_text, local_time, one_line, show_block, show_pairs, tenant_shown
from xpert_mq.cli.server_client import connected
from xpert_mq.errors import InvalidJobError
from xpert_mq.models import Actor, Envelope, JobSnapshot, Keep, Retention, parse_job_ref
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.keys import job_token, pool_keys
from xpert_mq.store.store import Record

#: Characters of a payload or result that are shown to people.
_SHOWN = 10_000


@dataclass(frozen=True, slots=True)
class Job:
    """A job as read; `due_at` in milliseconds where it waits for its time."""

    snapshot: JobSnapshot
    envelope: Envelope
    due_at: int | None


def read_job(service: ManagedQueueService, job_id: str, tenant_id: str | None) -> Job | None:
    """The job as it is now; None where the tenant has no such job (any more)."""
    ref = parse_job_ref(job_id, tenant_id)
    record = service.executor.run(service.store.read(ref.tenant_id, ref.job_id))
    if record is None:
        return None
    due_at = _due_at(service, record) if record.snapshot.state == "delayed" else None
    return Job(record.snapshot, record.envelope, due_at)


def _due_at(service: ManagedQueueService, record: Record) -> int | None:
    try:
        queue = service.settings.queue_name(record.envelope.execution_pool)
    except InvalidJobError:  # not declared any more
        return None
    token = job_token(record.snapshot.tenant_id, record.snapshot.id)
    with connected(service.settings) as client:
        due: Any = client.zscore(pool_keys(queue).delayed, token)
    return None if due is None else int(due)


def document(job: Job) -> dict[str, Any]:
    """The job for machines: the snapshot's fields, and what only the envelope knows."""
    snapshot = {field.name: getattr(job.snapshot, field.name) for field in dataclasses.fields(job.snapshot)}
    envelope = {name: getattr(job.envelope, name) for name in ("execution_pool", "actor", "delegation")}
    return {**snapshot, **envelope, "due_at": job.due_at}


def print_job(job: Job) -> None:
    """The job for people."""
    snapshot = job.snapshot
    known = [(name, one_line(value)) for name, value in (*_names(job), *_owners(job))]
    show_pairs([*known, *_times(job), *_tries(snapshot)])
    show_block("Payload", _cut(json_text(snapshot.data)))
    if snapshot.state == "completed":
        show_block("Return value", _cut(json_text(snapshot.return_value)))
    for number, stack in enumerate(snapshot.stacktrace, 1):
        show_block(f"Failed try, {number} of the {len(snapshot.stacktrace)} kept", stack)


def _names(job: Job) -> Iterator[tuple[str, object]]:
    snapshot = job.snapshot
    yield "job", snapshot.id
    yield "state", snapshot.state
    yield "plugin", snapshot.plugin_name
    yield "queue", snapshot.queue_name
    yield "job name", snapshot.name
    yield "pool", job.envelope.execution_pool


def _owners(job: Job) -> Iterator[tuple[str, object]]:
    snapshot = job.snapshot
    yield "tenant", tenant_shown(snapshot.tenant_id)
    for name, value in (
        ("organization", snapshot.organization_id),
        ("scope", snapshot.scope_key),
        ("user", snapshot.user_id),
        ("enqueued by", _actor(job.envelope.actor)),
    ):
        if value:
            yield name, value


def _actor(actor: Actor | None) -> str:
    if actor is None:
        return ""
    kinds = {"user": "user", "delegated_user": "an API client on behalf of user", "service": "an API client, as"}
    return f"{kinds.get(actor.type, actor.type)} {actor.user_id or 'nobody'}"


def _times(job: Job) -> Iterator[tuple[str, object]]:
    snapshot = job.snapshot
    yield "enqueued", local_time(snapshot.timestamp)
    if job.due_at is not None:
        yield "due", local_time(job.due_at)
    if snapshot.processed_on is not None:
        yield "latest try", local_time(snapshot.processed_on)
    if snapshot.finished_on is not None:
        took = f", took {duration(snapshot.finished_on - snapshot.processed_on)}" if snapshot.processed_on else ""
        yield "finished", local_time(snapshot.finished_on).removesuffix(")") + f"{took})"


def _tries(snapshot: JobSnapshot) -> Iterator[tuple[str, object]]:
    opts = snapshot.opts
    yield "tries", f"{snapshot.attempts_made} of {opts.attempts} ended"
    if snapshot.failed_reason is not None:
        yield "failed with", snapshot.failed_reason
    if opts.delay_ms:
        yield "delay", duration(opts.delay_ms)
    if opts.backoff_ms:
        yield "backoff", f"{opts.backoff_ms['type']}, {duration(opts.backoff_ms['delay'])}"
    yield "completed, is", _kept(opts.remove_on_complete)
    yield "failed, is", _kept(opts.remove_on_fail)


def _kept(keep: Keep) -> str:
    if keep is False:
        return "kept for ever"
    bounds: Retention = {"count": 0} if keep is True else {"count": keep} if isinstance(keep, int) else keep
    age, count = bounds.get("age"), bounds.get("count")
    if 0 in (age, count):
        return "removed at once"
    parts = [
        "" if age is None else f"kept for {duration(age * 1000)}",
        "" if count is None else f"among the latest {count}",
    ]
    return ", ".join(filter(None, parts))


def _cut(text: str) -> str:
    if len(text) <= _SHOWN:
        return text
    return f"{text[:_SHOWN]}\n… {len(text) - _SHOWN} more characters: --json has them all"
