"""Enqueues the plan, as an application would, and cancels what is to be cancelled.

Writes one line of JSON per job: tenant, id, how many of its enqueueings made a job, and what became of a cancel.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from examples.demo.plan import TENANTS, Planned, make_plan, organization_of
from xpert_mq import EnqueueResult, managed_queue, request_context


async def enqueue(jobs: list[Planned]) -> Counter[str]:
    """Enqueues each job as often as planned. Gives, by id, how many of these calls made a job."""
    results = await managed_queue.aenqueue_many([job.request() for job in jobs for _ in range(job.copies)])
    created: Counter[str] = Counter()
    for result in results:
        if not isinstance(result, EnqueueResult):
            raise result
        created[result.job_id] += result.created
    return created


async def cancel(job: Planned) -> str | None:
    """`cancelled`, or what stood against it; None for a job that is not to be cancelled."""
    if job.outcome not in ("cancelled", "any"):
        return None
    result = await managed_queue.acancel(job.job_id)
    return "cancelled" if result.success else result.reason


async def main() -> None:
    """Works for one tenant after the other, as three requests would."""
    plan = make_plan()
    for tenant in TENANTS:
        jobs = [job for job in plan if job.tenant == tenant and job.copies]
        async with request_context(tenant_id=tenant, organization_id=organization_of(tenant), user="user-1"):
            created = await enqueue(jobs)
            # The last first: those have the best chance not to run yet.
            cancels = {job.job_id: await cancel(job) for job in reversed(jobs)}
        for job in jobs:
            print(json.dumps([tenant, job.job_id, created[job.job_id], cancels[job.job_id]]))


if __name__ == "__main__":
    asyncio.run(main())
