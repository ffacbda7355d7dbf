"""Connections to PostgreSQL in workers: closed, kept and pooled as the project says."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import django
import pytest

from tests.acceptance.nodes import wait_for
from tests.contrib.django.conftest import Project
from tests.contrib.django.postgres import Postgres, program
from tests.contrib.django.test_worker import KILLED, ProjectFactory, enqueue, orders

pytestmark = pytest.mark.slow

POOLS = pytest.mark.parametrize("pool", ["threads", "prefork", "gevent", "solo"])
POOLED = pytest.mark.skipif(django.VERSION < (5, 1), reason="Django has pools since 5.1")
DJANGO_POOL = {"OPTIONS": {"pool": {"min_size": 1, "max_size": 4, "timeout": 10}}}

KEPT_AND_POOLED = pytest.mark.parametrize(
    "options", [pytest.param({"CONN_MAX_AGE": 600}, id="kept"), pytest.param(DJANGO_POOL, id="pooled", marks=POOLED)]
)


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[Postgres]:
    """One for all of these tests."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        pytest.skip("psycopg is not installed")
    if program("postgres") is None:
        pytest.fail("PostgreSQL is not installed") if os.environ.get("CI") else pytest.skip("no PostgreSQL")
    with closing(Postgres()) as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Postgres) -> Postgres:
    """With an empty database."""
    postgres_server.renew()
    return postgres_server


def run(project: Project, job: str, name: str = "n") -> Any:
    return project.finished(enqueue(project, job, name))


def backends(project: Project, job: str, times: int = 3) -> list[int]:
    """The database's processes that served so many jobs, one after the other."""
    found = [run(project, job, f"{job} {number}") for number in range(times)]
    assert [(one.state, one.failed_reason) for one in found] == [("completed", None)] * times
    return [one.return_value["backend"] for one in found]


@POOLS
def test_connections_are_closed_by_default(project_factory: ProjectFactory, postgres: Postgres, pool: str) -> None:
    project = project_factory(database=postgres.database())
    project.worker(pool=pool)

    assert len(set(backends(project, "note"))) == 3
    if pool != "gevent":
        assert len(set(backends(project, "anote"))) == 3
    wait_for(lambda: postgres.clients() == [], "all connections to be closed")


@pytest.mark.parametrize("pool", ["threads", "prefork", "solo"])
def test_persistent_connections_persist(project_factory: ProjectFactory, postgres: Postgres, pool: str) -> None:
    project = project_factory(database=postgres.database(CONN_MAX_AGE=600))
    project.worker(pool=pool)

    assert len(set(backends(project, "note"))) == 1
    # An async handler's thread ends with it.
    assert len(set(backends(project, "anote"))) == 3
    wait_for(lambda: postgres.clients() == ["idle"], "one connection to be kept")


def test_greenlets_leave_no_persistent_connection(project_factory: ProjectFactory, postgres: Postgres) -> None:
    project = project_factory(database=postgres.database(CONN_MAX_AGE=600))
    project.worker(pool="gevent")

    assert len(set(backends(project, "note"))) == 3
    wait_for(lambda: postgres.clients() == [], "all connections to be closed")


@POOLED
@pytest.mark.parametrize("pool", ["threads", "prefork", "solo"])
def test_pooled_connections_go_back(project_factory: ProjectFactory, postgres: Postgres, pool: str) -> None:
    project = project_factory(database=postgres.database(**DJANGO_POOL))
    project.worker(pool=pool)

    # More jobs than the pool has connections, sync and async.
    assert len(set(backends(project, "note", 6))) <= 4
    assert len(set(backends(project, "anote", 6))) <= 4
    wait_for(lambda: set(postgres.clients()) == {"idle"}, "all connections to be back in the pool")


@POOLED
def test_children_share_no_connection(project_factory: ProjectFactory, postgres: Postgres) -> None:
    project = project_factory(database=postgres.database(**DJANGO_POOL), OUTBOX=True, OUTBOX_AFTER=0.0)
    project.worker("-c", "3", pool="prefork")

    jobs = [enqueue(project, "note", str(number)) for number in range(30)]
    seen = [project.finished(job_id) for job_id in jobs]

    assert {one.state for one in seen} == {"completed"}
    served = {(one.return_value["pid"], one.return_value["backend"]) for one in seen}
    # Each connection has served one child alone.
    assert len({backend for _, backend in served}) == len(served)
    assert len(orders(project)) == 30


@POOLS
@pytest.mark.parametrize("age", [0, 600])
def test_connection_that_was_cut_is_replaced(
    project_factory: ProjectFactory, postgres: Postgres, pool: str, age: int
) -> None:
    project = project_factory(database=postgres.database(CONN_MAX_AGE=age))
    project.worker(pool=pool)

    assert run(project, "cut").state == "failed"
    assert run(project, "note").failed_reason is None


@POOLS
@KEPT_AND_POOLED
def test_database_that_restarts_between_two_jobs(
    project_factory: ProjectFactory, postgres: Postgres, pool: str, options: dict[str, Any]
) -> None:
    """Nothing tells the worker that its connection is gone."""
    project = project_factory(database=postgres.database(**options))
    project.worker(pool=pool)
    # Django's async queries need threads, which gevent replaces.
    jobs = ["note"] if pool == "gevent" else ["note", "anote"]

    for _ in range(2):
        for job in jobs:
            assert run(project, job).failed_reason is None
        postgres.restart()
    assert run(project, "note").failed_reason is None


@KEPT_AND_POOLED
def test_jobs_at_the_same_time(project_factory: ProjectFactory, postgres: Postgres, options: dict[str, Any]) -> None:
    """Sync and async ones, on four threads."""
    project = project_factory(database=postgres.database(**options))
    project.worker("-c", "4")

    jobs = [enqueue(project, job, f"{job} {number}") for number in range(40) for job in ("note", "anote")]
    seen = [project.finished(job_id) for job_id in jobs]

    assert {(one.state, one.failed_reason) for one in seen} == {("completed", None)}
    assert len(orders(project)) == len(jobs)
    # One for each thread, or what the pool holds.
    wait_for(lambda: 1 <= len(clients := postgres.clients()) <= 4 and set(clients) == {"idle"}, "no more connections")


@POOLS
def test_transaction_left_open_is_rolled_back(project_factory: ProjectFactory, postgres: Postgres, pool: str) -> None:
    project = project_factory(database=postgres.database(CONN_MAX_AGE=600))
    project.worker(pool=pool)

    assert run(project, "leave-open", "lost").state == "completed"
    assert not run(project, "note", "kept").return_value["atomic"]
    assert "idle in transaction" not in postgres.clients()
    assert orders(project) == ["kept"]


@POOLS
def test_workers_send_what_a_killed_process_left(
    project_factory: ProjectFactory, postgres: Postgres, pool: str
) -> None:
    project = project_factory(database=postgres.database(), OUTBOX=True, OUTBOX_AFTER=0.1)
    killed = project.python("-c", f"import django; django.setup()\n{KILLED}")
    assert killed.returncode == -9, killed.stderr

    for _ in range(2):
        project.worker(pool=pool)

    wait_for(lambda: project.service.get_job("id", tenant_id="t-1"), "the killed process' job")
    assert project.finished("id", "t-1").state == "completed"
    assert orders(project) == ["noted", "ordered"]
