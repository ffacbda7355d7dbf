"""The tenant context of every request of a WSGI application."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from xpert_mq.contrib.tenants import Allows, Finder, Finders, TenantRefusedError, only_own

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]


class OwnContext:
    """Runs each request in a copy of the context variables, to the last part of its answer.

    What is set there ends with it. A server may go on with an answer after other requests of the same thread.
    """

    def __init__(self, app: Application) -> None:
        self._app = app

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI's."""
        context = contextvars.copy_context()
        body = context.run(self._start, environ, start_response)
        return body if _is_ready(body, environ) else _Body(context, body)

    def _start(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return self._app(environ, start_response)


class ContextMiddleware(OwnContext):
    """Runs each request in the tenant context that the finders find, to the last part of its answer.

    Args:
        app: the application.
        user, tenant, organization, principal, allows: as in `xpert_mq.contrib.tenants.Finders`; each gets the environ.

    A request that names a tenant that it may not act for is answered with 403.
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
        super().__init__(app)
        self._finders = Finders(user, tenant, organization, principal, allows)

    def _start(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        try:
            scope = self._finders.scope(environ)
        except TenantRefusedError as error:
            start_response("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"{error}\n".encode()]
        scope.__enter__()
        return super()._start(environ, start_response)


class _Body:
    """An answer that is made while it is sent."""

    def __init__(self, context: contextvars.Context, parts: Iterable[bytes]) -> None:
        self._context = context
        self._parts = parts
        self._iterator: Iterator[bytes] | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._iterator is None:
            # Not before: whatever fails from here on, the server closes the answer.
            self._iterator = self._context.run(iter, self._parts)
        return self._context.run(next, self._iterator)

    def close(self) -> None:
        """WSGI's, also of an answer that was broken off."""
        close = getattr(self._parts, "close", None)
        if close is not None:
            self._context.run(close)


def _is_ready(body: Iterable[bytes], environ: Environ) -> bool:
    """Whether no code of the application runs any more: servers send such answers faster, which they know by type."""
    wrapper = environ.get("wsgi.file_wrapper")
    # Not of a subclass, which may have a `close` that is still to be called.
    return type(body) in (list, tuple) or (isinstance(wrapper, type) and isinstance(body, wrapper))
