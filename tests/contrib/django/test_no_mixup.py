"""Requests and their jobs, of two tenants in turn, with Django's users: every one sees its own context."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.acceptance.nodes import LocalProcess, wait_for
from tests.contrib import alternating
from tests.contrib.alternating import owner
from tests.contrib.django.conftest import Project
from tests.contrib.pool_server import SERVERS
from tests.contrib.test_no_mixup import CLIENTS, answered_right, ask, ran_right

#: Of each tenant's user the primary key, and a session.
Members = list[tuple[str, str]]

MEMBERS = """
import json
from django.test import Client
from tests.contrib.django.site.shop.models import Member
made = []
for tenant, organization, name in {owners}:
    member = Member.objects.create_user(name, tenant_id=tenant, organization_id=organization)
    client = Client()
    client.force_login(member)
    made.append([str(member.pk), client.cookies["sessionid"].value])
print(json.dumps(made))
"""

RENAME = """
from django.db.models import F
from tests.contrib.django.site.shop.models import Member
print(Member.objects.update(first_name=F("username")))
"""


@pytest.mark.parametrize("requests", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_requests_and_jobs_of_two_tenants(project_factory: Callable[..., Project], requests: int) -> None:
    """First those of a threads server, then those of an async one. The users get another name in between."""
    project = project_factory(PLUGINS=[alternating.__name__])
    project.worker("--concurrency", str(SERVERS), wait=False)
    threads, coroutines = (serve(project, kind) for kind in ("wsgi", "asgi"))
    members = project.shell(MEMBERS.format(owners=[owner(0), owner(1)]))

    assert wrong(threads, members, range(requests)) == []
    assert wrong_jobs(project, members, range(requests), renamed=False) == []
    # What a job sees of its user is read when it runs.
    assert project.shell(RENAME) == 2
    assert wrong(coroutines, members, range(requests, 2 * requests)) == []
    assert wrong_jobs(project, members, range(requests, 2 * requests), renamed=True) == []


def serve(project: Project, kind: str) -> LocalProcess:
    return project.spawn("-W", "error", "-m", "tests.contrib.django.alternating_site", kind, name=kind)


def owners(members: Members, number: int) -> tuple[str, str, str]:
    tenant, organization, _ = owner(number)
    return tenant, organization, members[number % 2][0]


def wrong(site: LocalProcess, members: Members, numbers: range) -> list[int]:
    """Sends the requests; gives those whose answer tells of another's context."""
    port = int(wait_for(site.logs, "the site", 30))

    def request(number: int) -> str:
        return ask(port, number, {"Cookie": f"sessionid={members[number % 2][1]}"})

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = zip(numbers, clients.map(request, numbers), strict=True)
        return [number for number, said in answers if not answered_right(said, owners(members, number))]


def wrong_jobs(project: Project, members: Members, numbers: range, *, renamed: bool) -> list[int]:
    def right(number: int) -> bool:
        return ran_right(project, number, owners(members, number), owner(number)[2] if renamed else "")

    return [number for number in numbers if not right(number)]
