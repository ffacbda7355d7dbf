"""The setting `XPERT_MQ`, one dictionary for all.

The platform's part is `xpert_mq.settings.Settings` with its names in capitals, and goes before the environment. The
rest is read when it is used, so that Django's `override_settings` works for it.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.apps import apps
from django.conf import settings as django_settings
from django.utils.module_loading import import_string, module_has_submodule

from xpert_mq.contrib.tenants import Allows, Finder, Finders, only_own
from xpert_mq.errors import SettingsError
from xpert_mq.settings import Settings

NAME = "XPERT_MQ"
MODULE = "managed_jobs"
LOADER = "xpert_mq.contrib.django.users:load_user"

_PLATFORM = {name.upper(): name for name in Settings.model_fields}


def _listing(function: Callable[[Any], Any]) -> Callable[[Any], tuple[str | None, ...]]:
    """The function, which may give a single tenant, too: a text must not be taken for a list of letters."""

    def tenants(user: Any) -> tuple[str | None, ...]:
        found = function(user)
        if found is None:
            return ()
        if isinstance(found, str) or not isinstance(found, Iterable):
            found = (found,)
        return tuple(None if tenant is None else str(tenant) for tenant in found)

    return tenants


@_listing
def _own_tenant(user: Any) -> Any:
    return getattr(user, "tenant_id", None)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What concerns Django alone; in the dictionary the names are in capitals, and a callable may be its dotted path.

    Attributes:
        tenant, organization: finders, called with the request; default: they are the user's `tenant_id` and
            `organization_id`. Those of `xpert_mq.contrib.tenants` read headers and subdomains.
        principal: a finder that gives an ApiPrincipal.
        allows: called with user, tenant and organization, by the middleware and before a job; False refuses.
        on_commit: whether jobs wait for the commit of the current transaction where the call does not say.
        outbox: the databases whose transactions keep such jobs in a table until they are in Redis; True: the default
            one.
        outbox_after: seconds until workers send what the process that committed did not.
        admin_tenants: called with a user, gives the tenant or tenants whose jobs the admin shows (in a list None means
            the jobs without a tenant); superusers see all. Default: the user's `tenant_id`.
    """

    tenant: Finder | None = None
    organization: Finder | None = None
    principal: Finder | None = None
    allows: Allows = only_own
    on_commit: bool = False
    outbox: tuple[str, ...] = ()
    outbox_after: float = 5.0
    admin_tenants: Callable[[Any], Iterable[str | None]] = _own_tenant

    @property
    def finders(self) -> Finders:
        """For the middleware."""
        return Finders(_user_of, self.tenant, self.organization, self.principal, self.allows)


def _user_of(request: Any) -> Any:
    return getattr(request, "user", None)


_OWN = {one.name.upper(): one.name for one in fields(Configuration)}
_DAY = 86_400
_CALLABLE = ("TENANT", "ORGANIZATION", "PRINCIPAL", "ALLOWS", "ADMIN_TENANTS")


def given() -> Mapping[str, Any]:
    """The dictionary. Raises SettingsError for what is none."""
    found = getattr(django_settings, NAME, {})
    if not isinstance(found, Mapping):
        raise SettingsError(f"{NAME} must be a dictionary, not {type(found).__name__}")
    return found


def unknown() -> dict[str, str]:
    """The keys that mean nothing, and what each may have been meant to be ('' for nothing near)."""
    known = [*_PLATFORM, *_OWN]
    strange = [str(key) for key in given() if key not in known]
    return {key: next(iter(difflib.get_close_matches(key.upper(), known, n=1)), "") for key in strange}


def platform_settings() -> Settings:
    """The platform's settings, with every app's `managed_jobs` among the plugins and our user loader by default.

    Raises SettingsError for a wrong value.
    """
    values = {_PLATFORM[key]: value for key, value in given().items() if key in _PLATFORM}
    try:
        base = Settings(**values)
    except SettingsError as error:
        raise SettingsError(_by_keys(str(error), values)) from None
    values["plugins"] = (*base.plugins, *job_modules())
    values["user_loader"] = base.user_loader or LOADER
    return Settings(**values)


def _by_keys(said: str, names: Iterable[str]) -> str:
    """The text with the key of the dictionary before the variable, where the dictionary has the value."""
    for name in names:
        variable = str(Settings.model_fields[name].validation_alias)
        said = said.replace(f"{variable}:", f"{NAME}[{name.upper()!r}] ({variable}):")
    return said


def job_modules() -> list[str]:
    """The modules of the installed apps that hold handlers."""
    return [
        f"{config.name}.{MODULE}" for config in apps.get_app_configs() if module_has_submodule(config.module, MODULE)
    ]


@functools.cache
def configuration() -> Configuration:
    """Django's part. Raises SettingsError for a wrong value."""
    values = {_OWN[key]: _value(key, value) for key, value in given().items() if key in _OWN}
    return Configuration(**values)


def _value(key: str, value: Any) -> Any:
    if key in _CALLABLE:
        function = _function(key, value)
        return _listing(function) if key == "ADMIN_TENANTS" else function
    if key == "OUTBOX":
        return _aliases(value)
    if key == "ON_COMMIT" and not isinstance(value, bool):
        raise SettingsError(f"{NAME}[{key!r}] must be True or False, not {value!r}")
    if key == "OUTBOX_AFTER" and (type(value) not in (int, float) or not 0 <= value <= _DAY):
        raise SettingsError(f"{NAME}[{key!r}] must be a number of seconds from 0 to {_DAY} (a day), not {value!r}")
    return value


def _function(key: str, value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = import_string(value)
        except Exception as error:  # whatever the module raises while it is imported
            said = f"{value!r} can't be imported: {type(error).__name__}: {error}"
            raise SettingsError(f"{NAME}[{key!r}]: {said}") from error
    if not callable(value):
        raise SettingsError(f"{NAME}[{key!r}] must be a callable or the dotted path of one, not {value!r}")
    # Nobody awaits what it gives, and a coroutine is true.
    if iscoroutinefunction(value) or iscoroutinefunction(type(value).__call__):
        raise SettingsError(f"{NAME}[{key!r}] must not be async: it is called in a thread, where queries are allowed")
    return value


def _aliases(value: Any) -> tuple[str, ...]:
    if isinstance(value, bool):
        return ("default",) if value else ()
    if not isinstance(value, (list, tuple)) or any(alias not in list(django_settings.DATABASES) for alias in value):
        raise SettingsError(f"{NAME}['OUTBOX'] must be True, False or a list of names in DATABASES, not {value!r}")
    return tuple(value)


def forget(*, setting: str, **_: Any) -> None:
    """Receives Django's `setting_changed`."""
    if setting == NAME:
        configuration.cache_clear()
