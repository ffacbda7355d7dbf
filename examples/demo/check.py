"""What became of the jobs, read from the system, and what is wrong with it."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from examples.demo.plan import TENANTS, Key, Planned, organization_of
from examples.demo.plugin import tally_key
from xpert_mq import JobSnapshot, managed_queue, request_context


@dataclass(frozen=True)
class Told:
    """What the producer said about a job: enqueueings that made one, and the outcome of its cancel."""

    created: int
    cancel: str | None


@dataclass
class Seen:
    """What the system says about all jobs, and the handlers about their starts."""

    snapshots: dict[Key, JobSnapshot | None] = field(default_factory=dict)
    starts: Counter[Key] = field(default_factory=Counter)
    submissions: Counter[Key] = field(default_factory=Counter)
    #: By tenant and id, for ids that only another tenant uses: the snapshots that must not be there.
    strangers: dict[Key, JobSnapshot | None] = field(default_factory=dict)


def read_told(lines: Iterable[str]) -> dict[Key, Told]:
    """The producer's output."""
    told = (json.loads(line) for line in lines)
    return {(tenant, job_id): Told(created, cancel) for tenant, job_id, created, cancel in told}


def look(plan: Sequence[Planned]) -> Seen:
    """Reads everything that `faults` compares."""
    seen = Seen()
    ids = {tenant: {job.job_id for job in plan if job.tenant == tenant} for tenant in TENANTS}
    for tenant in TENANTS:
        with request_context(tenant_id=tenant, organization_id=organization_of(tenant)):
            for job_id in ids[tenant]:
                seen.snapshots[tenant, job_id] = managed_queue.get_job(job_id)
            for job_id in set().union(*ids.values()) - ids[tenant]:
                seen.strangers[tenant, job_id] = managed_queue.get_job(job_id)
            seen.starts.update(_tally(tenant, "starts"))
            seen.submissions.update(_tally(tenant, "submissions"))
    return seen


def _tally(tenant: str, name: str) -> dict[Key, int]:
    counts: Any = managed_queue.get_redis().hgetall(tally_key(name))
    return {(tenant, job_id.decode()): int(number) for job_id, number in counts.items()}


def faults(plan: Sequence[Planned], told: Mapping[Key, Told], seen: Seen) -> list[str]:
    """All that is off, in words; nothing if the numbers add up."""
    found = [
        f"{tenant} sees the job {job_id} of another tenant" for (tenant, job_id), job in seen.strangers.items() if job
    ]
    unplanned = (seen.starts.keys() | told.keys()) - {job.key for job in plan}
    found += [f"{_named(key)} is not in the plan" for key in sorted(unplanned)]
    for job in plan:
        found += [f"{_named(job.key)} ({job.kind}) {fault}" for fault in _faults_of(job, told.get(job.key), seen)]
    return found


def _faults_of(job: Planned, told: Told | None, seen: Seen) -> Iterator[str]:
    if job.copies and (told is None or told.created != 1):
        yield f"was to be made once in {job.copies} enqueueings, not {told.created if told else 0} times"
    snapshot, starts = seen.snapshots.get(job.key), seen.starts[job.key]
    cancelled = told is not None and told.cancel == "cancelled"
    if job.outcome == "cancelled" and not cancelled:
        yield f"could not be cancelled: {told.cancel if told else 'the producer never tried'}"
    if cancelled:
        if snapshot is not None:
            yield f"was cancelled, and is still there: {snapshot.state}"
        if starts:
            yield f"was cancelled, and its handler ran {starts} times"
        return
    if snapshot is None:
        yield "is lost: the system does not know it"
        return
    if job.starts is not None and starts != job.starts:
        yield f"was to start {job.starts} times, not {starts}"
    if job.starts is None and starts < 1:
        yield "never started"
    if job.kind == "checkpointed" and seen.submissions[job.key] != 1:
        yield f"was submitted to the provider {seen.submissions[job.key]} times, not once"
    yield from _faults_of_snapshot(job, snapshot)


def _faults_of_snapshot(job: Planned, snapshot: JobSnapshot) -> Iterator[str]:
    expected = "failed" if job.outcome == "failed" else "completed"
    if snapshot.state != expected:
        yield f"is {snapshot.state} ({snapshot.failed_reason}), not {expected}"
        return
    if snapshot.attempts_made != job.tries or len(snapshot.stacktrace) != job.tries - (expected == "completed"):
        yield f"took {snapshot.attempts_made} tries ({len(snapshot.stacktrace)} stack traces), not {job.tries}"
    early = snapshot.timestamp + job.not_before_ms - (snapshot.processed_on or 0)
    if early > 0:
        yield f"started {early} ms too early"
    owners = {snapshot.tenant_id, snapshot.data["tenant"]}
    if expected == "completed":
        owners.add(snapshot.return_value["tenant"])
    if owners != {job.tenant} or snapshot.organization_id != organization_of(job.tenant):
        yield f"has got mixed up with another tenant's: {owners}"
    if job.kind == "checkpointed" and snapshot.data.get("phase") != "succeeded":
        yield f"lost its checkpoint: {snapshot.data}"


def _named(key: Key) -> str:
    return f"{key[0]}'s job {key[1]}"


@dataclass(frozen=True)
class Row:
    """One line of the final table: a logical job of a tenant."""

    tenant: str
    plugin: str
    job: str
    planned: int
    completed: int
    failed: int
    cancelled: int
    tries: int
    starts: int
    wait_p50_ms: float | None


def rows(plan: Sequence[Planned], seen: Seen) -> list[Row]:
    """Counts and times per tenant and logical job. A wait is counted from the moment when a job could have run, for
    those that started once.
    """
    groups: dict[tuple[str, tuple[str, str, str]], list[Planned]] = {}
    for job in plan:
        groups.setdefault((job.tenant, job.logical), []).append(job)
    return [_row(tenant, logical, jobs, seen) for (tenant, logical), jobs in groups.items()]


def _row(tenant: str, logical: tuple[str, str, str], jobs: Sequence[Planned], seen: Seen) -> Row:
    kept = [snapshot for job in jobs if (snapshot := seen.snapshots.get(job.key)) is not None]
    states = Counter(snapshot.state for snapshot in kept)
    waits = [
        snapshot.processed_on - snapshot.timestamp - snapshot.opts.delay_ms
        for snapshot in kept
        if snapshot.processed_on is not None and seen.starts[tenant, snapshot.id] == 1
    ]
    return Row(
        tenant=tenant,
        plugin=logical[0].rpartition("/plugin-")[2],
        job=logical[2],
        planned=len(jobs),
        completed=states["completed"],
        failed=states["failed"],
        cancelled=len(jobs) - len(kept),
        tries=sum(snapshot.attempts_made for snapshot in kept),
        starts=sum(seen.starts[job.key] for job in jobs),
        wait_p50_ms=statistics.median(waits) if waits else None,
    )
