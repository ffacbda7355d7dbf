"""Any text is an id; and it belongs to a tenant, of a prefix."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.integration.conftest import ServiceFactory
from tests.integration.pretend import OTHER_JOB, PretendWorker
from xpert_mq import request_context
from xpert_mq.errors import ScopeMismatchError

IDS = (
    "wechat:outbound:o-1",
    "123",
    "0",
    "-5",
    "a/b/c",
    " ",
    " outer blanks ",
    "-",
    "-:",
    ":",
    "::",
    "1:a:1",
    "nul\0in the middle",
    "\0",
    "line\r\nbreak",
    "quotes '\"`",
    "back\\slash \\u0000 \\",
    "ünïcödé 中文 🙂 \u2028",
    "]==] --[[ %s {} ]]",
    "waiting",
    "plugin-jobs",
    "x" * 300,
    "🙂" * 300,
)

#: Tenants that could be taken for each other's tokens, with ids to match.
LOOKALIKES = (
    ("a", "b:c"),
    ("a:b", "c"),
    (None, "1:a:b:c"),
    (None, "a:b:c"),
    ("-", "b:c"),
    ("-:a", "b:c"),
    ("1:a", "b:c"),
    ("1", "a:b:c"),
    ("é", "b:c"),
    ("2:é", "b:c"),
    ("a\0", "b:c"),
)


@pytest.mark.parametrize("job_id", IDS)
def test_job_id_of_any_text_lives_a_whole_life(any_worker: PretendWorker, job_id: str) -> None:
    service = any_worker.service
    tenant = job_id[:100] if job_id.strip() else "t"
    for tenant_id in (None, tenant):
        fields: dict[str, Any] = {"job_id": job_id, "tenant_id": tenant_id}
        assert any_worker.enqueue(**fields, delay_ms=60_000).job_id == job_id
        assert service.cancel(fields).success
        assert any_worker.enqueue(**fields, attempts=2).created
        first = any_worker.claim_next()
        assert (first.job_id, first.envelope.tenant_id) == (job_id, tenant_id)
        assert any_worker.fail_try(first, delay_ms=1)
        any_worker.promote_next()
        assert any_worker.fail(any_worker.claim_next())
        assert service.retry(fields).success
        assert any_worker.complete(any_worker.claim_next())
        snapshot = any_worker.job(job_id, tenant_id)
        assert (snapshot.id, snapshot.state, snapshot.tenant_id) == (job_id, "completed", tenant_id)


def test_names_of_any_text_live_a_whole_life(any_worker: PretendWorker) -> None:
    names = {"plugin_name": "@xpert-ai/p:1 🙂", "queue_name": "a'b\"c\\d", "job_name": "ünï/]==]%"}
    any_worker.enqueue("id", **names, attempts=2, remove_on_fail={"count": 1}, tenant_id="t:🙂")
    any_worker.fail_try(any_worker.claim_next(), delay_ms=1)
    any_worker.promote_next()

    assert any_worker.messages()[0]["headers"]["shadow"] == "@xpert-ai/p:1 🙂/a'b\"c\\d/ünï/]==]%"
    claim = any_worker.claim_next()
    assert any_worker.fail(claim)
    assert any_worker.service.retry("id", tenant_id="t:🙂").success
    assert any_worker.fail(any_worker.claim_next())
    assert any_worker.job("id", "t:🙂").state == "failed"


def test_tenants_that_look_like_each_other_are_apart(any_worker: PretendWorker) -> None:
    for tenant_id, job_id in LOOKALIKES:
        assert any_worker.enqueue(job_id, tenant_id=tenant_id, payload=[tenant_id, job_id]).created

    claims = [any_worker.claim_next() for _ in LOOKALIKES]
    assert [(claim.envelope.tenant_id, claim.job_id) for claim in claims] == list(LOOKALIKES)
    for claim in claims[::2]:
        any_worker.complete(claim)
    for (tenant_id, job_id), state in zip(LOOKALIKES, itertools.cycle(["completed", "active"]), strict=False):
        snapshot = any_worker.job(job_id, tenant_id)
        assert (snapshot.data, snapshot.state) == ([tenant_id, job_id], state)


def test_tenants_share_an_id_for_two_jobs(any_worker: PretendWorker) -> None:
    service = any_worker.service
    any_worker.enqueue("id", tenant_id="one", payload=1)
    assert service.get_job("id", tenant_id="two") is None
    assert service.cancel("id", tenant_id="two").reason == "not_found"

    assert service.enqueue(OTHER_JOB, job_id="id", tenant_id="two", payload=2).created
    assert any_worker.enqueue("id", payload=3).created

    assert service.cancel("id", tenant_id="one").success
    assert service.get_job("id", tenant_id="one") is None
    assert any_worker.job("id", "two").data == 2
    assert any_worker.job("id").data == 3


def test_tenant_of_context_is_filled_in_everywhere(worker: PretendWorker) -> None:
    service = worker.service
    with request_context(tenant_id="t", organization_id="org", user="u"):
        worker.enqueue("id")
        found = service.get_job("id")
        assert found is not None
        assert (found.tenant_id, found.organization_id, found.user_id, found.scope_key) == ("t", "org", "u", None)
        for verb in (service.get_job, service.cancel, service.retry):
            with pytest.raises(ScopeMismatchError):
                verb("id", tenant_id="another")
        with pytest.raises(ScopeMismatchError):
            worker.enqueue("id-2", tenant_id="another")

    assert service.get_job("id") is None
    assert service.get_job("id", tenant_id="another") is None
    with request_context(tenant_id="t"):
        assert service.cancel("id").success


def test_prefixes_are_apart(
    worker: PretendWorker, server_factory: ServerFactory, service_factory: ServiceFactory
) -> None:
    prefix = worker.service.settings.prefix
    others = [
        PretendWorker(service_factory(worker.service.settings.redis_url, prefix=f"{prefix}{more}"))
        for more in ("0", "-", ":x")
    ]
    worker.enqueue("id", payload="mine")

    for other in others:
        assert other.service.get_job("id") is None
        assert other.enqueue("id", payload="other").created
        assert other.claim_next().payload == b'"other"'
    assert worker.claim_next().payload == b'"mine"'
