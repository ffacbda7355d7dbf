from __future__ import annotations

import pickle
from typing import Any

import pytest

from xpert_mq import InvalidJobError, ManagedQueueError, ManagedQueueService, request_context
from xpert_mq.locks import AsyncLock, Lock, LockLostError, LockUnavailableError


def test_lock_keys_are_the_plugins_and_the_tenants_own() -> None:
    with request_context(tenant_id="t", organization_id="o"):
        lock = Lock("outbound", ("contact", 7, "a:b"), plugin_name="p")

    assert lock.keys == ("p:t:o:lock:outbound", "p:t:o:lock:contact:7:a%3Ab")


def test_lock_refuses_to_do_without_a_tenant() -> None:
    with pytest.raises(InvalidJobError, match="allow_no_tenant"):
        Lock("outbound", plugin_name="p")
    assert AsyncLock("outbound", plugin_name="p", allow_no_tenant=True).keys == ("p:-:-:lock:outbound",)


@pytest.mark.parametrize(
    ("names", "options"),
    [((), {}), (("",), {}), (((),), {}), (("a",), {"ttl_ms": 0}), (("a",), {"ttl_ms": 99}), (("a",), {"wait_ms": -1})],
)
@pytest.mark.parametrize("kind", [Lock, AsyncLock])
def test_lock_refuses(kind: type[Lock] | type[AsyncLock], names: tuple[Any, ...], options: dict[str, Any]) -> None:
    with request_context(tenant_id="t"), pytest.raises(InvalidJobError):
        kind(*names, plugin_name="p", service=ManagedQueueService(), **options)


@pytest.mark.parametrize("error", [LockUnavailableError("p:t:-:lock:a", 50), LockLostError(("k:1", "k:2"))])
def test_lock_errors_say_what_and_survive_pickling(error: ManagedQueueError) -> None:
    copy = pickle.loads(pickle.dumps(error))

    assert isinstance(error, ManagedQueueError)
    assert (type(copy), str(copy), copy.__dict__) == (type(error), str(error), error.__dict__)
    assert "lock" in str(error)
