"""The figures at the end: counts and times per tenant and logical job, and what the service was asked."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from xpert_mq import JobSnapshot

from ..wechat.server import Entry
from .plan import TenantPlan
from .seen import Key, Seen
from .tries import Try


@dataclass(frozen=True, slots=True)
class Times:
    """Of some tries, in milliseconds; None where there were none."""

    p50: float | None
    p95: float | None

    @classmethod
    def of(cls, values: Iterable[float]) -> Times:
        ordered = sorted(values)
        return cls(_percentile(ordered, 0.5), _percentile(ordered, 0.95))


@dataclass(frozen=True, slots=True)
class JobFigures:
    """A logical job of a tenant.

    Attributes:
        cancelled: removed before they ended: by a cancel or by a pause.
        tries: all that have ended, `deferred` those that ended by Defer.
        wait: from the moment when a try was due (enqueued; or after its delay, its backoff or its Defer) to its start.
        run: from its start until its outcome was recorded.
    """

    tenant: str
    logical: str
    jobs: int
    completed: int
    failed: int
    cancelled: int
    tries: int
    deferred: int
    wait: Times
    run: Times


def job_figures(seen: Seen) -> list[JobFigures]:
    """A line for each tenant and logical job, in the order of the jobs."""
    tries: dict[Key, list[Try]] = defaultdict(list)
    for one in sorted(seen.tries, key=lambda one: one.began):
        tries[one.tenant, one.job_id].append(one)
    groups: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for tenant, job_id in seen.jobs:
        groups[tenant, job_id.partition(":")[0]].append((tenant, job_id))
    return [_job_figures(keys, seen, tries) for keys in groups.values()]


def _job_figures(keys: Sequence[Key], seen: Seen, tries: dict[Key, list[Try]]) -> JobFigures:
    own = [one for key in keys for one in tries[key]]
    jobs = [seen.jobs[key] for key in keys]
    states = Counter(job.state if job else "cancelled" for job in jobs)
    return JobFigures(
        tenant=keys[0][0],
        logical=own[0].logical if own else keys[0][1],
        jobs=len(jobs),
        completed=states["completed"],
        failed=states["failed"],
        cancelled=states["cancelled"],
        tries=len(own),
        deferred=sum(one.deferred for one in own),
        wait=Times.of(wait for key in keys for wait in _waits(seen.jobs[key], tries[key])),
        run=Times.of(one.ended_ms - one.began_ms for one in own),
    )


def _waits(job: JobSnapshot | None, tries: Sequence[Try]) -> Iterator[float]:
    # Of a job whose record is gone nobody knows when it was enqueued: its first try is left out.
    due: float | None = job.timestamp + job.opts.delay_ms if job else None
    for one in tries:
        if due is not None:
            # Due times are noted a moment apart by two clocks: less than nothing is nothing.
            yield max(0.0, one.began_ms - due)
        due = one.ended_ms + one.again_ms if one.again_ms is not None else None


def _percentile(ordered: Sequence[float], part: float) -> float | None:
    return ordered[math.ceil(part * len(ordered)) - 1] if ordered else None


@dataclass(frozen=True, slots=True)
class ServiceFigures:
    """What the service was asked for a tenant.

    Attributes:
        messages, dispatches: taken; `texts` were in the dispatches.
        failed, refused, throttled: not taken.
        duplicate: asked again for what was taken, since the answer was lost.
    """

    tenant: str
    requests: int
    messages: int
    dispatches: int
    texts: int
    throttled: int
    failed: int
    refused: int
    duplicate: int


def service_figures(plan: Iterable[TenantPlan], log: Sequence[Entry]) -> list[ServiceFigures]:
    """A line for each tenant."""
    return [_service_figures(one, log) for one in plan]


def _service_figures(plan: TenantPlan, log: Sequence[Entry]) -> ServiceFigures:
    tokens = {plan.token(integration) for integration in plan.integrations}
    own = [entry for entry in log if entry.token in tokens]
    taken = [entry for entry in own if entry.outcome == "accepted"]
    outcomes = Counter(entry.outcome for entry in own)
    dispatches = [entry for entry in taken if entry.path == "/dispatches"]
    return ServiceFigures(
        tenant=plan.tenant,
        requests=len(own),
        messages=len(taken) - len(dispatches),
        dispatches=len(dispatches),
        texts=sum(len(entry.content["texts"]) for entry in dispatches),
        throttled=outcomes["throttled"],
        failed=outcomes["failed"],
        refused=outcomes["refused"],
        duplicate=outcomes["duplicate"],
    )
