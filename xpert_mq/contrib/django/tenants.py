"""The tenant of a project with django-tenants, for the setting `TENANT`."""

from __future__ import annotations

from typing import Any

from django.conf import settings


def from_django_tenants(request: Any) -> str | None:
    """The name of the schema that django-tenants' middleware has chosen; None for the public one.

    That middleware must come before ours.
    """
    schema = getattr(getattr(request, "tenant", None), "schema_name", None)
    return None if schema == getattr(settings, "PUBLIC_SCHEMA_NAME", "public") else schema
