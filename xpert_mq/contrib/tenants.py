"""Whose a request is: its user, tenant and organization, for the middlewares and the frameworks.

A finder is a callable that gets the request as its framework has it: a WSGI environ, an ASGI scope, or an object with
`headers`, as Flask's and Django's. It gives an id (of the user also an object), or None. The ones that are made here
take any of these.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from xpert_mq.context import ApiPrincipal, ContextScope, request_context
from xpert_mq.errors import InvalidJobError, ManagedQueueError

#: What may stand before a dot of a host's name.
_LABEL = re.compile("[a-z0-9_-]{1,63}")

Finder = Callable[[Any], Any]
Allows = Callable[[Any, str | None, str | None], object]


class TenantRefusedError(ManagedQueueError):
    """The request names a tenant or an organization that its user, or its API key, may not act for."""


def from_header(name: str) -> Finder:
    """A finder that believes this header of the request, whoever sent it: name it only behind what sets or checks it.

    A blank header is none.
    """

    def find(request: Any) -> str | None:
        return header_of(request, name)

    return find


#: The platform's own headers.
tenant_header = from_header("tenant-id")
organization_header = from_header("organization-id")


def from_subdomain(domain: str, *, ignore: tuple[str, ...] = ("www",)) -> Finder:
    """A finder that takes `acme` from the host `acme.example.com`, where `domain` is `example.com`.

    It believes the header `Host`. The domain itself, what is two levels below it, other hosts and the names in `ignore`
    give None.
    """
    ending = f".{domain.strip('.').lower()}"

    def find(request: Any) -> str | None:
        host = (header_of(request, "host") or "").partition(":")[0].rstrip(".").lower()
        name = host.removesuffix(ending)
        return name if name not in (host, *ignore) and _LABEL.fullmatch(name) else None

    return find


def header_of(request: Any, name: str) -> str | None:
    """The request's header, trimmed; None where it is missing or blank. Several of one name are joined by commas."""
    if not isinstance(request, Mapping):
        found = request.headers.get(name)
    elif "wsgi.version" in request:
        found = request.get(f"HTTP_{name.upper().replace('-', '_')}")
    else:
        wanted = name.lower().encode("latin-1")
        found = ",".join(value.decode("latin-1") for key, value in request["headers"] if key == wanted)
    return (found or "").strip() or None


def only_own(user: Any, tenant_id: str | None, organization_id: str | None) -> bool:
    """Whether these are the user's own: what the user does not have is not asked for."""
    return _id_of(user, "tenant_id") in (None, tenant_id) and _id_of(user, "organization_id") in (None, organization_id)


@dataclass(frozen=True, slots=True)
class Finders:
    """How to find whose a request is.

    Attributes:
        user: without one there is no user. A user that says it is not authenticated is none.
        tenant, organization: without one, or where it finds none, it is the user's, else the API key's.
        principal: gives an ApiPrincipal where an API client calls.
        allows: asked with user, tenant and organization; what it denies is a TenantRefusedError. Default: `only_own`.
    """

    user: Finder | None = None
    tenant: Finder | None = None
    organization: Finder | None = None
    principal: Finder | None = None
    allows: Allows = only_own

    def scope(self, request: Any) -> ContextScope:
        """The request's context, to be entered.

        Raises:
            TenantRefusedError: the request names what it may not act for.
            InvalidJobError: a finder gives no id. What else a finder raises goes through.
            TypeError: a finder, or `allows`, is a coroutine function.
        """
        claim = _Claim(*[finder and _at_once(finder(request)) for finder in self._all()])
        return claim.scope(_at_once(self.allows(*claim.owners())))

    async def ascope(self, request: Any) -> ContextScope:
        """`scope`, for finders (and `allows`) that may be coroutine functions."""
        claim = _Claim(*[finder and await _awaited(finder(request)) for finder in self._all()])
        return claim.scope(await _awaited(self.allows(*claim.owners())))

    def _all(self) -> tuple[Finder | None, ...]:
        return (self.user, self.tenant, self.organization, self.principal)


class _Claim:
    """What was found, and made whole."""

    def __init__(self, user: Any, tenant_id: Any, organization_id: Any, principal: ApiPrincipal | None) -> None:
        self._user = user if getattr(user, "is_authenticated", True) else None
        self._principal = principal
        self._key = principal.api_key if principal is not None else None
        asked = principal.requested_organization_id if principal is not None else None
        self._tenant_id = self._first(tenant_id, "tenant_id")
        self._organization_id = self._first(organization_id if asked is None else asked, "organization_id")

    def owners(self) -> tuple[Any, str | None, str | None]:
        """What `allows` is asked with."""
        return self._user, self._tenant_id, self._organization_id

    def scope(self, allowed: object) -> ContextScope:
        # The key's tenant is the key's, whatever a deployment allows its users.
        if not allowed or _id_of(self._key, "tenant_id") not in (None, self._tenant_id):
            raise TenantRefusedError("the request names a tenant or an organization that it may not act for")
        return request_context(self._tenant_id, self._organization_id, self._user, self._principal)

    def _first(self, found: Any, name: str) -> str | None:
        if found is not None:
            return _id(name, found)
        return _id_of(self._user, name) or _id_of(self._key, name)


def _id_of(owner: Any, name: str) -> str | None:
    found = owner.get(name) if isinstance(owner, Mapping) else getattr(owner, name, None)
    return None if found is None or found == "" else str(found)


def _id(name: str, found: Any) -> str:
    # No other object as text: a tenant's own object would make a context of its repr.
    if isinstance(found, bool) or not isinstance(found, (str, int, UUID)):
        raise InvalidJobError(f"the finder of {name} must give text, a UUID or an integer, not {found!r}", field=name)
    return str(found)


def _at_once(value: Any) -> Any:
    if inspect.isawaitable(value):
        # It would count as a user, or as a yes.
        if inspect.iscoroutine(value):
            value.close()
        raise TypeError(f"{value!r} can't be awaited here: coroutine functions are for the ASGI middleware alone")
    return value


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
