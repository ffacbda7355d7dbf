"""Errors that end, or break, what they meet: the try fails, and the worker goes on."""

from __future__ import annotations

import contextlib

import pytest

from tests.acceptance.conftest import MOST_POOLS
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for

#: Errors that can't be shown, that are no Exception, that Celery takes for the end of a process, that are large.
HOWS = ["no-text", "not-text", "base", "cancelled", "huge", "memory"]


@pytest.mark.parametrize("hows", [HOWS, ["exit"]], ids=["errors", "exit"])
@pytest.mark.parametrize("pool", MOST_POOLS)
def test_any_error_is_a_failed_try_and_the_worker_goes_on(deployment: Deployment, pool: str, hows: list[str]) -> None:
    worker = deployment.worker(pool=pool)
    jobs = {
        deployment.enqueue(
            "fail", {"times": 1, "how": how}, queue=queue, attempts=attempts, job_id=f"{how}:{queue}:{attempts}"
        ): attempts
        for how in hows
        for attempts in (2, 1)
        for queue in ("sync", "async")
    }

    with contextlib.suppress(AssertionError):
        wait_for(lambda: all(deployment.job(one).state in ("completed", "failed") for one in jobs), "all jobs", 10)

    ended = {one: (deployment.job(one).state, deployment.job(one).attempts_made) for one in jobs}
    assert ended == {one: ("completed", 2) if attempts == 2 else ("failed", 1) for one, attempts in jobs.items()}
    assert deployment.run("echo", "after").state == "completed"
    worker.process.reload()
    assert worker.process.status == "running"
