from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, connections, transaction

from tests.contrib.django.conftest import Configure
from tests.contrib.django.site.shop.models import Member, Order
from xpert_mq import ManagedQueueService, request_context
from xpert_mq.contrib.django import databases
from xpert_mq.contrib.django.users import load_user
from xpert_mq.contrib.tenants import TenantRefusedError

pytestmark = pytest.mark.usefixtures("queue")


@pytest.fixture
def max_age() -> Any:
    """Sets CONN_MAX_AGE of the default database."""
    settings = connections["default"].settings_dict
    before = settings["CONN_MAX_AGE"]

    def set_age(seconds: int | None) -> None:
        settings["CONN_MAX_AGE"] = seconds
        connection.close()

    yield set_age
    set_age(before)


def used() -> Any:
    """Uses the thread's connection; gives it."""
    Order.objects.count()
    return connection.connection


def test_connection_is_closed_after_a_handler(max_age: Any) -> None:
    max_age(0)
    with databases.around():
        assert used() is not None

    assert connection.connection is None


def test_persistent_connection_persists(max_age: Any) -> None:
    max_age(None)
    with databases.around():
        first = used()
    with databases.around():
        assert used() is first


def test_transaction_left_open_is_rolled_back_and_told(caplog: pytest.LogCaptureFixture) -> None:
    with databases.around():
        transaction.atomic().__enter__()
        Order.objects.create(name="lost")

    with databases.around():
        assert not connection.in_atomic_block
        assert Order.objects.count() == 0
    assert [one.levelno for one in caplog.records if getattr(one, "action", "") == "transaction_left_open"] == [
        logging.ERROR
    ]


def test_autocommit_turned_off_is_not_inherited(max_age: Any) -> None:
    max_age(None)
    with databases.around():
        transaction.set_autocommit(False)
        Order.objects.create(name="lost")

    with databases.around():
        assert transaction.get_autocommit()
        assert Order.objects.count() == 0


def test_transaction_around_the_handler_is_left_alone(max_age: Any) -> None:
    max_age(0)
    with transaction.atomic():
        Order.objects.create(name="kept")
        with databases.around():
            assert Order.objects.count() == 1

    assert Order.objects.count() == 1


def test_failed_handler_leaves_nothing_either(max_age: Any) -> None:
    max_age(0)

    def fail() -> None:
        with databases.around():
            used()
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - its own, without words
        fail()

    assert connection.connection is None


async def test_async_handlers_have_connections_of_their_own() -> None:
    seen: dict[int, Any] = {}
    closed: list[Any] = []

    async def handle(number: int) -> None:
        async with databases.aaround():
            await Order.objects.acreate(name=str(number))
            seen[number] = await sync_to_async(lambda: (threading.get_ident(), connection.connection))()
            closed.append(await sync_to_async(lambda: connections["default"])())

    await asyncio.gather(*map(handle, range(4)))

    assert len({thread for thread, _ in seen.values()}) == 4
    assert all(wrapper.connection is None for wrapper in closed)


async def test_async_transaction_left_open_is_rolled_back() -> None:
    async with databases.aaround():
        await sync_to_async(lambda: transaction.atomic().__enter__())()
        await Order.objects.acreate(name="lost")

    async with databases.aaround():
        assert await Order.objects.acount() == 0


def test_user_is_loaded_as_the_project_s_model(max_age: Any) -> None:
    max_age(0)
    user = Member.objects.create_user("ada", tenant_id="t-1")

    found = load_user(str(user.pk), "t-1")

    assert (type(found), found.username) == (Member, "ada")
    assert connection.connection is None


@pytest.mark.parametrize("user_id", ["99", "no number"])
def test_user_that_is_not_there(user_id: str) -> None:
    assert load_user(user_id, "t-1") is None


def test_user_of_another_tenant_is_refused() -> None:
    user = Member.objects.create_user("ada", tenant_id="t-1")

    with pytest.raises(TenantRefusedError):
        load_user(str(user.pk), "t-2")


def test_user_of_another_organization_is_refused() -> None:
    user = Member.objects.create_user("ada", tenant_id="t-1", organization_id="o-1")

    with request_context("t-1", "o-2"), pytest.raises(TenantRefusedError):
        load_user(str(user.pk), "t-1")
    with request_context("t-1", "o-1"):
        assert load_user(str(user.pk), "t-1").pk == user.pk


def test_setting_decides_which_users_are_refused(configure: Configure, queue: ManagedQueueService) -> None:
    configure(ALLOWS=lambda user, tenant, organization: True)
    user = Member.objects.create_user("ada", tenant_id="t-1")

    assert load_user(str(user.pk), "t-2").pk == user.pk
