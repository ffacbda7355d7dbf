from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from tests.testing.plugin import JOB
from xpert_mq import ManagedQueueService, current_context, request_context
from xpert_mq.context import capture
from xpert_mq.models import JobRequest
from xpert_mq.testing import as_api_client, as_user, assert_scoped, no_bytes


class Model(BaseModel):
    text: str


@dataclass
class Data:
    parts: list[Any]


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"a": [b"x", "y"]}, r"payload.a\[0\]: 1 bytes"),
        (bytearray(3), "payload: 3 bytes"),
        ({"f": io.BytesIO(b"")}, "payload.f: an open file"),
        (Model(text="data:image/png;base64,iVBORw0KGgo="), "payload.text: a data URL"),
        (Data([{"deep": "QUJD" * 60 + "\n" + "QQ=="}]), r"payload.parts\[0\].deep: 245 characters of encoded data"),
        ({"hex": "0f" * 150}, "payload.hex: 300 characters of encoded data"),
        ("word " * 300, "payload: 1500 characters of text, more than 1000"),
        ({"word " * 300: 1}, r"payload \(key 0\): 1500 characters of text, more than 1000"),
        ({b"x": 1}, r"payload \(key 0\): 1 bytes"),
        (deque([b"x"]), r"payload\[0\]: 1 bytes"),
    ],
)
def test_payload_with_contents_is_told_by_its_path(payload: Any, said: str) -> None:
    with pytest.raises(AssertionError, match=f"carry ids, not contents:\n  {said}$"):
        no_bytes(payload)


@pytest.mark.parametrize(
    "payload",
    [
        None,
        {"id": "8b0e7c3a-62b1-4f41-9d0e-0d3c0a3b1c55", "ids": [1, 2, 3], "sha256": "0f" * 32},
        {"text": "Hello, how are you? " * 20, "url": "https://files.example/data:1"},
        Data([Model(text="short")]),
    ],
)
def test_payload_with_ids_passes(payload: Any) -> None:
    assert no_bytes(payload)


def test_longer_texts_may_be_allowed() -> None:
    assert no_bytes("word " * 300, longest_text=1500)


def test_scoped_keys_and_jobs_pass(managed_queue: ManagedQueueService) -> None:
    client = managed_queue.get_redis()
    for tenant in ("t:1", "50%"):
        with request_context(tenant_id=tenant):
            managed_queue.enqueue(**JOB, payload={})
            client.set(managed_queue.redis_key("lock", plugin_name="acme"), 1)
            assert_scoped(client, "t:1", "50%")
    client.set("acme:-:-:version", 1)
    assert_scoped(client, "t:1", "50%", allow=["acme:-:-:*"])
    with request_context(tenant_id="50%"), pytest.raises(AssertionError, match="of tenant 't:1'"):
        assert_scoped(client, allow=["acme:-:-:*"])


def test_keys_and_jobs_without_the_tenant_are_told(managed_queue: ManagedQueueService) -> None:
    client = managed_queue.get_redis()
    managed_queue.enqueue(**JOB, job_id="mine", tenant_id="mine")
    managed_queue.enqueue(**JOB, job_id="nobody's")
    managed_queue.enqueue(**JOB, job_id="1", tenant_id="other")
    for key in ("acme:mine:-:good", "acme:-:-:shared", "counter", "acme:mine", "acme:other:-:lock"):
        client.set(key, 1)
    with pytest.raises(AssertionError) as caught:
        assert_scoped(client, "mine")
    assert str(caught.value).splitlines() == [
        "without one of the tenants 'mine':",
        '  job "nobody\'s" of tenant None',
        "  job '1' of tenant 'other'",
        "  key acme:-:-:shared",
        "  key acme:mine",
        "  key acme:other:-:lock",
        "  key counter",
    ]


def test_tenants_may_be_numbers_and_one_pattern_a_text(managed_queue: ManagedQueueService) -> None:
    client = managed_queue.get_redis()
    managed_queue.enqueue(**JOB, tenant_id="5")
    client.set("shared:x", 1)
    assert_scoped(client, 5, allow="shared:*")
    client.set("other", 1)
    with pytest.raises(AssertionError, match=r"key other$"):
        assert_scoped(client, 5, allow="shared:*")


@pytest.mark.parametrize("tenants", [("",), (None,), ("mine", None), ()])
def test_no_tenant_is_no_tenant_of_the_test(managed_queue: ManagedQueueService, tenants: Any) -> None:
    with pytest.raises(ValueError, match="name the tenants"):
        assert_scoped(managed_queue.get_redis(), *tenants)


def test_many_wrong_keys_are_counted(managed_queue: ManagedQueueService) -> None:
    client = managed_queue.get_redis()
    client.mset({f"key-{number}": 1 for number in range(25)})
    with pytest.raises(AssertionError, match=r"key key-0\n(?s:.*)and 5 more$"):
        assert_scoped(client, "mine")


def test_contexts_are_those_of_users_and_api_clients() -> None:
    request = JobRequest.parse(JOB)
    with as_user("u-1", "t-1", "o-1"):
        job, actor, delegation = capture(request)
        assert (job.tenant_id, job.organization_id, job.user_id) == ("t-1", "o-1", "u-1")
        assert actor is not None
        assert (actor.type, delegation) == ("user", None)
    with as_api_client("t-1", "o-1"):
        job, actor, delegation = capture(request)
        assert actor is not None
        assert (job.tenant_id, job.user_id, actor.type) == ("t-1", "api-owner", "service")
    with as_api_client("t-1", for_user="u-2", owner="u-3") as context:
        _, actor, delegation = capture(request)
        assert actor is not None
        assert delegation is not None
        assert (actor.type, actor.user_id, delegation.owner_user_id) == ("delegated_user", "u-2", "u-3")
        assert context.principal is not None
        assert context.principal.api_key is not None
        assert context.principal.api_key.token
        assert context.principal.api_key.token not in repr(delegation)
    assert current_context().tenant_id is None


def test_context_holds_for_the_rest_of_the_test(use_context: Callable[..., Any]) -> None:
    use_context(tenant_id="t-1")
    use_context(tenant_id="t-2")
    assert current_context().tenant_id == "t-2"


def test_context_of_another_test_is_gone() -> None:
    assert current_context().tenant_id is None
