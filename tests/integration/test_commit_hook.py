"""Jobs that wait for a commit: what a framework's hook gets, and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.integration.pretend import JOB, PretendWorker
from xpert_mq import ApiKey, ApiPrincipal, request_context
from xpert_mq.errors import InvalidJobError, JobIdConflictError
from xpert_mq.models import EnqueueResult
from xpert_mq.service import ManagedQueueService, PreparedJob
from xpert_mq.settings import Settings


class Transactions:
    """A framework's hook: one transaction at a time, or none."""

    def __init__(self, by_default: bool = False, *, open: bool = True) -> None:
        self.by_default = by_default
        self.open = open
        self.taken: list[PreparedJob] = []
        self.used: list[str | None] = []

    def __call__(self, jobs: Sequence[PreparedJob], using: str | None) -> bool:
        self.used.append(using)
        if self.open:
            self.taken += jobs
        return self.open


@pytest.fixture
def hook(service: ManagedQueueService) -> Transactions:
    service.commit_hook = Transactions()
    return service.commit_hook


def test_deferred_job_is_added_when_it_is_sent(worker: PretendWorker, hook: Transactions) -> None:
    promised = worker.service.enqueue(JOB, job_id="id", on_commit=True)

    assert promised == EnqueueResult("id", True, "waiting")
    assert worker.service.get_job("id") is None
    assert hook.taken[0].send() == promised
    assert worker.claim_next().job_id == "id"


async def test_deferred_from_a_coroutine(worker: PretendWorker, hook: Transactions) -> None:
    service = worker.service

    await service.aenqueue(JOB, job_id="one", on_commit=True)
    many = await service.aenqueue_many([{**JOB, "job_id": "two"}], on_commit=True, using="other")

    assert many == [EnqueueResult("two", True, "waiting")]
    assert [job.job_id for job in hook.taken] == ["one", "two"]
    assert hook.used == [None, "other"]


async def test_hook_with_a_twin_for_coroutines(service: ManagedQueueService) -> None:
    class Both(Transactions):
        async def acall(self, jobs: Sequence[PreparedJob], using: str | None) -> bool:
            return self(jobs, f"async {using}")

    service.commit_hook = hook = Both()
    await service.aenqueue(JOB, on_commit=True)
    service.enqueue(JOB, on_commit=True)

    assert hook.used == ["async None", None]


def test_deferred_delay_is_told_and_begins_with_the_sending(worker: PretendWorker, hook: Transactions) -> None:
    assert worker.service.enqueue(JOB, job_id="id", on_commit=True, delay_ms=60_000).state == "delayed"

    assert hook.taken[0].send() == EnqueueResult("id", True, "delayed")


def test_without_a_transaction_it_is_added_at_once(worker: PretendWorker, hook: Transactions) -> None:
    hook.open = False
    worker.enqueue("id")

    assert not worker.service.enqueue(JOB, job_id="id", on_commit=True).created
    assert hook.used == [None]


@pytest.mark.parametrize(
    ("by_default", "fields", "deferred"),
    [
        (False, {}, False),
        (True, {}, True),
        (True, {"on_commit": False}, False),
        (False, {"using": "other"}, True),
        (False, {"on_commit": False, "using": "other"}, False),
    ],
)
def test_when_a_job_is_deferred(
    service: ManagedQueueService, by_default: bool, fields: dict[str, Any], deferred: bool
) -> None:
    service.commit_hook = Transactions(by_default)

    job_id = service.enqueue(JOB, **fields).job_id
    many = service.enqueue_many([JOB], **fields)[0]

    assert isinstance(many, EnqueueResult)
    assert (service.get_job(job_id) is None, service.get_job(many.job_id) is None) == (deferred, deferred)


def test_without_a_hook_the_error_says_what_to_install(service: ManagedQueueService) -> None:
    with pytest.raises(InvalidJobError, match=r"xpert_mq\.contrib\.django") as caught:
        service.enqueue(JOB, on_commit=True)

    assert caught.value.field == "on_commit"


@pytest.mark.parametrize(("field", "value"), [("on_commit", "no"), ("on_commit", 1), ("using", 5)])
def test_wrong_value_is_named(service: ManagedQueueService, hook: Transactions, field: str, value: Any) -> None:
    with pytest.raises(InvalidJobError, match=field) as caught:
        service.enqueue(JOB, **{field: value})

    assert (caught.value.field, hook.used) == (field, [])


def test_invalid_job_is_refused_before_the_commit(service: ManagedQueueService, hook: Transactions) -> None:
    with pytest.raises(InvalidJobError):
        service.enqueue(JOB, payload=float("nan"), on_commit=True)

    assert hook.taken == []


