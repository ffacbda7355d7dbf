"""`manage.py check`: the settings, the handlers' modules, the middleware; with `--deploy` the server."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import redis
from django.conf import settings
from django.core import checks

from xpert_mq.contrib.django import conf
from xpert_mq.errors import SettingsError

MIDDLEWARE = "xpert_mq.contrib.django.middleware.ContextMiddleware"
_AUTHENTICATION = "django.contrib.auth.middleware.AuthenticationMiddleware"


def register_all() -> None:
    """Adds them to Django's."""
    for check in (check_settings, check_handlers, check_middleware):
        checks.register(check, "xpert_mq")
    checks.register(check_server, "xpert_mq", deploy=True)


def check_settings(**_: Any) -> list[checks.CheckMessage]:
    """Unknown keys and wrong values."""
    return list(_wrong_settings())


def _wrong_settings() -> Iterator[checks.CheckMessage]:
    try:
        for key, near in conf.unknown().items():
            hint = f"Did you mean {near!r}?" if near else None
            yield checks.Error(f"{conf.NAME} has an unknown key {key!r}.", hint, id="xpert_mq.E001")
        conf.platform_settings()
        conf.configuration()
    except SettingsError as error:
        yield checks.Error(str(error), id="xpert_mq.E002")


def check_handlers(**_: Any) -> list[checks.CheckMessage]:
    """Modules of handlers that can't be imported: a worker would only log it."""
    found = []
    for name in conf.job_modules():
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - the module's own
            found.append(checks.Error(f"{name} can't be imported: {type(error).__name__}: {error}", id="xpert_mq.E003"))
    return found


def check_middleware(**_: Any) -> list[checks.CheckMessage]:
    """Our middleware asks for the user."""
    names = list(settings.MIDDLEWARE)
    if MIDDLEWARE not in names or _AUTHENTICATION not in names:
        return []
    if names.index(MIDDLEWARE) > names.index(_AUTHENTICATION):
        return []
    return [checks.Error(f"{MIDDLEWARE} must come after {_AUTHENTICATION} in MIDDLEWARE.", id="xpert_mq.E004")]


def check_server(**_: Any) -> list[checks.CheckMessage]:
    """Whether the server is there, and drops no jobs when its memory is short."""
    try:
        platform = conf.platform_settings()
    except SettingsError:
        return []
    timeout = platform.enqueue_timeout
    client = redis.Redis.from_url(platform.redis_url, socket_connect_timeout=timeout, socket_timeout=timeout)
    try:
        with closing(client):
            info: Any = client.info("memory")
    except redis.RedisError as error:
        said = f"Redis at {platform.safe_redis_url} can't be reached: {error}"
        return [checks.Error(said, id="xpert_mq.E005")]
    policy = info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return []
    said = f"The maxmemory-policy of Redis at {platform.safe_redis_url} is {policy}: it may drop jobs."
    return [checks.Warning(said, "Set it to noeviction.", id="xpert_mq.W001")]
