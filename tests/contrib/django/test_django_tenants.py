"""A project with django-tenants: handlers have the schema of their job's tenant, and nobody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.nodes import wait_for
from tests.contrib.django.conftest import Project
from tests.contrib.django.postgres import Postgres
from tests.contrib.django.test_postgres import postgres, postgres_server  # noqa: F401 - fixtures
from xpert_mq.embedded import EmbeddedServer

pytest.importorskip("django_tenants")
pytestmark = pytest.mark.slow

CUSTOMERS = """
from django.contrib.auth.models import User
from django_tenants.utils import schema_context
from tests.contrib.django.schemas.customers.models import Customer
Customer.objects.create(schema_name="public")
for name, user in (("acme", "ada"), ("globex", "bob")):
    Customer.objects.create(schema_name=name).domains.create(domain=f"{name}.example.com")
    with schema_context(name):
        assert User.objects.create_user(user).pk == 1
"""

REQUESTS = """
from django.contrib.auth.models import User
from django.test import Client
from django_tenants.utils import schema_context
for number in range({times}):
    for name in ("acme", "globex"):
        client = Client(HTTP_HOST=f"{{name}}.example.com")
        with schema_context(name):
            client.force_login(User.objects.get())
        for job in ("add", "aadd"):
            assert client.get("/add", {{"job": job, "name": f"{{job}} {{number}}"}}).status_code == 200
"""

#: A job in its transaction, and killed before the job is sent.
KILLED = """
import os, signal
from django.db import transaction
from django_tenants.utils import schema_context
from tests.contrib.django.schemas.stock.models import Item
from xpert_mq import managed_queue, request_context

with schema_context("acme"), request_context("acme"), transaction.atomic():
    Item.objects.create(name="ordered")
    transaction.on_commit(lambda: os.kill(os.getpid(), signal.SIGKILL))
    managed_queue.enqueue(
        plugin_name="stock", queue_name="items", job_name="add", payload="noted", job_id="id", on_commit=True
    )
"""

ITEMS = """
import json
from django_tenants.utils import schema_context
from tests.contrib.django.schemas.stock.models import Item
found = {}
for name in ("acme", "globex"):
    with schema_context(name):
        found[name] = sorted(Item.objects.values_list("name", flat=True))
print(json.dumps(found))
"""


class TenantsProject(Project):
    """Two customers, each with one user, whose ids are the same."""

    def __init__(self, server: EmbeddedServer, folder: Path, postgres: Postgres, **options: Any) -> None:  # noqa: F811
        age = options.pop("age", 0)
        database = postgres.database(CONN_MAX_AGE=age) | {"ENGINE": "django_tenants.postgresql_backend"}
        super().__init__(server, folder, database=database, **options)
        self.env["DJANGO_SETTINGS_MODULE"] = "tests.contrib.django.schemas.settings"

    def migrate(self) -> None:
        """Makes the public tables, and the customers with theirs."""
        done = self.python("-m", "django", "migrate_schemas", "--shared", "-v", "0")
        assert done.returncode == 0, done.stderr
        self.do(CUSTOMERS)

    def do(self, code: str) -> None:
        """Runs code in the project."""
        self.shell(f"{code}\nprint('null')")

    def items(self) -> dict[str, list[str]]:
        """The names by tenant."""
        found: dict[str, list[str]] = self.shell(ITEMS)
        return found

    def run(self, job: str, tenant: str | None = None, **fields: Any) -> Any:  # type: ignore[override] # their own job
        """Enqueues a job, and waits for its end."""
        result = self.service.enqueue(
            plugin_name="stock", queue_name="items", job_name=job, payload=job, tenant_id=tenant, **fields
        )
        return self.finished(result.job_id, tenant)


@pytest.fixture
def tenants_project(
    server: EmbeddedServer,
    tmp_path: Path,
    postgres: Postgres,  # noqa: F811
) -> Iterator[Callable[..., TenantsProject]]:
    with ExitStack() as projects:

        def make(**options: Any) -> TenantsProject:
            project = projects.enter_context(closing(TenantsProject(server, tmp_path, postgres, **options)))
            project.migrate()
            return project

        yield make


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_jobs_of_requests_run_in_the_schema_of_their_subdomain(
    tenants_project: Callable[..., TenantsProject], pool: str
) -> None:
    project = tenants_project(age=600)
    project.worker("-c", "2", pool=pool)
    project.do(REQUESTS.format(times=10))

    names = [f"{job} {number}" for job in ("aadd", "add") for number in range(10)]
    for tenant, user in (("acme", "ada"), ("globex", "bob")):
        seen = [project.finished(name, tenant) for name in names]
        assert [(one.state, one.failed_reason) for one in seen] == [("completed", None)] * len(names)
        wanted = {"schema": tenant, "tenant": "Customer", "user": user}
        assert [one.return_value for one in seen] == [wanted] * len(names)
    assert project.items() == {"acme": names, "globex": names}


@pytest.mark.parametrize("pool", ["threads", "prefork", "solo", "gevent"])
def test_schema_ends_with_the_handler(tenants_project: Callable[..., TenantsProject], pool: str) -> None:
    """However it ends; the connection is kept."""
    project = tenants_project(age=600)
    project.worker(pool=pool)
    public = {"schema": "public", "tenant": "FakeTenant", "user": None}

    # Django's async queries need threads, which gevent replaces.
    for prefix in ("", "a") if pool != "gevent" else ("",):
        assert project.run(f"{prefix}add", "acme").return_value["schema"] == "acme"
        assert project.run(f"{prefix}look").return_value == public
        assert project.run(f"{prefix}fail", "globex").failed_reason == "globex"
        assert project.run(f"{prefix}look").return_value == public
    assert "no tenant with the schema 'gone'" in str(project.run("add", "gone").failed_reason)
    assert project.run("look").return_value == public


def test_schema_around_the_handler_comes_back(tenants_project: Callable[..., TenantsProject]) -> None:
    """As in a test that runs jobs in its own tenant's schema."""
    tenants_project().do(
        """
from django.db import connection
from django_tenants.utils import schema_context
from xpert_mq import request_context
from xpert_mq.contrib.django import databases
try:
    with schema_context("globex"), request_context("acme"):
        with databases.around():
            assert connection.schema_name == "acme"
            connection.set_schema_to_public()
        assert connection.schema_name == "globex"
        with databases.around():
            raise LookupError
except LookupError:
    pass
assert connection.schema_name == "public"
"""
    )


def test_outbox_is_in_the_public_schema(
    tenants_project: Callable[..., TenantsProject],
    postgres: Postgres,  # noqa: F811
) -> None:
    project = tenants_project(OUTBOX=True, OUTBOX_AFTER=0.1)
    killed = project.python("-c", f"import django; django.setup()\n{KILLED}")
    assert killed.returncode == -9, killed.stderr
    assert project.items() == {"acme": ["ordered"], "globex": []}

    project.worker()

    wait_for(lambda: project.service.get_job("id", tenant_id="acme"), "the killed process' job")
    assert project.finished("id", "acme").return_value["schema"] == "acme"
    assert project.items() == {"acme": ["noted", "ordered"], "globex": []}
