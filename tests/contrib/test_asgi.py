"""The ASGI middleware: when the context is there, and when it is gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from xpert_mq import current_context
from xpert_mq.contrib.asgi import ContextMiddleware
from xpert_mq.contrib.tenants import tenant_header


def scope(tenant: str | None = "acme", kind: str = "http") -> dict[str, Any]:
    return {"type": kind, "headers": [] if tenant is None else [(b"tenant-id", tenant.encode())]}


def seen() -> str | None:
    return current_context().tenant_id


async def nothing() -> dict[str, Any]:
    return {}


async def drop(_: Any) -> None: ...


class Notes:
    """An application that notes what it sees, and lets others run in between."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str | None]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        for _ in range(3):
            self.seen.append((scope["type"], current_context().tenant_id))
            await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_request_runs_in_its_context_and_leaves_nothing(kind: str) -> None:
    app = Notes()
    middleware = ContextMiddleware(app, tenant=tenant_header)

    await middleware(scope(kind=kind), nothing, drop)
    assert current_context().tenant_id is None
    await middleware(scope(None, kind), nothing, drop)

    assert app.seen == [(kind, "acme")] * 3 + [(kind, None)] * 3


async def test_requests_at_the_same_time_have_their_own() -> None:
    app = Notes()
    middleware = ContextMiddleware(app, tenant=tenant_header)

    await asyncio.gather(*(middleware(scope(tenant), nothing, drop) for tenant in ("acme", "globex")))

    assert app.seen == [("http", "acme"), ("http", "globex")] * 3


@pytest.mark.parametrize("kind", ["lifespan", "something.new"])
async def test_all_else_is_passed_on(kind: str) -> None:
    app = Notes()

    await ContextMiddleware(app, tenant=tenant_header)({"type": kind}, nothing, drop)

    assert app.seen == [(kind, None)] * 3


async def test_context_follows_threads_and_tasks_and_is_there_when_the_client_goes_away() -> None:
    found: list[str | None] = []
    waits = asyncio.Event()

    async def app(*_: Any) -> None:
        found.append(await sync_to_async(seen)())
        found.append(await sync_to_async(seen, thread_sensitive=False)())
        found.append(await asyncio.create_task(asyncio.to_thread(seen)))
        waits.set()
        try:
            await asyncio.Event().wait()
        finally:
            found.append(seen())

    request = asyncio.create_task(ContextMiddleware(app, tenant=tenant_header)(scope(), nothing, drop))
    await asyncio.wait_for(waits.wait(), 5)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request

    assert found == ["acme"] * 4


async def test_context_is_gone_after_an_error() -> None:
    async def app(*_: Any) -> None:
        raise KeyError(current_context().tenant_id)

    with pytest.raises(KeyError, match="acme"):
        await ContextMiddleware(app, tenant=tenant_header)(scope(), nothing, drop)
    assert current_context().tenant_id is None


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_refused_request_does_not_reach_the_application(kind: str) -> None:
    app = Notes()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def find_user(_: Any) -> dict[str, str]:
        return {"id": "u-1", "tenant_id": "acme"}

    middleware = ContextMiddleware(app, user=find_user, tenant=tenant_header)
    await middleware(scope("globex", kind), nothing, send)

    assert app.seen == []
    assert sent[0].get("status", sent[0].get("code")) == {"http": 403, "websocket": 1008}[kind]
