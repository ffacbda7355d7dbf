"""What a Flask application's `config` says: the platform's settings, and whose a request is."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from werkzeug.utils import import_string

from xpert_mq.contrib.tenants import Finders
from xpert_mq.errors import SettingsError
from xpert_mq.service import managed_queue
from xpert_mq.settings import Settings, closest_hint

#: XPERT_MQ_USER, XPERT_MQ_TENANT, XPERT_MQ_ORGANIZATION, XPERT_MQ_PRINCIPAL, XPERT_MQ_ALLOWS.
_FINDERS = {f"XPERT_MQ_{field.name.upper()}": field.name for field in fields(Finders)}

#: The platform's settings, under their names in the environment.
_SETTINGS = {str(field.validation_alias): name for name, field in Settings.model_fields.items()}

_KNOWN = (*_FINDERS, *_SETTINGS, "XPERT_MQ_ON_COMMIT", "XPERT_MQ_APP_CONTEXT")


def apply_settings(config: Mapping[str, Any]) -> None:
    """Gives the process' managed queue the settings that `config` names; the others come from the environment.

    Raises:
        SettingsError: a key or a value is wrong, or the queue runs with another value already.
    """
    for key in config:
        if key.startswith("XPERT_MQ_") and key not in _KNOWN:
            raise SettingsError(f"unknown key {key!r} in the Flask config{closest_hint(key, _KNOWN)}")
    named = dict(_named(config))
    if not named:
        return
    wanted = Settings(**{_SETTINGS[key]: value for key, value in named.items()})
    if _is_in_use():
        _refuse_others(wanted, named)
    else:
        managed_queue.configure(wanted)


def environment_of(config: Mapping[str, Any]) -> dict[str, str]:
    """The settings that `config` names, as variables for another process."""
    return {key: ",".join(value) if isinstance(value, (list, tuple)) else str(value) for key, value in _named(config)}


def finders_of(config: Mapping[str, Any]) -> Finders:
    """The finders that `config` names: callables, or `module:function`, which is imported at the first request."""
    named = {name: _callable(config[key]) for key, name in _FINDERS.items() if config.get(key) is not None}
    return Finders(**named)


def _named(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((key, config[key]) for key in _SETTINGS if config.get(key) is not None)


def _is_in_use() -> bool:
    """Whether the settings have been acted upon: calls are built with them, or a worker's Celery application is."""
    return "store" in vars(managed_queue) or "xpert_mq.celery" in sys.modules


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


def _callable(finder: Any) -> Any:
    if not isinstance(finder, str):
        return finder

    def call(*arguments: Any) -> Any:
        # At the first request: the module may import the application.
        return import_string(finder)(*arguments)

    return call
