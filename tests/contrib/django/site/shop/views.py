from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.db import transaction
from django.http import FileResponse, HttpRequest, JsonResponse, StreamingHttpResponse

from tests.contrib.django.site.shop.managed_jobs import SHOP
from tests.contrib.django.site.shop.models import Order
from xpert_mq import current_context, managed_queue


def _owners() -> list[Any]:
    context = current_context()
    return [context.tenant_id, context.organization_id, context.user_id]


def whoami(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"owners": _owners()})


async def awhoami(request: HttpRequest) -> JsonResponse:
    await asyncio.sleep(0)
    return JsonResponse({"owners": _owners()})


def _parts() -> Iterator[str]:
    for _ in range(2):
        yield json.dumps(_owners()) + "\n"


def stream(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(_parts())


def download(request: HttpRequest) -> FileResponse:
    return FileResponse(_parts())


async def astream(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        for _ in range(2):
            await asyncio.sleep(0)
            yield json.dumps(_owners()) + "\n"

    return StreamingHttpResponse(parts())


def order(request: HttpRequest) -> JsonResponse:
    name = request.GET["name"]
    with transaction.atomic():
        Order.objects.create(name=name)
        result = managed_queue.enqueue(SHOP, job_name="note", payload={"name": name}, job_id=name, on_commit=True)
        if "fail" in request.GET:
            transaction.set_rollback(True)
    return JsonResponse({"job": result.job_id})


async def aorder(request: HttpRequest) -> JsonResponse:
    name = request.GET["name"]
    result = await managed_queue.aenqueue(SHOP, job_name="anote", payload={"name": name}, job_id=name)
    return JsonResponse({"job": result.job_id})
