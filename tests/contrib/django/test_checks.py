from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core import checks
from django.test import override_settings

from tests.conftest import ServerFactory
from tests.contrib.django.conftest import Configure
from xpert_mq.contrib.django import conf

BROKEN = "broken_app.managed_jobs"


async def _later(*_: Any) -> str:
    return "t"


class Later:
    """Callable, and async."""

    async def __call__(self, *_: Any) -> bool:
        return False


@pytest.fixture
def broken_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An app whose handlers can't be imported."""
    package = tmp_path / "broken_app"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "managed_jobs.py").write_text("raise RuntimeError('not today')")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("broken_app", None)


def found(*, deploy: bool = False) -> dict[str | None, str]:
    """Messages of our checks by their ids, hints included."""
    messages = checks.run_checks(tags=["xpert_mq"], include_deployment_checks=deploy)
    return {one.id: f"{one.msg} {one.hint or ''}".strip() for one in messages}


def test_nothing_is_wrong_with_the_project() -> None:
    assert found() == {}


@pytest.mark.parametrize(
    ("key", "near"), [("REDIS_URI", "REDIS_URL"), ("prefix", "PREFIX"), ("ONCOMMIT", "ON_COMMIT"), ("QQQQ", None)]
)
def test_unknown_key_is_named(configure: Configure, key: str, near: str | None) -> None:
    configure(**{key: "x"})

    hint = f" Did you mean '{near}'?" if near else ""
    assert found() == {"xpert_mq.E001": f"XPERT_MQ has an unknown key '{key}'.{hint}"}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("PREFIX", "a/b", "must be 1 to 160 letters"),
        ("ON_COMMIT", 1, "must be True or False"),
        ("OUTBOX", ["nowhere"], "list of names in DATABASES"),
        ("OUTBOX", "default", "list of names in DATABASES"),
        ("OUTBOX", [{}], "list of names in DATABASES"),
        ("OUTBOX_AFTER", -1, "from 0 to 86400"),
        ("OUTBOX_AFTER", float("nan"), "from 0 to 86400"),
        ("OUTBOX_AFTER", float("inf"), "from 0 to 86400"),
        ("TENANT", "no.such.function", "No module named 'no'"),
        ("TENANT", f"{BROKEN}.function", "RuntimeError: not today"),
        ("TENANT", ".function", "can't be imported"),
        ("TENANT", 5, "must be a callable"),
        ("TENANT", _later, "must not be async"),
        ("ALLOWS", Later(), "must not be async"),
    ],
)
def test_wrong_value_is_named(configure: Configure, broken_app: None, key: str, value: Any, said: str) -> None:
    configure(**{key: value})

    messages = found()

    assert list(messages) == ["xpert_mq.E002"]
    assert f"XPERT_MQ['{key}']" in messages["xpert_mq.E002"]
    assert said in messages["xpert_mq.E002"]


def test_wrong_values_of_both_parts_are_named_together(configure: Configure) -> None:
    configure(PREFIX="a/b", OUTBOX=5)

    said = [str(one.msg) for one in checks.run_checks(tags=["xpert_mq"])]

    assert [key in "".join(said) for key in ("'PREFIX'", "'OUTBOX'")] == [True, True]


def test_user_loader_that_is_not_there(configure: Configure) -> None:
    configure(USER_LOADER="no.such:loader")

    assert "no.such:loader" in found()["xpert_mq.E002"]


def test_setting_that_is_no_dictionary() -> None:
    with override_settings(XPERT_MQ=["REDIS_URL"]):
        assert "must be a dictionary" in found()["xpert_mq.E002"]


def test_module_of_handlers_that_cannot_be_imported(broken_app: None) -> None:
    from django.conf import settings

    with override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, "broken_app"]):
        messages = found()

    assert messages == {"xpert_mq.E003": f"{BROKEN} can't be imported: RuntimeError: not today"}


def test_plugin_that_cannot_be_imported(configure: Configure, broken_app: None) -> None:
    configure(PLUGINS=[BROKEN])

    assert found() == {"xpert_mq.W002": f"{BROKEN} can't be imported: RuntimeError: not today"}


def test_app_that_is_one_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one_module_app.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)

    from django.conf import settings

    with override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, "one_module_app"]):
        assert found() == {}


def test_middleware_before_the_user_is_known() -> None:
    from django.conf import settings

    with override_settings(MIDDLEWARE=[settings.MIDDLEWARE[-1], *settings.MIDDLEWARE[:-1]]):
        assert "must come after" in found()["xpert_mq.E004"]


def test_outbox_of_a_tenant_s_own() -> None:
    with override_settings(TENANT_APPS=["shop", "xpert_mq.contrib.django"]):
        assert "public schema" in found()["xpert_mq.E006"]
    with override_settings(TENANT_APPS=["shop"]):
        assert found() == {}


def test_deploy_unreachable_server_is_named_without_its_password(configure: Configure) -> None:
    configure(REDIS_URL="redis://:s3cret@127.0.0.1:1/0")

    assert found() == {}
    said = found(deploy=True)["xpert_mq.E005"]
    assert "redis://127.0.0.1:1/0" in said
    assert "s3cret" not in said


def test_url_with_an_option_that_nobody_knows(configure: Configure) -> None:
    configure(REDIS_URL="redis://127.0.0.1:1/0?colour=red")

    assert "colour" in found()["xpert_mq.E002"]


def test_deploy_server_that_may_drop_jobs(server_factory: ServerFactory, configure: Configure) -> None:
    server = server_factory()
    configure(REDIS_URL=server.url)
    assert found(deploy=True) == {}

    import redis

    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")

    assert "allkeys-lru" in found(deploy=True)["xpert_mq.W001"]


def test_dictionary_goes_before_the_environment(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MANAGED_QUEUE_PREFIX", "env")
    monkeypatch.setenv("XPERT_MQ_ENQUEUE_TIMEOUT", "1.5")
    configure(PREFIX="dict")

    settings = conf.platform_settings()

    assert (settings.prefix, settings.enqueue_timeout) == ("dict", 1.5)


def test_handlers_of_apps_are_found_beside_those_that_are_named(configure: Configure) -> None:
    configure(PLUGINS=["tests.acceptance.plugin"], USER_LOADER="a:b")

    settings = conf.platform_settings()

    assert settings.plugins == ("tests.acceptance.plugin", "tests.contrib.django.site.shop.managed_jobs")
    assert settings.user_loader == "a:b"


def test_user_loader_is_ours_by_default(configure: Configure) -> None:
    assert conf.platform_settings().user_loader == "xpert_mq.contrib.django.users:load_user"


@pytest.mark.parametrize(
    ("given", "tenants"),
    [(None, ()), ("acme", ("acme",)), (5, ("5",)), ([5, None], ("5", None)), ({"acme"}, ("acme",)), ([], ())],
)
def test_tenants_of_the_admin_may_be_one(configure: Configure, given: Any, tenants: tuple[str | None, ...]) -> None:
    configure(ADMIN_TENANTS=lambda _: given)

    assert conf.configuration().admin_tenants("user") == tenants


def test_tenant_of_the_admin_is_the_user_s_by_default() -> None:
    assert conf.configuration().admin_tenants(SimpleNamespace(tenant_id=5)) == ("5",)
    assert conf.configuration().admin_tenants(SimpleNamespace()) == ()
