from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import AsyncClient, Client

from tests.contrib.django.conftest import Configure
from tests.contrib.django.site.shop.models import Member
from xpert_mq import ManagedQueueService, current_context
from xpert_mq.contrib.django.tenants import from_django_tenants
from xpert_mq.contrib.tenants import from_header, from_subdomain

VIEWS = pytest.mark.parametrize("view", ["whoami", "awhoami"])

pytestmark = pytest.mark.usefixtures("queue")


def member(name: str = "ada", **owners: Any) -> Any:
    return Member.objects.create_user(name, **owners)


def owners_seen(user: Any, view: str, **options: Any) -> Any:
    client = Client()
    if user is not None:
        client.force_login(user)
    return client.get(f"/{view}", **options).json()["owners"]


@VIEWS
def test_context_is_the_user_s(view: str) -> None:
    user = member(tenant_id="t-1", organization_id="o-1")

    assert owners_seen(user, view) == ["t-1", "o-1", str(user.pk)]
    assert current_context().tenant_id is None


@VIEWS
def test_nobody_has_no_context(view: str) -> None:
    assert owners_seen(None, view) == [None, None, None]


@VIEWS
def test_header_is_not_believed_by_default(view: str) -> None:
    user = member(tenant_id="t-1")

    assert owners_seen(user, view, headers={"tenant-id": "t-2", "organization-id": "o"})[:2] == ["t-1", None]
    assert owners_seen(None, view, headers={"tenant-id": "t-2"}) == [None, None, None]


@VIEWS
def test_header_is_believed_where_a_setting_says_so(view: str, configure: Configure) -> None:
    configure(
        TENANT="xpert_mq.contrib.tenants.tenant_header", ORGANIZATION="xpert_mq.contrib.tenants.organization_header"
    )

    assert owners_seen(None, view, headers={"tenant-id": "t-2", "organization-id": "o"}) == ["t-2", "o", None]


@VIEWS
def test_user_of_another_tenant_is_refused(view: str, configure: Configure) -> None:
    configure(TENANT=from_header("tenant-id"))
    client = Client()
    client.force_login(member(tenant_id="t-1"))

    assert client.get(f"/{view}", headers={"tenant-id": "t-2"}).status_code == 403
    assert client.get(f"/{view}", headers={"tenant-id": "t-1"}).status_code == 200


def test_setting_decides_what_a_user_may_act_for(configure: Configure) -> None:
    configure(TENANT=from_header("tenant-id"), ALLOWS=lambda user, tenant, organization: tenant != "t-3")
    user = member(tenant_id="t-1")

    assert owners_seen(user, "whoami", headers={"tenant-id": "t-2"})[0] == "t-2"
    client = Client()
    client.force_login(user)
    assert client.get("/whoami", headers={"tenant-id": "t-3"}).status_code == 403


@VIEWS
def test_tenant_of_the_subdomain(view: str, configure: Configure) -> None:
    configure(TENANT=from_subdomain("example.com"))

    assert owners_seen(None, view, headers={"host": "acme.example.com:8000"})[0] == "acme"


def test_tenant_of_django_tenants() -> None:
    def request(**fields: Any) -> Any:
        return SimpleNamespace(**fields)

    assert from_django_tenants(request(tenant=SimpleNamespace(schema_name="acme"))) == "acme"
    assert from_django_tenants(request(tenant=SimpleNamespace(schema_name="public"))) is None
    assert from_django_tenants(request()) is None


@pytest.mark.parametrize("view", ["stream", "download"])
def test_streamed_answer_is_made_in_the_context(view: str) -> None:
    user = member(tenant_id="t-1")
    client = Client()
    client.force_login(user)
    response: Any = client.get(f"/{view}")

    parts = iter(response.streaming_content)
    first = json.loads(next(parts))
    between = current_context().tenant_id

    assert (first, between, json.loads(next(parts))) == (
        ["t-1", None, str(user.pk)],
        None,
        ["t-1", None, str(user.pk)],
    )


async def test_async_streamed_answer_is_made_in_the_context() -> None:
    from asgiref.sync import sync_to_async

    user = await sync_to_async(member)(tenant_id="t-1")
    client = AsyncClient()
    await sync_to_async(client.force_login)(user)
    response: Any = await client.get("/astream")

    seen = [(json.loads(part)[0], current_context().tenant_id) async for part in response.streaming_content]

    assert seen == [("t-1", None)] * 2


async def test_requests_side_by_side_keep_their_contexts() -> None:
    import asyncio

    from asgiref.sync import sync_to_async

    async def ask(number: int) -> Any:
        client = AsyncClient()
        user = await sync_to_async(member)(f"u{number}", tenant_id=f"t-{number}")
        await sync_to_async(client.force_login)(user)
        answers = [await client.get("/awhoami") for _ in range(5)]
        return {answer.json()["owners"][0] for answer in answers}

    assert await asyncio.gather(*map(ask, range(4))) == [{f"t-{number}"} for number in range(4)]


def test_enqueue_takes_the_context(queue: ManagedQueueService) -> None:
    user = member(tenant_id="t-1")
    client = Client()
    client.force_login(user)

    client.get("/aorder", {"name": "one"})

    job = queue.get_job("one", tenant_id="t-1")
    assert job is not None
    assert job.user_id == str(user.pk)
