"""In every pool: a job runs in the context it was enqueued with, and nothing of it stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.acceptance.deployment import Deployment
from xpert_mq import ApiKey, ApiPrincipal, request_context
from xpert_mq.models import Actor, Envelope, JobOptions

QUEUES = pytest.mark.parametrize("queue", ["sync", "async"])


@QUEUES
@pytest.mark.parametrize("user_id", ["u-1", "later-1"])
def test_context_is_restored_with_its_user_loaded(site: Deployment, queue: str, user_id: str) -> None:
    with request_context("t-1", "o-1", user_id):
        job_id = site.enqueue("echo", queue=queue)

    done = site.finished(job_id, "t-1")

    assert done.return_value["current"] == ["t-1", "o-1", user_id, f"{user_id} of t-1"]
    assert done.return_value["context"]["user_id"] == user_id


@QUEUES
@pytest.mark.parametrize(("user_id", "reason"), [("gone", "gone"), ("broken", "the user database is away")])
def test_user_that_cannot_be_had_fails_the_try(site: Deployment, queue: str, user_id: str, reason: str) -> None:
    done = site.run("echo", queue=queue, user_id=user_id, attempts=2)

    assert (done.state, done.attempts_made) == ("failed", 2)
    assert reason in str(done.failed_reason)


@pytest.mark.parametrize("field", ["tenant_id", "organization_id", "user_id"])
def test_actor_that_contradicts_fails_the_try(site: Deployment, field: str) -> None:
    other: dict[str, Any] = {field: "other"}
    envelope = Envelope(
        plugin_name="acme",
        queue_name="sync",
        job_name="echo",
        tenant_id="t-1",
        organization_id="o-1",
        user_id="u-1",
        actor=replace(Actor("u-1", "t-1", "o-1"), **other),
    )
    job_id = f"forged:{field}"
    store = site.service.store
    site.service.executor.run(store.add(job_id, envelope, JobOptions(), "null", site.settings.queue_name()))

    done = site.finished(job_id, "t-1")

    assert done.state == "failed"
    assert f"{field} 'other' contradicts" in str(done.failed_reason)


@QUEUES
@pytest.mark.parametrize("how", [None, "plain", "unrecoverable"])
def test_nothing_leaks_into_the_next_job(site: Deployment, queue: str, how: str | None) -> None:
    subject = f"leak:{queue}:{how}"
    ids = [
        site.enqueue("leak", {"subject": subject, "how": how}, queue=queue, tenant_id="t-1", user_id="u-1", attempts=2),
        site.enqueue("leak", {"subject": subject}, queue=queue),
        site.enqueue("leak", {"subject": subject}, queue="async" if queue == "sync" else "sync"),
    ]

    site.finished(ids[0], "t-1")
    for job_id in ids[1:]:
        site.finished(job_id)

    found = [one["found"] for one in site.notes(subject)]
    assert [None, "t-1", "u-1"] in found
    assert all(one in ([None, "t-1", "u-1"], [None, None, None]) for one in found), found
    assert found.count([None, None, None]) == 2


def test_delegation_reaches_the_nested_job_without_the_token(site: Deployment) -> None:
    principal = ApiPrincipal(
        principal_type="api_key",
        api_key=ApiKey(token="s3cret-t0ken", entity_id="x-1", tenant_id="t-1"),
        requested_user_id="u-2",
    )
    with request_context(principal=principal):
        job_id = site.enqueue("own")

    nested_id = site.finished(job_id, "t-1").return_value[-1]

    assert site.finished(nested_id, "t-1").return_value["current"] == ["t-1", None, "u-2", "u-2 of t-1"]
    client: Any = site.service.get_redis()
    for key in client.scan_iter(f"{site.prefix}:job:*"):
        assert b"s3cret-t0ken" not in b"".join(client.hgetall(key).values()), key
