"""Tries of jobs as tests see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

RunOutcome = Literal["completed", "failed", "retry", "deferred", "crashed", "dropped"]


class WorkerCrash(SystemExit):
    """The worker's process dies here. Raised by a handler, it is no failed try: the job is taken back as stalled."""

    def __init__(self) -> None:
        # As billiard ends a child upon SIGKILL.
        super().__init__(9 - 256)


@dataclass(frozen=True, slots=True)
class JobRun:
    """One try of a job, as `run_jobs` saw it.

    Attributes:
        outcome: `retry` after a failure with tries left; `deferred` by Defer; `crashed` with its worker; `dropped`: the
            message had nothing to start.
        attempts_made: ended tries when it began: 0 in the first.
        result: what the handler returned.
        error: what it raised.
    """

    job_id: str
    outcome: RunOutcome
    plugin_name: str = ""
    queue_name: str = ""
    job_name: str = ""
    tenant_id: str | None = None
    attempts_made: int = 0
    result: Any = None
    error: BaseException | None = None
