from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, HttpResponse

from tests.contrib.django.schemas.stock.managed_jobs import STOCK
from xpert_mq import managed_queue


def add(request: HttpRequest) -> HttpResponse:
    name = request.GET["name"]
    with transaction.atomic():
        managed_queue.enqueue(STOCK, job_name=request.GET["job"], payload=name, job_id=name, on_commit=True)
    return HttpResponse()
