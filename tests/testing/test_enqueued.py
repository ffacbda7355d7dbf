from __future__ import annotations

from unittest.mock import ANY
from uuid import UUID

import pytest

from tests.testing.plugin import JOB
from xpert_mq import ManagedQueueService
from xpert_mq.testing import EnqueuedJobs

ID = UUID(int=1)


@pytest.fixture(autouse=True)
def jobs(managed_queue: ManagedQueueService) -> None:
    managed_queue.enqueue(
        **JOB,
        job_id="1",
        tenant_id="acme",
        payload={"to": [{"id": ID}, {"id": "b"}], "text": "x"},
        delay_ms=1_000,
        attempts=3,
        backoff_ms=60_000,
    )
    managed_queue.enqueue(**{**JOB, "job_name": "other"}, job_id="2", payload={"to": [], "text": "x"})
    managed_queue.enqueue(**{**JOB, "job_name": "other"}, job_id="3", user_id="u-1")


def test_job_is_found_by_any_of_its_fields(enqueued: EnqueuedJobs) -> None:
    assert enqueued(**JOB).id == "1"
    assert enqueued(payload={"to": [{"id": ID}, {"id": "b"}], "text": "x"}).id == "1"
    assert enqueued(payload={"to": ANY, "text": ANY}, tenant_id="acme").id == "1"
    assert enqueued(backoff_ms=60_000, delay_ms=1_000, attempts=3, state="delayed").id == "1"
    assert enqueued(backoff_ms={"type": "fixed", "delay": 60_000}, execution_pool="default").id == "1"
    assert enqueued(user_id="u-1", organization_id=None).id == "3"
    assert [job.id for job in enqueued.all()] == ["1", "2", "3"]
    assert [job.id for job in enqueued.all(tenant_id=None, job_name="other")] == ["2", "3"]
    enqueued.none(job_name="nobody's")


def test_missing_job_is_told_by_the_closest(enqueued: EnqueuedJobs) -> None:
    with pytest.raises(AssertionError) as caught:
        enqueued(job_name="send", payload={"to": [{"id": "a"}], "text": "y", "new": 1}, delay_ms=2_000)
    assert str(caught.value).splitlines() == [
        "no job was enqueued with job_name='send', payload={'to': [{'id': 'a'}], 'text': 'y', 'new': 1}, delay_ms=2000",
        "  closest is '1' of acme/mail/send (delayed):",
        f"    payload.to[0].id: expected 'a', got '{ID}'",
        "    payload.to[1]: expected nothing, got {'id': 'b'}",
        "    payload.text: expected 'y', got 'x'",
        "    payload.new: expected 1, got nothing",
        "    delay_ms: expected 2000, got 1000",
        "  also enqueued: 2 of acme/mail/other",
    ]


def test_closest_is_one_of_the_same_name(enqueued: EnqueuedJobs) -> None:
    with pytest.raises(AssertionError, match=r"closest is '1' of acme/mail/send"):
        enqueued(job_name="send", payload=None, tenant_id=None, delay_ms=0, attempts=1)


def test_closest_is_one_of_the_same_form(enqueued: EnqueuedJobs) -> None:
    """And not the one without a payload, which differs in fewer places."""
    with pytest.raises(AssertionError, match=r"closest is '1' of acme/mail/send"):
        enqueued(payload={"to": [{"id": "a"}]})


def test_anything_within_a_payload_leaves_the_rest_to_be_compared(enqueued: EnqueuedJobs) -> None:
    assert enqueued(payload={"to": [{"id": ID}, ANY], "text": "x"}).id == "1"
    with pytest.raises(AssertionError, match=r"\n    payload.text: expected 'y', got 'x'\n  also"):
        enqueued(payload={"to": [{"id": ID}, ANY], "text": "y"})


def test_long_texts_are_shown_where_they_differ(managed_queue: ManagedQueueService, enqueued: EnqueuedJobs) -> None:
    managed_queue.enqueue(**JOB, job_id="4", payload=3000 * "x" + "ada")
    with pytest.raises(AssertionError) as caught:
        enqueued(payload=3000 * "x" + "bob")
    said = str(caught.value).splitlines()
    assert said[0].endswith(f"payload='{99 * 'x'}… (3005 characters)")
    assert said[2] == f"    payload: expected …'{50 * 'x'}bob', got …'{50 * 'x'}ada'"


def test_nothing_enqueued_at_all(managed_queue: ManagedQueueService, enqueued: EnqueuedJobs) -> None:
    managed_queue.get_redis().flushall()
    with pytest.raises(AssertionError, match="job_name='send'; none was enqueued at all"):
        enqueued(job_name="send")
    enqueued.none()


def test_more_than_one_is_not_the_one(enqueued: EnqueuedJobs) -> None:
    with pytest.raises(AssertionError, match="2 jobs were enqueued with job_name='other', not one: '2', '3'"):
        enqueued(job_name="other")


def test_unwanted_job_is_shown(enqueued: EnqueuedJobs) -> None:
    with pytest.raises(AssertionError, match=r"1 jobs were enqueued with user_id='u-1':\n  '3' \(waiting\)"):
        enqueued.none(user_id="u-1")


@pytest.mark.parametrize("name", ["jobName", "job_nam"])
def test_unknown_field_is_no_match_but_an_error(enqueued: EnqueuedJobs, name: str) -> None:
    with pytest.raises(TypeError, match=f"no field '{name}'; did you mean 'job_name'"):
        enqueued.none(**{name: "x"})
