"""Handlers, found since the module has this name."""

from __future__ import annotations

import os
import threading
from typing import Any

from django.db import connection, transaction

from tests.contrib.django.site.shop.models import Order
from xpert_mq import JobContext, ManagedQueueJob, current_context, plugin_job_processor

SHOP: Any = {"plugin_name": "shop", "queue_name": "orders"}


def _seen() -> dict[str, Any]:
    """What the database says of the connection, and who asks."""
    context = current_context()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1" if connection.vendor == "sqlite" else "SELECT pg_backend_pid()")
        backend = cursor.fetchone()[0]
    return {
        "backend": backend,
        "atomic": connection.in_atomic_block,
        "tenant": context.tenant_id,
        "user": getattr(context.user, "username", None),
        "pid": os.getpid(),
        "thread": threading.get_ident(),
    }


@plugin_job_processor(**SHOP, job_name="note")
def note(job: ManagedQueueJob[Any], context: JobContext) -> dict[str, Any]:
    Order.objects.create(name=job.data["name"], tenant_id=context.tenant_id)
    return _seen()


@plugin_job_processor(**SHOP, job_name="anote")
async def anote(job: ManagedQueueJob[Any], context: JobContext) -> dict[str, Any]:
    from asgiref.sync import sync_to_async

    await Order.objects.acreate(name=job.data["name"], tenant_id=context.tenant_id)
    return await sync_to_async(_seen)()


@plugin_job_processor(**SHOP, job_name="leave-open")
def leave_open(job: ManagedQueueJob[Any]) -> dict[str, Any]:
    transaction.atomic().__enter__()
    Order.objects.create(name=job.data["name"])
    return _seen()


@plugin_job_processor(**SHOP, job_name="cut")
def cut(job: ManagedQueueJob[Any]) -> None:
    """The database ends the connection, as at its restart."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
