"""Runs the demo: server, worker, producer; shows the progress, and ends with a table and a verdict.

Exit status: 0 if the numbers add up, 1 if something is off, 130 after Ctrl-C.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from examples.demo import check
from examples.demo.plan import TENANTS, Key, Planned, make_plan
from examples.demo.screen import Screen
from xpert_mq import Settings, managed_queue
from xpert_mq.embedded import EmbeddedServer

_ROOT = Path(__file__).resolve().parents[2]
_STARTED_WITHIN = 30
_DONE_WITHIN = 45
_STOPPED_WITHIN = 10
_LOG_LINES = 20
_LOOKS_PER_SECOND = 5


class DemoError(Exception):
    """The demo can't go on."""


def main() -> int:
    """Gives the exit status."""
    # Also where the shell had it ignored, as for a command in the background.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        with tempfile.TemporaryDirectory(prefix="xpert-mq-demo-") as folder, Screen() as screen:
            # Away from here, so that no `.env` of a deployment is read.
            os.chdir(folder)
            try:
                return _run(screen, Path(folder))
            finally:
                os.chdir(_ROOT)
    except DemoError as error:
        print(f"The demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; worker and server have been stopped.", file=sys.stderr)
        return 130


def _run(screen: Screen, folder: Path) -> int:
    plan = make_plan()
    started = time.monotonic()
    with EmbeddedServer() as server:
        _configure(server.url)
        screen.say(f"Server: {server.url} (pid {server.pid})")
        with _worker(folder / "worker.log") as worker:
            screen.say(f"Worker: celery -A xpert_mq worker --pool threads (pid {worker.pid})")
            _wait_until_ready(worker, folder / "worker.log")
            screen.say(f"Producer: {len(plan)} jobs of {len(TENANTS)} tenants")
            told = check.read_told(_producer_lines())
            _watch(screen, plan, told, worker, folder / "worker.log")
            seen = check.look(plan)
    screen.table(check.rows(plan, seen))
    found = check.faults(plan, told, seen)
    screen.faults(found)
    took = f"{time.monotonic() - started:.1f} s"
    if found:
        screen.say(f"{len(found)} things are off, in {took}.")
        return 1
    screen.say(_verdict(plan, told, seen) + f" All as planned, in {took}.")
    return 0


def _terminated(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


def _configure(url: str) -> None:
    """For this process and those that it starts: the demo's own settings and none of a deployment's."""
    for field in Settings.model_fields.values():
        os.environ.pop(str(field.validation_alias), None)
    os.environ |= {
        "XPERT_MQ_REDIS_URL": url,
        "MANAGED_QUEUE_PREFIX": "demo",
        "XPERT_MQ_PLUGINS": "examples.demo.plugin",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))),
    }


@contextlib.contextmanager
def _worker(log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "celery", "-A", "xpert_mq", "worker", "--pool", "threads", "--loglevel", "INFO"]
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches the demo alone, which then stops the worker in order.
        worker = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        yield worker
    finally:
        worker.terminate()
        try:
            worker.wait(_STOPPED_WITHIN)
        except subprocess.TimeoutExpired:
            raise DemoError(f"the worker did not end within {_STOPPED_WITHIN} s\n{_tail(log)}") from None
        finally:
            # Where it hangs, or Ctrl-C came again.
            worker.kill()
            worker.wait()


def _wait_until_ready(worker: subprocess.Popen[bytes], log: Path) -> None:
    # Not before the settings are there: the application reads them when it is imported.
    from xpert_mq import app

    deadline = time.monotonic() + _STARTED_WITHIN
    while not app.control.ping(timeout=0.3):
        _check_alive(worker, log)
        if time.monotonic() > deadline:
            raise DemoError(f"the worker was not ready within {_STARTED_WITHIN} s\n{_tail(log)}")


def _check_alive(worker: subprocess.Popen[bytes], log: Path) -> None:
    if worker.poll() is not None:
        raise DemoError(f"the worker ended with status {worker.returncode}\n{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-_LOG_LINES:])


def _producer_lines() -> list[str]:
    command = [sys.executable, "-m", "examples.demo.producer"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_STARTED_WITHIN, check=True)
    except subprocess.CalledProcessError as error:
        raise DemoError(f"the producer failed\n{error.stderr}") from error
    return done.stdout.splitlines()


def _watch(
    screen: Screen, plan: Sequence[Planned], told: dict[Key, check.Told], worker: subprocess.Popen[bytes], log: Path
) -> None:
    """Shows what the jobs do until all have ended, or the time is over: then the check says what is missing."""
    states = {job.key: "cancelled" if _was_cancelled(job, told) else "unknown" for job in plan}
    deadline = time.monotonic() + _DONE_WITHIN
    while True:
        _check_alive(worker, log)
        for (tenant, job_id), state in states.items():
            if state not in ("completed", "failed", "cancelled"):
                job = managed_queue.get_job(job_id, tenant_id=tenant)
                states[tenant, job_id] = job.state if job else "unknown"
        screen.show({tenant: Counter(states[key] for key in states if key[0] == tenant) for tenant in TENANTS})
        if all(state in ("completed", "failed", "cancelled") for state in states.values()):
            return
        if time.monotonic() > deadline:
            screen.say(f"Not all jobs have ended within {_DONE_WITHIN} s.")
            return
        time.sleep(1 / _LOOKS_PER_SECOND)


def _was_cancelled(job: Planned, told: dict[Key, check.Told]) -> bool:
    return job.key in told and told[job.key].cancel == "cancelled"


def _verdict(plan: Sequence[Planned], told: dict[Key, check.Told], seen: check.Seen) -> str:
    states = Counter(snapshot.state for snapshot in seen.snapshots.values() if snapshot)
    cancelled = sum(_was_cancelled(job, told) for job in plan)
    ended = f"{states['completed']} completed, {states['failed']} failed for good, {cancelled} cancelled"
    return f"{len(plan)} jobs: {ended}; {seen.starts.total()} starts."


if __name__ == "__main__":
    sys.exit(main())