@pytest.mark.parametrize("by_text", [False, True])
def test_sending_again_is_the_same_call(worker: PretendWorker, hook: Transactions, by_text: bool) -> None:
    worker.service.enqueue(JOB, job_id="id", on_commit=True, remove_on_complete=True)
    job = hook.taken[0]
    text = job.to_text()
    results = [job.send()]
    worker.complete(worker.claim_next())
    again = PreparedJob.from_text(text, worker.service) if by_text else job
    results += [again.send(), again.send()]

    assert results == [EnqueueResult("id", True, "waiting")] * 3
    assert worker.messages() == []


def test_text_keeps_the_whole_job_and_its_owner(worker: PretendWorker, hook: Transactions) -> None:
    payload = {"text": "\ud800 ü", "big": 2**70}
    with request_context("t", "o", "u"):
        worker.service.enqueue(JOB, job_id="é", payload=payload, attempts=3, backoff_ms=5, on_commit=True)
        worker.service.enqueue(JOB, job_id="plain", payload=payload, attempts=3, backoff_ms=5)

    text = hook.taken[0].to_text()
    PreparedJob.from_text(text, worker.service).send()

    assert text.isascii()
    first, second = worker.job("é", "t"), worker.job("plain", "t")
    for name in ("data", "opts", "tenant_id", "organization_id", "user_id", "plugin_name", "queue_name", "name"):
        assert getattr(first, name) == getattr(second, name), name


def test_text_has_no_token(service: ManagedQueueService, hook: Transactions) -> None:
    with request_context(principal=ApiPrincipal("api_key", ApiKey(token="s3cret", tenant_id="t"))):
        service.enqueue(JOB, on_commit=True)

    assert "s3cret" not in hook.taken[0].to_text()


def test_conflict_shows_when_it_is_sent(worker: PretendWorker, hook: Transactions) -> None:
    worker.enqueue("id", job_name="other")
    worker.service.enqueue(JOB, job_id="id", on_commit=True)
    worker.service.enqueue(JOB, job_id="free", on_commit=True)

    conflict, free = worker.service.send_prepared(hook.taken)

    assert isinstance(conflict, JobIdConflictError)
    assert free == EnqueueResult("free", True, "waiting")
    with pytest.raises(JobIdConflictError):
        hook.taken[0].send()


@pytest.mark.parametrize("text", ["", "{}", "[]", '"x"', '{"jobId":"a","envelope":"{}","payload":"1","headers":""}'])
def test_text_that_is_none(service: ManagedQueueService, text: str) -> None:
    with pytest.raises(InvalidJobError, match="prepared job"):
        PreparedJob.from_text(text, service)


@pytest.mark.parametrize(
    ("name", "value"),
    [("jobId", 5), ("jobId", "\ud800"), ("payload", {}), ("payload", "\ud800"), ("headers", None), ("envelope", "{}")],
)
def test_text_with_a_wrong_value(service: ManagedQueueService, hook: Transactions, name: str, value: Any) -> None:
    service.enqueue(JOB, on_commit=True)
    text = json.dumps({**json.loads(hook.taken[0].to_text()), name: value})

    with pytest.raises(InvalidJobError, match="prepared job"):
        PreparedJob.from_text(text, service)


@pytest.mark.parametrize(("name", "value"), [("v", "x"), ("nonce", 5), ("tenantId", 7), ("tenantId", "\ud800")])
def test_text_with_a_wrong_value_in_its_envelope(
    service: ManagedQueueService, hook: Transactions, name: str, value: Any
) -> None:
    service.enqueue(JOB, on_commit=True, tenant_id="t")
    data = json.loads(hook.taken[0].to_text())
    envelope = json.dumps({**json.loads(data["envelope"]), name: value})

    with pytest.raises(InvalidJobError, match="prepared job"):
        PreparedJob.from_text(json.dumps({**data, "envelope": envelope}), service)


def test_text_of_a_later_release_or_an_unknown_pool(service: ManagedQueueService, hook: Transactions) -> None:
    service.enqueue(JOB, on_commit=True, execution_pool="sandbox-browser")
    text = hook.taken[0].to_text()
    data = json.loads(text)
    later = json.dumps({**data, "envelope": data["envelope"].replace('"v":1', '"v":99')})

    with pytest.raises(InvalidJobError, match="later release"):
        PreparedJob.from_text(later, service)
    service.configure(service.settings.model_copy(update={"pools": ("default",)}))
    with pytest.raises(InvalidJobError, match="sandbox-browser"):
        PreparedJob.from_text(text, service)


def test_service_runs_with_what_it_is_configured_with(worker: PretendWorker, settings: Settings) -> None:
    service = worker.service
    worker.enqueue("id")
    before = service.settings

    service.configure(settings)
    assert service.get_job("id") is None
    service.configure(before)
    assert service.get_job("id") is not None
