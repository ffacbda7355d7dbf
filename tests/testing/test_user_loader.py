"""The function that loads a job's user runs inside what a framework puts around handlers."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from xpert_mq import JobContext, ManagedQueueJob, ManagedQueueService, current_context, registry
from xpert_mq.testing import JobRun

RunJobs = Callable[..., list[JobRun]]
JOB: dict[str, Any] = {"plugin_name": "acme", "queue_name": "mail", "job_name": "send"}

#: The wrapper that the caller is in.
_inside = contextvars.ContextVar("inside", default=0)
_entered: list[int] = []


@dataclass
class User:
    id: str
    inside: int


@pytest.fixture(params=["load", "aload"])
def xpert_mq_settings(request: pytest.FixtureRequest) -> Mapping[str, Any]:
    return {"user_loader": f"{__name__}:{request.param}"}


@pytest.fixture(autouse=True)
def wrapper(queue_kit: object) -> Iterator[None]:
    _entered.clear()
    remove = registry.add_wrapper(_around)
    yield
    remove()


@contextmanager
def _around(_: JobContext) -> Iterator[None]:
    _entered.append(len(_entered) + 1)
    token = _inside.set(_entered[-1])
    yield
    _inside.reset(token)


def load(user_id: str, tenant_id: str | None) -> User:
    # It may block.
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    return _user(user_id, tenant_id)


async def aload(user_id: str, tenant_id: str | None) -> User:
    await asyncio.sleep(0)
    return _user(user_id, tenant_id)


def _user(user_id: str, tenant_id: str | None) -> User:
    assert current_context().tenant_id == tenant_id == "t"
    return User(user_id, _inside.get())


def _seen() -> dict[str, Any]:
    user = current_context().user
    return {"user": user.id, "loaded_in": user.inside, "handled_in": _inside.get()}


def handle(job: ManagedQueueJob[Any]) -> Any:
    return _seen()


async def ahandle(job: ManagedQueueJob[Any]) -> Any:
    return _seen()


@pytest.mark.parametrize("handler", [handle, ahandle])
def test_user_is_loaded_inside_the_wrappers(
    managed_queue: ManagedQueueService, run_jobs: RunJobs, handler: Callable[..., Any]
) -> None:
    registry.register(**JOB, handler=handler)
    managed_queue.enqueue(**JOB, tenant_id="t", user_id="u")

    (run,) = run_jobs(raising=True)

    assert run.result["user"] == "u"
    assert run.result["loaded_in"] > 0
    assert run.result["handled_in"] > 0


@pytest.mark.parametrize("xpert_mq_settings", ["load"], indirect=True)
def test_what_loads_the_user_shares_its_wrapper_with_a_sync_handler(
    managed_queue: ManagedQueueService, run_jobs: RunJobs
) -> None:
    """So that a user's lazy attributes can be read by the session that loaded it."""
    registry.register(**JOB, handler=handle)
    managed_queue.enqueue(**JOB, tenant_id="t", user_id="u")

    (run,) = run_jobs(raising=True)

    assert (run.result["loaded_in"], run.result["handled_in"]) == (1, 1)


def test_job_without_a_user_enters_no_wrapper_but_the_handler_s(
    managed_queue: ManagedQueueService, run_jobs: RunJobs
) -> None:
    registry.register(**JOB, handler=lambda job: _entered.copy())
    managed_queue.enqueue(**JOB, tenant_id="t")

    assert run_jobs(raising=True)[0].result == [1]
