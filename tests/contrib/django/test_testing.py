"""The testing kit in a Django project's tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase

from tests.contrib.django.conftest import Project
from tests.contrib.django.site.shop import managed_jobs
from tests.contrib.django.site.shop.managed_jobs import SHOP
from tests.contrib.django.site.shop.models import Order
from xpert_mq.contrib.django.testing import ManagedQueueMixin
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.service import managed_queue

NOTE = {**SHOP, "job_name": "note", "payload": {"name": "of a job"}}
ANOTE = {**NOTE, "job_name": "anote"}


def names() -> list[str]:
    return sorted(Order.objects.values_list("name", flat=True))


class Cases(ManagedQueueMixin):
    """What holds in each kind of test case."""

    xpert_mq_settings: ClassVar[dict[str, Any]] = {"plugins": (managed_jobs.__name__,)}

    def test_handlers_see_what_the_test_has_made_and_the_reverse(self) -> None:
        for number, job in enumerate([NOTE, ANOTE], 1):
            Order.objects.create(name="of the test")
            managed_queue.enqueue(job)
            (run,) = self.queue.run_jobs(raising=True)
            assert run.outcome == "completed"
            assert names() == ["of a job"] * number + ["of the test"] * number

    async def test_async_test(self) -> None:
        await Order.objects.acreate(name="of the test")
        for job in (NOTE, ANOTE):
            await managed_queue.aenqueue(job)
        runs = await sync_to_async(self.queue.run_jobs)(raising=True)
        runs += await self.queue.arun_jobs()
        assert [run.outcome for run in runs] == ["completed"] * 2
        assert await sync_to_async(names)() == ["of a job", "of a job", "of the test"]

    def test_each_test_finds_the_server_empty(self) -> None:
        self.queue.enqueued.none()
        managed_queue.enqueue(NOTE, job_id="id")

    test_each_test_finds_it_empty_again = test_each_test_finds_the_server_empty


@pytest.mark.usefixtures("wired")
class TestInTestCase(Cases, TestCase):
    """Nothing is ever committed."""

    databases = frozenset({"default"})

    def test_jobs_of_a_commit(self) -> None:
        with self.captureOnCommitCallbacks(execute=True), transaction.atomic():
            Order.objects.create(name="of the test")
            managed_queue.enqueue(NOTE, on_commit=True)
            self.queue.enqueued.none()

        self.queue.enqueued(**NOTE)
        self.queue.run_jobs(raising=True)
        assert names() == ["of a job", "of the test"]

    def test_handler_leaves_the_test_s_transaction_alone(self) -> None:
        for job in (NOTE, ANOTE):
            managed_queue.enqueue(job)
            (run,) = self.queue.run_jobs(raising=True)
            assert run.result["atomic"]
        assert connection.in_atomic_block

    def test_rolled_back(self) -> None:
        assert names() == []


@pytest.mark.usefixtures("wired")
class TestInTransactionTestCase(Cases, TransactionTestCase):
    """All is committed."""

    databases = frozenset({"default"})

    def _fixture_teardown(self) -> None:
        # Django's own makes the permissions anew, which takes long.
        Order.objects.all().delete()

    def test_jobs_of_a_commit(self) -> None:
        with transaction.atomic():
            managed_queue.enqueue(NOTE, on_commit=True)
            self.queue.enqueued.none()

        self.queue.enqueued(**NOTE)
        assert not self.queue.run_jobs(raising=True)[0].result["atomic"]


#: For a runner of a process of its own, whose databases are in memory.
UNITTESTS = """
from django.test import TestCase, TransactionTestCase
from tests.contrib.django.site.shop.models import Order
from xpert_mq import managed_queue
from xpert_mq.contrib.django.testing import ManagedQueueMixin

JOB = {"plugin_name": "shop", "queue_name": "orders", "payload": {"name": "of a job"}}

class Cases(ManagedQueueMixin):
    def test_jobs(self):
        Order.objects.create(name="of the test")
        for number, name in enumerate(("note", "anote", "note", "anote"), 1):
            managed_queue.enqueue(JOB, job_name=name, on_commit=False)
            self.queue.run_jobs(raising=True)
            assert Order.objects.count() == number + 1

    async def test_async(self):
        await managed_queue.aenqueue(JOB, job_name="anote", on_commit=False)
        await self.queue.arun_jobs(raising=True)
        assert await Order.objects.acount() == 1

class InTestCase(Cases, TestCase):
    def test_commit(self):
        with self.captureOnCommitCallbacks(execute=True):
            managed_queue.enqueue(JOB, job_name="note")
            self.queue.enqueued.none()
        self.queue.enqueued(job_name="note")

class InTransactionTestCase(Cases, TransactionTestCase):
    pass
"""

#: With pytest-django's fixtures and the kit's.
PYTESTS = """
import pytest
from tests.contrib.django.site.shop.models import Order
from xpert_mq import managed_queue as service
from xpert_mq.contrib.django.testing import shared_connections

JOB = {"plugin_name": "shop", "queue_name": "orders", "payload": {"name": "of a job"}}

@pytest.fixture
def shared(db):
    with shared_connections():
        yield

@pytest.mark.django_db
def test_sync(run_jobs, enqueued, django_capture_on_commit_callbacks):
    Order.objects.create(name="of the test")
    with django_capture_on_commit_callbacks(execute=True):
        service.enqueue(JOB, job_name="note")
        enqueued.none()
    assert run_jobs(raising=True)[0].outcome == "completed"
    assert Order.objects.count() == 2

def test_async(run_jobs, shared):
    Order.objects.create(name="of the test")
    service.enqueue(JOB, job_name="anote", on_commit=False)
    assert run_jobs(raising=True)[0].outcome == "completed"
    assert Order.objects.count() == 2

@pytest.mark.django_db(transaction=True)
def test_committed(run_jobs):
    Order.objects.create(name="of the test")
    for name in ("note", "anote"):
        service.enqueue(JOB, job_name=name)
    assert [run.outcome for run in run_jobs(raising=True)] == ["completed"] * 2
    assert Order.objects.count() == 3
"""


@pytest.fixture
def project(server: EmbeddedServer, tmp_path: Path) -> Iterator[Project]:
    """With Redis away: tests have their own."""
    with closing(Project(server, tmp_path, REDIS_URL="redis://127.0.0.1:1/0", ON_COMMIT=True)) as made:
        (tmp_path / "tests_of_unittest.py").write_text(UNITTESTS)
        (tmp_path / "test_of_pytest.py").write_text(PYTESTS)
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--parallel", "2")])
def test_django_s_own_runner(project: Project, options: tuple[str, ...]) -> None:
    done = project.manage("test", "--pattern", "tests_of_*.py", *options)

    assert done.returncode == 0, done.stderr
    assert "Ran 5 tests" in done.stderr


@pytest.mark.slow
def test_pytest_django(project: Project) -> None:
    pytest.importorskip("pytest_django")
    # Where the package is not installed, its entry point is not there.
    installed = entry_points(group="pytest11", name="xpert_mq")
    plugins = () if installed else ("-p", "xpert_mq.testing.plugin")
    done = project.python(
        *("-m", "pytest", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio", *plugins),
        *("-o", "python_files=test*_of_*.py"),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "8 passed" in done.stdout
