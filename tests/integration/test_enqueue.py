from __future__ import annotations

from typing import Any

import pytest

from tests.integration.pretend import JOB, STATES, PretendWorker
from xpert_mq.errors import InvalidJobError, JobIdConflictError
from xpert_mq.models import JobSnapshot


def test_enqueue_gives_id_and_state(any_worker: PretendWorker) -> None:
    result = any_worker.enqueue("id")

    assert (result.job_id, result.created, result.state) == ("id", True, "waiting")
    assert any_worker.claim_next().job_id == "id"


def test_enqueue_delayed_gives_state(worker: PretendWorker) -> None:
    assert worker.enqueue("id", delay_ms=60_000).state == "delayed"
    assert worker.messages() == []


@pytest.mark.parametrize("delay_ms", [0, -1, -0.5, 0.5, None])
def test_enqueue_without_real_delay_waits(worker: PretendWorker, delay_ms: float | None) -> None:
    assert worker.enqueue(delay_ms=delay_ms).state == "waiting"
    assert len(worker.messages()) == 1


def test_enqueue_without_id_makes_fresh_ones(worker: PretendWorker) -> None:
    ids = {worker.service.enqueue(JOB).job_id for _ in range(50)}

    assert len(ids) == 50
    assert all(worker.job(job_id) for job_id in ids)


def test_enqueue_three_spellings_same_job(worker: PretendWorker) -> None:
    service = worker.service
    camel: dict[str, Any] = {"pluginName": "p", "queueName": "q", "jobName": "j", "payload": 1, "tenantId": "t"}
    snake = {"plugin_name": "p", "queue_name": "q", "job_name": "j", "payload": 1, "tenant_id": "t"}
    made = [service.enqueue(**snake), service.enqueue(**camel), service.enqueue(camel), service.enqueue(snake)]

    def but_identity(job: JobSnapshot) -> tuple[Any, ...]:
        return (job.name, job.data, job.opts, job.plugin_name, job.queue_name, job.tenant_id, job.state)

    assert len({repr(but_identity(worker.job(result.job_id, "t"))) for result in made}) == 1


@pytest.mark.parametrize("state", STATES)
def test_enqueue_again_changes_nothing_in_any_state(any_worker: PretendWorker, state: str) -> None:
    any_worker.bring_to(state, "id", payload={"first": True})
    before, messages = any_worker.job("id"), any_worker.messages()

    result = any_worker.enqueue("id", payload={"second": True}, delay_ms=5, attempts=7, remove_on_complete=True)

    assert (result.job_id, result.created, result.state) == ("id", False, state)
    assert any_worker.job("id") == before
    assert any_worker.messages() == messages


@pytest.mark.parametrize("backoff", [0, 60_000])
def test_enqueue_again_between_tries(worker: PretendWorker, backoff: int) -> None:
    worker.enqueue("id", attempts=2)
    worker.fail_try(worker.claim_next(), delay_ms=backoff)

    result = worker.enqueue("id")

    assert (result.created, result.state) == (False, "delayed" if backoff else "waiting")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("field", ["plugin_name", "queue_name", "job_name"])
def test_enqueue_conflict_in_any_state(any_worker: PretendWorker, state: str, field: str) -> None:
    any_worker.bring_to(state, "id", payload="mine", tenant_id="t")
    before, messages = any_worker.job("id", "t"), any_worker.messages()

    with pytest.raises(JobIdConflictError) as caught:
        any_worker.enqueue("id", tenant_id="t", **{field: "another"})

    assert (caught.value.job_id, caught.value.tenant_id) == ("id", "t")
    assert caught.value.holder == ("plugin", "queue", "job")
    assert any_worker.job("id", "t") == before
    assert any_worker.messages() == messages


def test_enqueue_conflict_with_shifted_names(worker: PretendWorker) -> None:
    worker.enqueue("id", plugin_name="a/b", queue_name="c", job_name="1:d")

    for names in (("a", "b/c", "1:d"), ("a", "b", "c/1:d"), ("a/b", "c1:", "d")):
        with pytest.raises(JobIdConflictError):
            worker.enqueue("id", plugin_name=names[0], queue_name=names[1], job_name=names[2])


def test_enqueue_conflict_across_pools(worker: PretendWorker) -> None:
    worker.enqueue("id")

    assert not worker.enqueue("id", execution_pool="sandbox-browser").created
    with pytest.raises(JobIdConflictError):
        worker.enqueue("id", execution_pool="sandbox-browser", job_name="other")


def test_enqueue_to_declared_pool(worker: PretendWorker) -> None:
    worker.enqueue("id", execution_pool="sandbox-browser")
    queue = worker.service.settings.queue_name("sandbox-browser")

    assert worker.messages() == []
    claim = worker.claim_next(queue)
    assert (claim.job_id, claim.envelope.execution_pool) == ("id", "sandbox-browser")
    assert worker.fail_try(claim)
    assert len(worker.messages(queue)) == 1
    assert worker.service.cancel("id").success


def test_enqueue_to_unknown_pool_adds_nothing(worker: PretendWorker) -> None:
    with pytest.raises(InvalidJobError, match="execution_pool"):
        worker.enqueue("id", execution_pool="sandbox")

    assert worker.all_keys() == set()


def test_enqueue_invalid_input_adds_nothing(worker: PretendWorker) -> None:
    for wrong in ({"payload": float("nan")}, {"attempts": 0}, {"job_name": " "}, {"delay_ms": float("inf")}, {"x": 1}):
        with pytest.raises(InvalidJobError):
            worker.service.enqueue({**JOB, **wrong})

    assert worker.all_keys() == set()


def test_tenant_as_second_argument(worker: PretendWorker) -> None:
    service: Any = worker.service
    worker.bring_to("failed", "id", tenant_id="t")

    assert service.get_job("id", "t").state == "failed"
    assert service.retry("id", "t").success
    assert service.cancel("id", "t").success
