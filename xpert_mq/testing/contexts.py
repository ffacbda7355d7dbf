"""Contexts as requests have them, for tests."""

from __future__ import annotations

import secrets

from xpert_mq.context import ApiKey, ApiPrincipal, ContextScope, ContextUser, request_context


def as_user(user_id: str, tenant_id: str | None = None, organization_id: str | None = None) -> ContextScope:
    """The context of a user's request, for a `with` or `async with` block."""
    return request_context(tenant_id, organization_id, ContextUser(user_id, tenant_id, organization_id))


def as_api_client(
    tenant_id: str, organization_id: str | None = None, *, for_user: str | None = None, owner: str = "api-owner"
) -> ContextScope:
    """The context of a request with an API key, whose token is new each time.

    Args:
        for_user: the user on whose behalf the client calls; None: it calls by itself.
        owner: the user to whom the key belongs.
    """
    token = f"test-token-{secrets.token_hex(16)}"
    key = ApiKey(token=token, type="tenant", tenant_id=tenant_id, organization_id=organization_id, user_id=owner)
    principal = ApiPrincipal(
        principal_type="api_key",
        api_key=key,
        owner_user_id=owner,
        requested_user_id=for_user,
        requested_organization_id=organization_id,
    )
    user = ContextUser(for_user, tenant_id, organization_id) if for_user is not None else None
    return request_context(tenant_id, organization_id, user, principal)
