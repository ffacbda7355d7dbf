"""The tenant context of every request, sync and async."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import Context, copy_context
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from xpert_mq.context import ContextScope, RequestContext, request_context
from xpert_mq.contrib.django.conf import configuration
from xpert_mq.contrib.tenants import TenantRefusedError


class ContextMiddleware:
    """Runs each request in its context; see `xpert_mq.contrib.django.conf.Configuration` for where that comes from.

    Comes after the middleware that sets `request.user`. A request that names a tenant or an organization that its user
    may not act for is answered with 403.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self._get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Django's."""
        if self._is_async:
            return self._acall(request)
        with _scope(request) as context:
            return _streaming(self._get_response(request), context)

    async def _acall(self, request: HttpRequest) -> Any:
        # To find the user takes queries.
        scope = await sync_to_async(_scope)(request)
        async with scope as context:
            answer: Awaitable[Any] = self._get_response(request)
            return _streaming(await answer, context)


def _scope(request: HttpRequest) -> ContextScope:
    try:
        return configuration().finders.scope(request)
    except TenantRefusedError as error:
        raise PermissionDenied(str(error)) from error


def _streaming(response: Any, context: RequestContext) -> Any:
    """An answer that is made while it is sent, when the request is over for us, is made in the context, too."""
    is_file = getattr(response, "file_to_stream", None) is not None
    if is_file or not getattr(response, "streaming", False):
        return response
    if response.is_async:
        response.streaming_content = _aparts(response.streaming_content, context)
    else:
        response.streaming_content = _parts(response.streaming_content, copy_context())
    return response


def _parts(parts: Any, context: Context) -> Iterator[Any]:
    # Part by part: between two of them the thread may do something else.
    iterator = context.run(iter, parts)
    end = object()
    while (part := context.run(next, iterator, end)) is not end:
        yield part


async def _aparts(parts: Any, context: RequestContext) -> AsyncIterator[Any]:
    iterator = aiter(parts)
    end = object()
    while True:
        async with request_context(context.tenant_id, context.organization_id, context.user, context.principal):
            part = await anext(iterator, end)
        if part is end:
            return
        yield part
