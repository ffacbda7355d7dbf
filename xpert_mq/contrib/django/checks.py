"""`manage.py check`: the settings, the handlers' modules, the middleware; with `--deploy` the server."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any

import redis
from django.conf import settings
from django.core import checks

from xpert_mq.context import load_user_function
from xpert_mq.contrib.django import conf
from xpert_mq.errors import SettingsError
from xpert_mq.settings import Settings

MIDDLEWARE = "xpert_mq.contrib.django.middleware.ContextMiddleware"
_AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"


def register_all() -> None:
    """Adds them to Django's."""
    for check in (check_settings, check_handlers, check_middleware, check_tenant_apps):
        checks.register(check, "xpert_mq")
    checks.register(check_server, "xpert_mq", deploy=True)


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """Unknown keys and wrong values."""
    try:
        unknown = conf.unknown()
    except SettingsError as error:
        return [_wrong(error)]
    return [*_unknown_keys(unknown), *_wrong_values()]


def _unknown_keys(unknown: Mapping[str, str]) -> Iterator[checks.CheckMessage]:
    for key, near in unknown.items():
        hint = f"Did you mean {near!r}?" if near else None
        yield checks.Error(f"{conf.NAME} has an unknown key {key!r}.", hint, id="xpert_mq.E001")


def _wrong_values() -> Iterator[checks.CheckMessage]:
    for read in (_platform_and_user_loader, conf.configuration):
        try:
            read()
        except SettingsError as error:
            yield _wrong(error)


def _platform_and_user_loader() -> None:
    loader = conf.platform_settings().user_loader
    if loader is not None:
        load_user_function(loader)


def _wrong(error: SettingsError) -> checks.CheckMessage:
    return checks.Error(str(error), id="xpert_mq.E002")


def check_handlers(**_: Any) -> list[checks.CheckMessage]:
    """Modules of handlers that can't be imported: a worker only logs it, and runs the others."""
    ours = conf.job_modules()
    platform = _platform()
    plugins = [name for name in platform.plugins if name not in ours] if platform else []
    errors = [checks.Error(said, id="xpert_mq.E003") for said in _not_importable(ours)]
    # They may be there for the workers alone.
    warnings = [checks.Warning(said, id="xpert_mq.W002") for said in _not_importable(plugins)]
    return [*errors, *warnings]


def _not_importable(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - the module's own
            yield f"{name} can't be imported: {type(error).__name__}: {error}"


def check_middleware(**_: Any) -> list[checks.CheckMessage]:
    """Our middleware asks for the user."""
    names = list(settings.MIDDLEWARE)
    if MIDDLEWARE not in names or _AUTHENTICATION not in names:
        return []
    if names.index(MIDDLEWARE) > names.index(_AUTHENTICATION):
        return []
    return [checks.Error(f"{MIDDLEWARE} must come after {_AUTHENTICATION} in MIDDLEWARE.", id="xpert_mq.E004")]


def check_tenant_apps(**_: Any) -> list[checks.CheckMessage]:
    """django-tenants would give each tenant an outbox of its own, into which no worker looks."""
    if "xpert_mq.contrib.django" not in getattr(settings, "TENANT_APPS", ()):
        return []
    said = "xpert_mq.contrib.django must not be in TENANT_APPS: workers send what is in the public schema's outbox."
    return [checks.Error(said, "Have it in SHARED_APPS alone.", id="xpert_mq.E006")]


def check_server(**_: Any) -> list[checks.CheckMessage]:
    """Whether the server is there, and drops no jobs when its memory is short."""
    platform = _platform()
    if platform is None:
        return []
    try:
        info = _memory_info(platform)
    except (redis.RedisError, OSError) as error:
        said = f"Redis at {platform.safe_redis_url} can't be reached: {error}"
        return [checks.Error(said, id="xpert_mq.E005")]
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return []
    said = f"The maxmemory-policy of Redis at {platform.safe_redis_url} is {policy}: it may drop jobs."
    return [checks.Warning(said, "Set it to noeviction.", id="xpert_mq.W001")]


def _memory_info(platform: Settings) -> Any:
    timeouts = {"socket_connect_timeout": platform.enqueue_timeout, "socket_timeout": platform.enqueue_timeout}
    with closing(redis.Redis.from_url(platform.redis_url, **timeouts)) as client:
        return client.info("memory")


def _platform() -> Settings | None:
    """None where they are wrong, which `check_settings` tells."""
    try:
        return conf.platform_settings()
    except SettingsError:
        return None
