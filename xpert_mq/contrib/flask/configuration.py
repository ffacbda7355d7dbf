"""What a Flask application's `config` says: the platform's settings, and whose a request is."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from flask import Flask
from werkzeug.utils import ImportStringError, import_string

from xpert_mq.contrib.tenants import Finders
from xpert_mq.errors import SettingsError
from xpert_mq.service import managed_queue
from xpert_mq.settings import Settings, closest_hint

#: XPERT_MQ_USER, XPERT_MQ_TENANT, XPERT_MQ_ORGANIZATION, XPERT_MQ_PRINCIPAL, XPERT_MQ_ALLOWS.
FINDERS = {f"XPERT_MQ_{field.name.upper()}": field.name for field in fields(Finders)}

#: The platform's settings, under their names in the environment.
_SETTINGS = {str(field.validation_alias): name for name, field in Settings.model_fields.items()}

#: What is True or False.
FLAGS = ("XPERT_MQ_ON_COMMIT", "XPERT_MQ_APP_CONTEXT")

_KNOWN = (*FINDERS, *_SETTINGS, *FLAGS)


def apply_settings(config: Mapping[str, Any]) -> None:
    """Gives the process' managed queue the settings that `config` names; the others come from the environment.

    Raises:
        SettingsError: a key or a value is wrong, or the queue runs with another value already.
    """
    _check(config)
    named = _named(config)
    if not named:
        return
    wanted = _settings(named)
    if _is_in_use():
        _refuse_others(wanted, named)
    else:
        managed_queue.configure(wanted)


def environment_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The settings that `config` names, as variables for another process."""
    named = _named(config)
    return _settings(named).environment(_SETTINGS[key] for key in named)


def finders_of(app: Flask) -> Finders:
    """The finders that `app.config` names: callables, or `module:function`, which is imported at the first request."""
    config = app.config
    named = {name: _callable(app, key) for key, name in FINDERS.items() if config.get(key) is not None}
    return Finders(**named)


def _check(config: Mapping[str, Any]) -> None:
    for key, value in config.items():
        if key.startswith(("XPERT_MQ_", "MANAGED_QUEUE_")) and key not in _KNOWN:
            raise SettingsError(f"unknown key {key!r} in the Flask config{closest_hint(key, _KNOWN)}")
        if key in FLAGS and value not in (None, True, False):
            raise SettingsError(f"{key} of the Flask config must be True or False, not {value!r}")
        if key in FINDERS and not (value is None or callable(value) or _names_function(value)):
            raise SettingsError(f"{key} of the Flask config must be a callable or `module:function`, not {value!r}")


def _names_function(value: Any) -> bool:
    return isinstance(value, str) and all(part.strip() for part in value.partition(":"))


def _named(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: config[key] for key in _SETTINGS if config.get(key) is not None}


def _settings(named: Mapping[str, Any]) -> Settings:
    return Settings(**{_SETTINGS[key]: value for key, value in named.items()})


def _is_in_use() -> bool:
    """Whether the settings have been acted upon: calls are built with them, or a worker's Celery application is."""
    if "configure" in vars(managed_queue):
        # The testing kit's: it takes other settings at any time.
        return False
    is_worker = "xpert_mq.celery" in sys.modules and "xpert_mq.testing.kit" not in sys.modules
    return is_worker or "store" in vars(managed_queue)


def _refuse_others(wanted: Settings, named: Mapping[str, Any]) -> None:
    other = [key for key in named if not _agree(_SETTINGS[key], wanted, managed_queue.settings)]
    if other:
        raise SettingsError(
            f"{', '.join(other)} of the Flask config came too late: this process' managed queue has other settings"
            " already. Call init_app before the queue is used; start workers with `flask managed-jobs worker`, or give"
            " them the same in the environment"
        )


def _agree(name: str, wanted: Settings, present: Settings) -> bool:
    if name == "plugins":  # a worker may have more
        return set(wanted.plugins) <= set(present.plugins)
    return bool(getattr(wanted, name) == getattr(present, name))


def _callable(app: Flask, key: str) -> Callable[..., Any]:
    finder = app.config[key]
    if not isinstance(finder, str):
        return app.ensure_sync(finder)

    def call(*arguments: Any) -> Any:
        # At the first request: the module may import the application.
        return app.ensure_sync(_imported(key, finder))(*arguments)

    return call


def _imported(key: str, spec: str) -> Callable[..., Any]:
    try:
        found: Any = import_string(spec)
    except ImportStringError as error:
        raise SettingsError(f"{key} names {spec!r}, which can't be imported: {error.exception}") from error
    if not callable(found):
        raise SettingsError(f"{key} names {spec!r}, which is not callable but a {type(found).__name__}")
    function: Callable[..., Any] = found
    return function
