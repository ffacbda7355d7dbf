"""A real worker, in a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xpert_mq.models import JobSnapshot
from xpert_mq.service import managed_queue
from xpert_mq.testing.worker_main import VARIABLE

_READY_SECONDS = 30.0
_END_SECONDS = 10.0
_POLL_SECONDS = 0.02
_LOG_CHARACTERS = 4000


class WorkerProcess:
    """`celery -A xpert_mq worker` on the test's server. On Linux it ends with the test's process, however that ends.

    Args:
        forced: settings by their fields' names, which go before what a framework's configuration says.
        options: further ones of the command line.
        folder: the working directory, from which plugins can be imported too.
        env: variables beside this process' own.
        log: the file for its output.
    """

    def __init__(
        self, forced: Mapping[str, Any], options: Sequence[str], folder: Path, env: Mapping[str, str], log: Path
    ) -> None:
        self.log = log
        before = managed_queue.get_execution_pool_health().worker_count
        command = [sys.executable, "-m", "xpert_mq.testing.worker_main", "worker", "-l", "INFO"]
        own = {VARIABLE: json.dumps(forced), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [*command, "--without-mingle", "--without-gossip", *options],
                cwd=folder,
                env={**os.environ, **own, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own, which can be killed with its children.
                start_new_session=True,
            )
        try:
            self._wait_until_ready(before + 1)
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """Of the main process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the main process is there."""
        return self._process.poll() is None

    def finished(self, job_id: str, tenant_id: str | None = None, timeout: float = 15) -> JobSnapshot:
        """The job when it has ended, either way. AssertionError, with the end of the log, if it does not in time.

        Args:
            timeout: seconds.
        """
        __tracebackhide__ = True
        deadline = time.monotonic() + timeout
        while True:
            job = managed_queue.get_job(job_id, tenant_id=tenant_id)
            if job is not None and job.state in ("completed", "failed"):
                return job
            if time.monotonic() > deadline:
                state = job.state if job else "not kept"
                raise AssertionError(f"job {job_id!r} is {state} after {timeout:g} s\n{self._log_tail()}")
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """Ends it and its children as a crash would (SIGKILL)."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """Ends it in order: what runs may end, for 10 s."""
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_SECONDS)
        # Also children that have outlived it.
        self.kill()

    def _wait_until_ready(self, workers: int) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while managed_queue.get_execution_pool_health().worker_count < workers:
            if not self.is_running:
                raise AssertionError(f"the worker has ended with {self._process.returncode}\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"the worker is not ready after {_READY_SECONDS:g} s\n{self._log_tail()}")
            time.sleep(_POLL_SECONDS)

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-_LOG_CHARACTERS:]
