from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.testing.plugin import JOB
from xpert_mq import ManagedQueueService
from xpert_mq.testing import JobRun, WorkerProcess


@pytest.fixture(scope="module")
def xpert_mq_settings() -> Mapping[str, Any]:
    return {"plugins": ("tests.testing.plugin",), "heartbeat_interval": 0.5, "node_timeout": 2}


def test_real_worker_runs_jobs_and_can_be_killed(
    managed_queue: ManagedQueueService,
    start_worker: Callable[..., WorkerProcess],
    advance: Callable[[int], None],
    run_jobs: Callable[[], list[JobRun]],
) -> None:
    worker = start_worker()
    managed_queue.enqueue(**JOB, job_id="1", tenant_id="acme", payload={"fail": 1}, attempts=2)
    job = worker.finished("1", "acme")
    assert job.return_value == {"tenant": "acme", "pid": worker.pid, "attempts_made": 1}

    managed_queue.enqueue(**JOB, job_id="delayed", delay_ms=600_000)
    advance(600_000)
    assert worker.finished("delayed").state == "completed"

    worker.kill()
    assert not worker.is_running
    managed_queue.enqueue(**JOB, job_id="2")
    assert [run.result["pid"] for run in run_jobs()] == [os.getpid()]
    with pytest.raises(AssertionError, match="job 'nobody' is not kept after 0 s"):
        worker.finished("nobody", timeout=0)


@pytest.mark.slow
def test_worker_that_does_not_start_says_why(start_worker: Callable[..., WorkerProcess]) -> None:
    with pytest.raises(AssertionError, match=r"the worker has ended with 2\n(?s:.*)No such option"):
        start_worker("--nonsense")
