"""Plain Celery with the same handlers: it keeps results and acknowledges late, as the managed queue; else defaults."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery

from bench.jobs import NOOP, STAMP, stamp

URL_VARIABLE = "XPERT_BENCH_PLAIN_URL"

app = Celery("bench.plain", broker=os.environ[URL_VARIABLE], backend=os.environ[URL_VARIABLE])
app.conf.update(task_acks_late=True, task_serializer="json", broker_connection_retry_on_startup=True)


@app.task(name=NOOP)  # type: ignore[untyped-decorator]
def do_nothing(payload: Any) -> None:
    """What a job costs by itself."""


@app.task(name=STAMP)  # type: ignore[untyped-decorator]
def note_start(payload: Any) -> None:
    """When it started."""
    stamp(payload["number"])
