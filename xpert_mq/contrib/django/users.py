"""The user of a job, as the project's own model."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from xpert_mq.context import current_context
from xpert_mq.contrib.django import databases
from xpert_mq.contrib.django.conf import configuration
from xpert_mq.contrib.tenants import TenantRefusedError


def load_user(user_id: str, tenant_id: str | None) -> Any:
    """The user with this primary key; None if there is none (any more).

    Raises TenantRefusedError if the setting `ALLOWS` says that the user may not act for the job's tenant and
    organization.
    """
    with databases.around():
        user = _found(user_id)
        organization_id = current_context().organization_id
        if user is not None and not configuration().allows(user, tenant_id, organization_id):
            raise TenantRefusedError(f"the user {user_id!r} may not act for the tenant {tenant_id!r} any more")
    return user


def _found(user_id: str) -> Any:
    try:
        return get_user_model()._default_manager.filter(pk=user_id).first()
    except (ValueError, OverflowError, ValidationError):  # an id that no user of this model can have
        return None
