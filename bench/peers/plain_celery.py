"""Plain Celery: late acknowledgement and kept results; else its defaults. Results are kept for a day by default."""

from __future__ import annotations

import time
from typing import Any

from celery import Celery

from bench.peers.work import ATTEMPTS, BACKOFF_MS, NOOP, STAMP, URL, WAIT, WAIT_SECONDS, envelope, new_id, stamp

app = Celery("bench.peers.plain_celery", broker=URL, backend=URL)
app.conf.update(task_acks_late=True, broker_connection_retry_on_startup=True)
# Its default of 10 doesn't do for so many greenlets: acknowledgements get lost.
app.conf.broker_transport_options = {"max_connections": 10_000}


_OPTIONS: dict[str, Any] = {
    "autoretry_for": (Exception,),
    "max_retries": ATTEMPTS - 1,
    "retry_backoff": BACKOFF_MS // 1000,
}


@app.task(name=NOOP, **_OPTIONS)
def do_nothing(job: Any) -> None:
    """What a job costs by itself."""


@app.task(name=STAMP, **_OPTIONS)
def note_start(job: Any) -> None:
    """When it started."""
    stamp(job["payload"]["number"])


@app.task(name=WAIT, **_OPTIONS)
def wait(job: Any) -> None:
    """As for an answer from elsewhere, and when it has ended; in gevent's pool."""
    time.sleep(WAIT_SECONDS)
    stamp(job["payload"]["number"])


def add(job: str, number: int, size: int, delay_ms: int) -> None:
    """One job."""
    app.tasks[job].apply_async((envelope(job, number, size),), task_id=new_id(), countdown=delay_ms / 1000 or None)


def settle() -> None:
    """Leaves the results' channels: what nobody reads there would fill the server's memory."""
    app.backend.result_consumer.stop()
