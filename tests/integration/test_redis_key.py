from __future__ import annotations

import itertools
from typing import Any

import pytest

from xpert_mq import request_context
from xpert_mq.context import restored
from xpert_mq.errors import InvalidJobError
from xpert_mq.models import Envelope
from xpert_mq.service import ManagedQueueService


@pytest.fixture
def service() -> ManagedQueueService:
    """No server is asked."""
    return ManagedQueueService()


def test_redis_key_from_the_context(service: ManagedQueueService) -> None:
    with request_context(tenant_id="t", organization_id="org"):
        assert service.redis_key("lock", "outbound", 5, plugin_name="@x/p") == "@x/p:t:org:lock:outbound:5"


def test_redis_key_in_a_job(service: ManagedQueueService) -> None:
    envelope = Envelope(plugin_name="@x/p", queue_name="q", job_name="j", tenant_id="t")
    with restored(envelope):
        assert service.redis_key("lock") == "@x/p:t:-:lock"
        assert service.redis_key("lock", plugin_name="other") == "other:t:-:lock"
    with pytest.raises(InvalidJobError):
        service.redis_key("lock")


@pytest.mark.parametrize("context", [{}, {"organization_id": "org"}, {"user": "u"}])
def test_redis_key_refuses_to_do_without_a_tenant(service: ManagedQueueService, context: dict[str, Any]) -> None:
    with request_context(**context):
        with pytest.raises(InvalidJobError, match="allow_no_tenant") as caught:
            service.redis_key("lock", plugin_name="p")
        assert caught.value.field == "tenant_id"
        assert service.redis_key("lock", plugin_name="p", allow_no_tenant=True).startswith("p:-:")


@pytest.mark.parametrize("parts", [(), ("",), ("a", ""), (None,), (1.5,), (True,), (b"a",)])
def test_redis_key_refuses_parts(service: ManagedQueueService, parts: tuple[Any, ...]) -> None:
    with request_context(tenant_id="t"), pytest.raises(InvalidJobError, match="parts"):
        service.redis_key(*parts)


def test_redis_key_no_two_owners_or_parts_share_one(service: ManagedQueueService) -> None:
    texts = ["a", "a:b", ":", "%", "%3A", "%253A", "-", "%2D", "a%3Ab", "b"]
    keys: dict[str, tuple[Any, ...]] = {}
    for tenant, organization in itertools.product([*texts, None], [*texts, None]):
        with request_context(tenant_id=tenant, organization_id=organization):
            for parts in [*itertools.product(texts, repeat=1), *itertools.product(texts[:7], repeat=2)]:
                for plugin in ("p", "-", None):
                    key = service.redis_key(*parts, plugin_name=plugin, allow_no_tenant=True)
                    owner = (plugin, tenant, organization, parts)
                    assert keys.setdefault(key, owner) == owner


def test_redis_key_never_meets_the_platform_s_own(service: ManagedQueueService) -> None:
    with request_context(tenant_id="managed-queue"):
        key = service.redis_key("job", plugin_name="xpert:managed-queue")
        assert not key.startswith(service.settings.prefix)
