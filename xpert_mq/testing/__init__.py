"""What a plugin's own tests use: the platform on a private server, jobs that run in the test's process, and checks.

With pytest the fixtures of `xpert_mq.testing.plugin` give all of it. Names are loaded on first use, since pytest
imports this package in every project that has it installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpert_mq.testing.checks import assert_scoped, no_bytes
    from xpert_mq.testing.contexts import as_api_client, as_user
    from xpert_mq.testing.enqueued import EnqueuedJobs
    from xpert_mq.testing.kit import QueueKit, RunLimitError
    from xpert_mq.testing.runs import JobRun, WorkerCrash
    from xpert_mq.testing.worker import WorkerProcess

_HOMES = {
    "EnqueuedJobs": "enqueued",
    "JobRun": "runs",
    "QueueKit": "kit",
    "RunLimitError": "kit",
    "WorkerCrash": "runs",
    "WorkerProcess": "worker",
    "as_api_client": "contexts",
    "as_user": "contexts",
    "assert_scoped": "checks",
    "no_bytes": "checks",
}

__all__ = [
    "EnqueuedJobs",
    "JobRun",
    "QueueKit",
    "RunLimitError",
    "WorkerCrash",
    "WorkerProcess",
    "as_api_client",
    "as_user",
    "assert_scoped",
    "no_bytes",
]


def __getattr__(name: str) -> Any:
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
