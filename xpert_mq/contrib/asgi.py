"""The tenant context of every request of an ASGI application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from xpert_mq.contrib.tenants import Allows, Finder, Finders, TenantRefusedError, only_own

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class ContextMiddleware:
    """Runs each HTTP request and each websocket in the context that the finders find; all else it passes on.

    Args:
        app: the application.
        user, tenant, organization, principal, allows: as in `xpert_mq.contrib.tenants.Finders`; each gets the ASGI
            scope, and may be a coroutine function.

    A request that names a tenant that it may not act for is answered with 403, and a websocket refused.
    """

    def __init__(
        self,
        app: Application,
        *,
        user: Finder | None = None,
        tenant: Finder | None = None,
        organization: Finder | None = None,
        principal: Finder | None = None,
        allows: Allows = only_own,
    ) -> None:
        self._app = app
        self._finders = Finders(user, tenant, organization, principal, allows)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI's."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            context = await self._finders.ascope(scope)
        except TenantRefusedError as error:
            await _refuse(scope, send, f"{error}\n".encode())
            return
        async with context:
            await self._app(scope, receive, send)


async def _refuse(scope: Scope, send: Send, text: bytes) -> None:
    if scope["type"] == "websocket":
        # Before it is accepted; servers answer the handshake with 403.
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": text})
