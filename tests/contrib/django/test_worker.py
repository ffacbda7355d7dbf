"""The project with real workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.acceptance.conftest import slow
from tests.acceptance.nodes import wait_for
from tests.contrib.django.conftest import Project

ProjectFactory = Callable[..., Project]
POOLS = pytest.mark.parametrize("pool", ["threads", "prefork", slow("solo"), "gevent"])

#: Commits an order with its job, and is killed before the job is sent.
KILLED = """
import os, signal
from django.db import transaction
from tests.contrib.django.site.shop.models import Order
from xpert_mq import managed_queue, request_context

with request_context("t-1"), transaction.atomic():
    Order.objects.create(name="ordered")
    transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
    managed_queue.enqueue(
        plugin_name="shop", queue_name="orders", job_name="note", payload={"name": "noted"}, job_id="id", on_commit=True
    )
"""

ORDERS = """
import json
from tests.contrib.django.site.shop.models import Order
print(json.dumps(sorted(Order.objects.values_list("name", flat=True))))
"""

MEMBER = """
from tests.contrib.django.site.shop.models import Member
print(Member.objects.create_user("ada", tenant_id="t-1").pk)
"""


def orders(project: Project) -> list[str]:
    names: list[str] = project.shell(ORDERS)
    return names


def enqueue(project: Project, job: str, name: str = "n", **fields: Any) -> str:
    result = project.service.enqueue(
        plugin_name="shop", queue_name="orders", job_name=job, payload={"name": name}, **fields
    )
    return str(result.job_id)


@pytest.mark.slow
@POOLS
def test_handlers_of_an_app_run_with_its_models(project_factory: ProjectFactory, pool: str) -> None:
    project = project_factory()
    user = str(project.shell(MEMBER))
    project.worker(pool=pool)
    # Django's async queries need threads, which gevent replaces.
    handlers = ["note"] if pool == "gevent" else ["note", "anote"]

    jobs = [enqueue(project, job, f"of {job}", tenant_id="t-1", user_id=user) for job in handlers]
    seen = [project.finished(job_id, "t-1") for job_id in jobs]

    assert [(one.state, one.failed_reason) for one in seen] == [("completed", None)] * len(jobs)
    assert [(one.return_value["tenant"], one.return_value["user"]) for one in seen] == [("t-1", "ada")] * len(jobs)
    assert orders(project) == sorted(f"of {job}" for job in handlers)


def test_worker_with_an_outbox(project_factory: ProjectFactory) -> None:
    """One worker, for what is its own and for what a process left when it was killed."""
    project = project_factory(OUTBOX=True, OUTBOX_AFTER=0.1)
    user = str(project.shell(MEMBER))
    killed = project.python("-c", f"import django; django.setup()\n{KILLED}")
    assert killed.returncode == -9, killed.stderr
    assert orders(project) == ["ordered"]
    assert project.service.get_job("id", tenant_id="t-1") is None

    worker = project.worker()
    left_open = enqueue(project, "leave-open")
    other_tenant = enqueue(project, "note", tenant_id="t-2", user_id=user)
    by_a_user = enqueue(project, "anote", "async", tenant_id="t-1", user_id=user)

    # What the killed process committed runs, once.
    wait_for(lambda: project.service.get_job("id", tenant_id="t-1"), "the killed process' job")
    assert project.finished("id", "t-1").state == "completed"
    # A transaction that a handler leaves open is rolled back, and the user of a job must be its tenant's.
    assert project.finished(left_open).state == "completed"
    assert "left a transaction open" in worker.logs()
    assert "may not act for the tenant" in str(project.finished(other_tenant, "t-2").failed_reason)
    assert project.finished(by_a_user, "t-1").return_value["user"] == "ada"
    assert orders(project) == ["async", "noted", "ordered"]
    assert worker.terminate() == 0


@pytest.mark.slow
def test_commands(project_factory: ProjectFactory) -> None:
    project = project_factory()
    enqueue(project, "note", job_id="one", tenant_id="t-1", delay_ms=3_600_000)

    listed = project.manage("managed_jobs", "list", "--tenant", "t-1", "--json")

    assert [job["id"] for job in json.loads(listed.stdout)["jobs"]] == ["one"]
    assert project.manage("managed_jobs", "cancel", "one", "--tenant", "t-1").returncode == 0
    assert project.service.get_job("one", tenant_id="t-1") is None


@pytest.mark.slow
def test_worker_command(project_factory: ProjectFactory) -> None:
    """From another folder than that of the project, whose settings reach the worker."""
    project = project_factory(POOLS=["default", "extra"], CONCURRENCY=3)
    worker = project.spawn(
        *("-m", "django", "xpert_mq_worker", "--execution-pool", "extra", "--pool", "threads", "-l", "INFO"),
        name="command",
    )
    wait_for(lambda: b" ready." in worker.logs(), "the worker", 30)
    settings = project.settings.model_copy(update={"pools": ("default", "extra")})
    project.service.configure(settings)
    job_id = enqueue(project, "note", execution_pool="extra")

    assert project.finished(job_id).state == "completed"
    (node,) = project.service.executor.run(project.service.store.nodes())
    assert node.info is not None
    assert (node.info["concurrency"], node.info["pool"]) == (3, "thread")


@pytest.mark.slow
def test_wrong_settings_end_the_worker_with_their_reason(project_factory: ProjectFactory) -> None:
    project = project_factory()

    done = project.celery("worker", "-P", "solo", SITE_XPERT_MQ='{"PREFIX": "a/b"}')

    assert done.returncode != 0
    assert "MANAGED_QUEUE_PREFIX" in done.stdout + done.stderr


def test_process_of_a_project_keeps_its_celery_application(project_factory: ProjectFactory) -> None:
    """Celery's own fix-up for Django would make ours the default one."""
    project = project_factory()
    seen = project.shell(
        """
import json, celery._state
from xpert_mq import app, managed_queue
managed_queue.enqueue(plugin_name="shop", queue_name="orders", job_name="note")
print(json.dumps([celery._state.default_app is None, app.conf.task_default_queue]))
"""
    )

    assert seen == [True, project.settings.queue_name()]
