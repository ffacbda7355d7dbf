"""Looking again and again: at a list, until Ctrl-C; or at one job, until it has ended."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from xpert_mq.cli.job import Job, document, read_job
from xpert_mq.cli.output import age, console, is_live, say, say_json
from xpert_mq.cli.server_client import ServerClock

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.live import Live

    from xpert_mq.service import ManagedQueueService


class Sight(Protocol):
    """What one can look at several times."""

    def look(self) -> None:
        """Asks the server."""

    def document(self) -> Any:
        """What was seen, for machines."""

    def picture(self) -> RenderableType:
        """What was seen, for people."""


def keep_looking(sight: Sight, interval: float, as_json: bool) -> None:
    """Shows it every `interval` seconds until Ctrl-C: in place in a terminal, else each after its time."""
    from rich.live import Live

    _mind_interrupts()
    live = None if as_json or not is_live() else Live(console=console(), auto_refresh=False)
    try:
        with live or contextlib.nullcontext():
            while True:
                started = time.monotonic()
                sight.look()
                took = time.monotonic() - started
                _show(sight, live, as_json)
                time.sleep(pause(interval, took))
    except KeyboardInterrupt:
        return


def pause(interval: float, took: float) -> float:
    """Seconds until the next look: at least as long as the last one took, so that the server is idle half the time."""
    return max(interval, took)


def _show(sight: Sight, live: Live | None, as_json: bool) -> None:
    if live:
        live.update(sight.picture(), refresh=True)
    elif as_json:
        say_json(sight.document())
    else:
        say(_now())
        console().print(sight.picture(), crop=False)
        say()


def _mind_interrupts() -> None:
    # Also where a shell had them ignored, as for a command in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def follow(service: ManagedQueueService, first: Job, interval: float, as_json: bool) -> int:
    """Tells each change of a job until it has ended or is gone. Gives the exit code; 130 after Ctrl-C."""
    _mind_interrupts()
    clock = ServerClock(service.settings)
    told: Any = None
    try:
        for job in _looks(service, first, interval):
            if as_json and job is None:
                say_json({"id": first.snapshot.id, "state": None})
            elif job is None:
                say(f"{_now()}  gone: cancelled, or ended and not kept")
            elif (change := _change(job)) != told:
                told = change
                say_json(document(job)) if as_json else say(_line(job, clock.now()))
            if job is None or job.snapshot.state in ("completed", "failed"):
                return int(job is None or job.snapshot.state == "failed")
    except KeyboardInterrupt:
        pass
    return 130


def _looks(service: ManagedQueueService, first: Job, interval: float) -> Iterator[Job | None]:
    snapshot = first.snapshot
    yield first
    took = 0.0
    while True:
        time.sleep(pause(interval, took))
        started = time.monotonic()
        job = read_job(service, snapshot.id, snapshot.tenant_id)
        took = time.monotonic() - started
        yield job


def _change(job: Job) -> tuple[object, ...]:
    snapshot = job.snapshot
    return snapshot.state, snapshot.attempts_made, snapshot.failed_reason, snapshot.processed_on, job.due_at


def _line(job: Job, now: float) -> str:
    snapshot = job.snapshot
    parts = [_now(), f"{snapshot.state:<9}", f"tries {snapshot.attempts_made}/{snapshot.opts.attempts}"]
    if job.due_at is not None:
        parts.append(f"due in {age(max(0, job.due_at - now))}")
    if snapshot.failed_reason is not None:
        parts.append(f"failed with: {' '.join(snapshot.failed_reason.split())}")
    return "  ".join(parts)


def _now() -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}"
