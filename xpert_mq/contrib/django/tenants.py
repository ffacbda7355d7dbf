"""The tenant of a project with django-tenants, for the setting `TENANT`: the name of its schema."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from xpert_mq.contrib.tenants import TenantRefusedError


def from_django_tenants(request: Any) -> str | None:
    """The name of the schema that django-tenants' middleware has chosen; None for the public one.

    That middleware must come before ours. Where the setting names this function, handlers and the loading of a job's
    user have the tenant's schema, too.
    """
    schema = getattr(getattr(request, "tenant", None), "schema_name", None)
    return None if schema == _public() else schema


@contextmanager
def schema_of(tenant_id: str | None) -> Iterator[None]:
    """Within the block this thread's connection has the tenant's schema, the public one for None.

    Raises TenantRefusedError if there is no such tenant (any more): in its place the public tables would be found.
    """
    alias = getattr(settings, "TENANT_DB_ALIAS", DEFAULT_DB_ALIAS)
    # A test may be in a tenant's schema.
    before = connections[alias].tenant, connections[alias].include_public_schema
    connections[alias].set_schema_to_public()
    try:
        if tenant_id not in (None, _public()):
            connections[alias].set_tenant(_tenant(alias, tenant_id))
        yield
    finally:
        connections[alias].set_tenant(*before)


def _tenant(alias: str, schema: str | None) -> Any:
    found = apps.get_model(settings.TENANT_MODEL)._default_manager.using(alias).filter(schema_name=schema).first()
    if found is None:
        raise TenantRefusedError(f"there is no tenant with the schema {schema!r}")
    return found


def _public() -> str:
    return str(getattr(settings, "PUBLIC_SCHEMA_NAME", "public"))
