from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.testing.plugin import ASYNC_JOB, JOB
from xpert_mq import InvalidJobError, ManagedQueueJob, ManagedQueueService, ScopeMismatchError, registry
from xpert_mq.testing import JobRun, QueueKit

RunJobs = Callable[..., list[JobRun]]

pytestmark = pytest.mark.usefixtures("handlers")


def outcomes(runs: list[JobRun]) -> list[str]:
    return [run.outcome for run in runs]


def test_crash_within_a_handler_runs_the_job_again_from_its_checkpoint(
    managed_queue: ManagedQueueService, run_jobs: RunJobs, queue_kit: QueueKit
) -> None:
    seen: list[tuple[Any, int]] = []

    def handle(job: ManagedQueueJob[Any]) -> None:
        seen.append((job.data, job.attempts_made))
        if job.data == "start":
            job.update_data("half")
            queue_kit.crash()

    registry.register(**{**JOB, "job_name": "crashes"}, handler=handle)
    managed_queue.enqueue(**{**JOB, "job_name": "crashes"}, job_id="1", payload="start")
    managed_queue.enqueue(**JOB, job_id="2")

    runs = run_jobs()
    assert [(run.job_id, run.outcome) for run in runs] == [("1", "crashed"), ("1", "completed"), ("2", "completed")]
    assert seen == [("start", 0), ("half", 0)]
    assert queue_kit.finished("1").attempts_made == 1


@pytest.mark.parametrize("job", [JOB, ASYNC_JOB], ids=["sync", "async"])
def test_crash_after_a_handler_runs_it_again(
    managed_queue: ManagedQueueService, run_jobs: RunJobs, queue_kit: QueueKit, job: dict[str, Any]
) -> None:
    managed_queue.enqueue(**job, job_id="1")
    queue_kit.crash_after_handler()
    assert outcomes(run_jobs()) == ["crashed", "completed"]
    managed_queue.enqueue(**job)
    assert outcomes(run_jobs()) == ["completed"]


def test_second_crash_fails_the_job(managed_queue: ManagedQueueService, run_jobs: RunJobs, queue_kit: QueueKit) -> None:
    managed_queue.enqueue(**JOB, job_id="1", payload={"fail": 1}, attempts=5)
    queue_kit.crash_after_handler(times=2)
    assert outcomes(run_jobs()) == ["crashed", "crashed"]
    assert queue_kit.finished("1").failed_reason == "job stalled more than allowable limit"


def test_crash_in_an_async_handler(managed_queue: ManagedQueueService, run_jobs: RunJobs, queue_kit: QueueKit) -> None:
    async def handle(job: ManagedQueueJob[Any]) -> None:
        queue_kit.crash(job)

    registry.register(**{**JOB, "job_name": "crashes"}, handler=handle)
    managed_queue.enqueue(**{**JOB, "job_name": "crashes"})
    assert outcomes(run_jobs()) == ["crashed", "crashed"]


def test_message_that_comes_twice_runs_the_job_once(
    managed_queue: ManagedQueueService, run_jobs: RunJobs, queue_kit: QueueKit
) -> None:
    managed_queue.enqueue(**JOB, job_id="1", tenant_id="acme")
    queue_kit.deliver_again("1", "acme")
    assert managed_queue.get_redis().llen(managed_queue.settings.queue_name()) == 2
    assert outcomes(run_jobs()) == ["completed"]
    queue_kit.deliver_again("1", "acme")
    assert run_jobs() == []
    with pytest.raises(LookupError, match="no job '1' is kept of tenant 'other'"):
        queue_kit.deliver_again("1", "other")


def test_message_made_for_a_second_delivery_is_good_for_the_first(
    managed_queue: ManagedQueueService, run_jobs: RunJobs, queue_kit: QueueKit
) -> None:
    """So it is dropped for coming second, and not for its form."""
    managed_queue.enqueue(**JOB, job_id="1")
    managed_queue.get_redis().rpop(managed_queue.settings.queue_name())
    queue_kit.deliver_again("1")
    assert outcomes(run_jobs()) == ["completed"]


def test_stale_message_runs_nothing(managed_queue: ManagedQueueService, run_jobs: RunJobs, queue_kit: QueueKit) -> None:
    managed_queue.enqueue(**JOB, job_id="cancelled")
    assert managed_queue.cancel("cancelled").success
    queue_kit.deliver_stale("cancelled")
    managed_queue.enqueue(**JOB, job_id="later", delay_ms=60_000)
    queue_kit.deliver_stale("later")
    managed_queue.enqueue(**JOB, job_id="waiting")
    managed_queue.get_redis().lpop(managed_queue.settings.queue_name())
    queue_kit.deliver_stale("waiting")
    assert managed_queue.get_redis().llen(managed_queue.settings.queue_name()) > 1
    assert run_jobs() == []
    jobs = [managed_queue.get_job(id_) for id_ in ("later", "waiting")]
    assert [job and job.state for job in jobs] == ["delayed", "waiting"]
    assert managed_queue.get_redis().llen(managed_queue.settings.queue_name()) == 0


def test_message_is_of_the_tenant_of_the_context(
    managed_queue: ManagedQueueService, run_jobs: RunJobs, queue_kit: QueueKit, use_context: Callable[..., Any]
) -> None:
    use_context(tenant_id="acme")
    managed_queue.enqueue(**JOB, job_id="1")
    client, queue = managed_queue.get_redis(), managed_queue.settings.queue_name()
    queue_kit.deliver_again("1")
    queue_kit.deliver_stale("1")
    ids = [json.loads(message)["headers"]["id"] for message in client.lrange(queue, 0, -1)]
    assert [id_.rpartition(":")[0] for id_ in ids] == ["4:acme:1"] * 3
    with pytest.raises(ScopeMismatchError):
        queue_kit.deliver_stale("1", "other")
    with pytest.raises(InvalidJobError):
        queue_kit.deliver_stale(None)  # type: ignore[arg-type]
    assert outcomes(run_jobs()) == ["completed"]


@pytest.mark.parametrize("attempts", [1, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt("stop"), pytest.fail.Exception("stop")], ids=["interrupt", "fail"])
def test_what_ends_a_test_is_not_kept_from_it(
    managed_queue: ManagedQueueService, run_jobs: RunJobs, error: BaseException, attempts: int
) -> None:
    def handle(job: ManagedQueueJob[Any]) -> None:
        raise error

    registry.register(**{**JOB, "job_name": "ends"}, handler=handle)
    managed_queue.enqueue(**{**JOB, "job_name": "ends"}, attempts=attempts)
    with pytest.raises(BaseException, match="stop") as caught:
        run_jobs()
    assert not isinstance(caught.value, Exception)


def test_what_ends_a_worker_ends_run_jobs_and_the_job_can_run_later(
    managed_queue: ManagedQueueService, run_jobs: RunJobs
) -> None:
    from celery.exceptions import WorkerShutdown

    def handle(job: ManagedQueueJob[Any]) -> None:
        raise WorkerShutdown(0)

    registry.register(**{**JOB, "job_name": "ends"}, handler=handle)
    managed_queue.enqueue(**{**JOB, "job_name": "ends"})
    with pytest.raises(WorkerShutdown):
        run_jobs()
    managed_queue.enqueue(**JOB)
    assert outcomes(run_jobs()) == ["completed"]
