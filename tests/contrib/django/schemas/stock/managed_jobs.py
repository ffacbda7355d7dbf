"""Handlers that write into their tenant's schema."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection

from tests.contrib.django.schemas.stock.models import Item
from xpert_mq import ManagedQueueJob, current_context, plugin_job_processor

STOCK: Any = {"plugin_name": "stock", "queue_name": "items"}


def _seen() -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        schema = cursor.fetchone()[0]
    return {
        "schema": schema,
        "tenant": type(connection.tenant).__name__,
        "user": getattr(current_context().user, "username", None),
    }


@plugin_job_processor(**STOCK, job_name="add")
def add(job: ManagedQueueJob[Any]) -> dict[str, Any]:
    Item.objects.create(name=job.data)
    return _seen()


@plugin_job_processor(**STOCK, job_name="aadd")
async def aadd(job: ManagedQueueJob[Any]) -> dict[str, Any]:
    await Item.objects.acreate(name=job.data)
    return await sync_to_async(_seen)()


@plugin_job_processor(**STOCK, job_name="fail")
def fail(job: ManagedQueueJob[Any]) -> None:
    Item.objects.create(name=job.data)
    raise ValueError(_seen()["schema"])


@plugin_job_processor(**STOCK, job_name="afail")
async def afail(job: ManagedQueueJob[Any]) -> None:
    await Item.objects.acreate(name=job.data)
    raise ValueError((await sync_to_async(_seen)())["schema"])


@plugin_job_processor(**STOCK, job_name="look")
def look(job: ManagedQueueJob[Any]) -> dict[str, Any]:
    return _seen()


@plugin_job_processor(**STOCK, job_name="alook")
async def alook(job: ManagedQueueJob[Any]) -> dict[str, Any]:
    return await sync_to_async(_seen)()
