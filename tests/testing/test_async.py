from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.testing.plugin import ASYNC_JOB, JOB
from xpert_mq import ManagedQueueJob, ManagedQueueService, current_context, registry
from xpert_mq.testing import EnqueuedJobs, JobRun

ARunJobs = Callable[..., Awaitable[list[JobRun]]]

pytestmark = pytest.mark.usefixtures("handlers")


async def test_async_test_enqueues_runs_and_lets_time_pass(
    managed_queue: ManagedQueueService,
    arun_jobs: ARunJobs,
    advance: Callable[[int], None],
    enqueued: EnqueuedJobs,
    use_context: Callable[..., Any],
) -> None:
    use_context(tenant_id="acme")
    await managed_queue.aenqueue(**ASYNC_JOB, job_id="1", payload={"fail": 1}, attempts=2, backoff_ms=60_000)
    assert enqueued(**ASYNC_JOB, tenant_id="acme").id == "1"
    assert [run.outcome for run in await arun_jobs()] == ["retry"]
    advance(60_000)
    assert [run.outcome for run in await arun_jobs()] == ["completed"]
    job = await managed_queue.aget_job("1")
    assert job is not None
    assert job.return_value["tenant"] == current_context().tenant_id == "acme"


async def test_handler_may_need_the_loop_of_the_test(managed_queue: ManagedQueueService, arun_jobs: ARunJobs) -> None:
    loop = asyncio.get_running_loop()

    async def answer() -> str:
        return "from the test's loop"

    def ask(job: ManagedQueueJob[Any]) -> str:
        return asyncio.run_coroutine_threadsafe(answer(), loop).result(5)

    registry.register(**{**JOB, "job_name": "ask"}, handler=ask)
    await managed_queue.aenqueue(**{**JOB, "job_name": "ask"})
    (run,) = await arun_jobs()
    assert run.result == "from the test's loop"
