from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.conftest import ServiceFactory
from tests.integration.pretend import JOB, PretendWorker
from tests.integration.proxy import Proxy
from xpert_mq import request_context
from xpert_mq.errors import InvalidJobError, JobIdConflictError, ManagedQueueError, ScopeMismatchError
from xpert_mq.models import EnqueueResult


def _jobs(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{**JOB, "job_id": f"job-{number}", "payload": number, **fields} for number in range(count)]


def test_enqueue_many_results_and_queue_in_order(any_worker: PretendWorker) -> None:
    jobs = _jobs(600)

    results = any_worker.service.enqueue_many(jobs)

    assert results == [EnqueueResult(job["job_id"], True, "waiting") for job in jobs]
    assert any_worker.waiting_ids() == [job["job_id"] for job in jobs]


def test_enqueue_many_of_none(service: Any) -> None:
    assert service.enqueue_many([]) == []
    assert service.enqueue_many(iter(())) == []


def test_enqueue_many_takes_all_spellings_and_any_iterable(worker: PretendWorker) -> None:
    def jobs() -> Iterator[dict[str, Any]]:
        yield {**JOB, "job_id": "a", "delay_ms": 60_000}
        yield {"pluginName": "p", "queueName": "q", "jobName": "j", "jobId": "b"}

    results = worker.service.enqueue_many(jobs())

    assert results == [EnqueueResult("a", True, "delayed"), EnqueueResult("b", True, "waiting")]


@pytest.mark.parametrize("jobs", ["text", b"bytes", None, 5])
def test_enqueue_many_of_what_is_no_list(service: Any, jobs: Any) -> None:
    with pytest.raises(InvalidJobError):
        service.enqueue_many(jobs)


def test_enqueue_many_of_one_mapping_by_mistake(service: Any) -> None:
    with pytest.raises(InvalidJobError):
        service.enqueue_many(JOB)


@pytest.mark.parametrize("index", [0, 3, 299])
@pytest.mark.parametrize(
    "wrong",
    [{"job_name": ""}, {"payload": {"x": float("nan")}}, {"unknown": 1}, {"execution_pool": "nope"}, {"job_id": 5}],
)
def test_enqueue_many_one_invalid_adds_none_and_is_named(
    worker: PretendWorker, index: int, wrong: dict[str, Any]
) -> None:
    jobs = _jobs(300)
    jobs[index] = {**jobs[index], **wrong}

    with pytest.raises(InvalidJobError) as caught:
        worker.service.enqueue_many(jobs)

    assert caught.value.index == index
    assert f"jobs[{index}]" in str(caught.value)
    assert caught.value.field in wrong
    assert worker.all_keys() == set()


@pytest.mark.parametrize("wrong", [None, 5, "id", []])
def test_enqueue_many_of_what_is_no_job(worker: PretendWorker, wrong: object) -> None:
    with pytest.raises(InvalidJobError) as caught:
        worker.service.enqueue_many([*_jobs(2), wrong])

    assert caught.value.index == 2
    assert worker.all_keys() == set()


def test_enqueue_many_scope_mismatch_adds_none_and_is_named(worker: PretendWorker) -> None:
    jobs = _jobs(3)
    jobs[1]["tenant_id"] = "another"

    with request_context(tenant_id="t"), pytest.raises(ScopeMismatchError) as caught:
        worker.service.enqueue_many(jobs)

    assert caught.value.index == 1
    assert (caught.value.field, caught.value.given, caught.value.current) == ("tenant_id", "another", "t")
    assert "jobs[1]" in str(caught.value)
    assert worker.all_keys() == set()


def test_enqueue_many_conflict_stops_only_its_own(any_worker: PretendWorker) -> None:
    any_worker.enqueue("job-1", job_name="other")
    any_worker.enqueue("job-2", delay_ms=60_000)

    results = any_worker.service.enqueue_many(_jobs(4))

    assert results[0] == EnqueueResult("job-0", True, "waiting")
    conflict = results[1]
    assert isinstance(conflict, JobIdConflictError)
    assert (conflict.job_id, conflict.holder) == ("job-1", ("plugin", "queue", "other"))
    assert results[2] == EnqueueResult("job-2", False, "delayed")
    assert results[3] == EnqueueResult("job-3", True, "waiting")


def test_enqueue_many_same_id_twice(any_worker: PretendWorker) -> None:
    results = any_worker.service.enqueue_many(
        [
            {**JOB, "job_id": "id", "payload": 1},
            {**JOB, "job_id": "id", "payload": 2},
            {**JOB, "job_id": "id", "job_name": "other"},
            {**JOB, "job_id": "id", "tenant_id": "t"},
        ]
    )

    assert results[:2] == [EnqueueResult("id", True, "waiting"), EnqueueResult("id", False, "waiting")]
    assert isinstance(results[2], JobIdConflictError)
    assert results[3] == EnqueueResult("id", True, "waiting")
    assert any_worker.job("id").data == 1
    assert len(any_worker.messages()) == 2


def test_enqueue_many_again_after_an_error_is_safe(worker: PretendWorker) -> None:
    first = worker.service.enqueue_many(_jobs(300)[:100])
    again = worker.service.enqueue_many(_jobs(300))

    assert all(isinstance(result, EnqueueResult) and result.created for result in first)
    assert [isinstance(result, EnqueueResult) and result.created for result in again] == [False] * 100 + [True] * 200
    assert len(worker.messages()) == 300


@pytest.mark.parametrize("warm", [False, True])
def test_enqueue_many_takes_few_round_trips(proxy: Proxy, service_factory: ServiceFactory, warm: bool) -> None:
    service = service_factory(proxy.url)
    if warm:
        service.enqueue(JOB)
    before = proxy.round_trips

    service.enqueue_many(_jobs(500))

    assert proxy.round_trips - before <= (2 if warm else 5)


async def test_enqueue_many_async_takes_few_round_trips(proxy: Proxy, service_factory: ServiceFactory) -> None:
    service = service_factory(proxy.url)

    results = await service.aenqueue_many(_jobs(500))

    assert len(results) == 500
    assert proxy.round_trips <= 5


def test_enqueue_takes_one_round_trip(proxy: Proxy, service_factory: ServiceFactory) -> None:
    service = service_factory(proxy.url)
    service.enqueue(JOB)
    before = proxy.round_trips

    service.enqueue(JOB)

    assert proxy.round_trips - before == 1


def test_enqueue_many_of_large_jobs(any_worker: PretendWorker) -> None:
    results = any_worker.service.enqueue_many(_jobs(12, payload="x" * 900_000))

    assert len(results) == 12
    assert len(any_worker.messages()) == 12
    assert any_worker.job("job-11").data == "x" * 900_000


def test_enqueue_many_error_is_caught_as_any_error_of_the_queue(service: Any) -> None:
    with pytest.raises(ManagedQueueError, match=r"jobs\[0\]") as caught:
        service.enqueue_many([{}])

    assert caught.value.index == 0
