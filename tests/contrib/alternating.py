"""Two applications and two handlers that tell whose context they see, at every step, with others in between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

from xpert_mq import JobContext, ManagedQueueJob, ManagedQueueService, current_context, plugin_job_processor

PLUGIN = "alternating"
QUEUES = ("sync", "async")


def seen() -> str:
    context = current_context()
    return f"{context.tenant_id}/{context.organization_id}/{context.user_id}"


def user_name() -> str | None:
    """Of a user that the platform has loaded."""
    return getattr(current_context().user, "first_name", None)


@plugin_job_processor(plugin_name=PLUGIN, queue_name="sync", job_name="look")
def look(job: ManagedQueueJob[Any], context: JobContext) -> list[str | None]:
    before = seen()
    time.sleep(0.001)
    return [before, seen(), context.tenant_id, user_name()]


@plugin_job_processor(plugin_name=PLUGIN, queue_name="async", job_name="look")
async def alook(job: ManagedQueueJob[Any], context: JobContext) -> list[str | None]:
    before = seen()
    await asyncio.sleep(0.001)
    return [before, await asyncio.to_thread(seen), context.tenant_id, user_name()]


def owner(number: int) -> tuple[str, str, str]:
    """Tenant, organization and user of a request: two in turn."""
    return (("acme", "hq", "ada"), ("globex", "lab", "bob"))[number % 2]


def job(number: int) -> dict[str, Any]:
    """The tenant is the request's, and not said here."""
    return {"plugin_name": PLUGIN, "queue_name": QUEUES[number // 2 % 2], "job_name": "look", "job_id": f"job-{number}"}


def wsgi_app(queue: ManagedQueueService) -> Callable[..., Iterator[bytes]]:
    """GET /<number> adds a job; the answer is streamed."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        yield f"{seen()} ".encode()
        queue.enqueue(job(int(environ["PATH_INFO"][1:])))
        yield seen().encode()

    return app


def asgi_app(queue: ManagedQueueService) -> Callable[..., Any]:
    """The same."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": f"{seen()} ".encode(), "more_body": True})
        await queue.aenqueue(job(int(scope["path"][1:])))
        await send({"type": "http.response.body", "body": seen().encode()})

    return app
