"""Finders: what is believed of a request, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID
from wsgiref.util import setup_testing_defaults

import pytest
from werkzeug.datastructures import Headers

from xpert_mq import ApiKey, ApiPrincipal, InvalidJobError, RequestContext
from xpert_mq.contrib.tenants import (
    Finders,
    TenantRefusedError,
    from_header,
    from_subdomain,
    organization_header,
    tenant_header,
)


def as_environ(headers: dict[str, str]) -> Any:
    environ: dict[str, Any] = {}
    setup_testing_defaults(environ)
    environ.pop("HTTP_HOST")
    return {**environ, **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers.items()}}


def as_scope(headers: dict[str, str]) -> Any:
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http", "headers": pairs}


def as_object(headers: dict[str, str]) -> Any:
    return SimpleNamespace(headers=Headers(headers))


KINDS = pytest.mark.parametrize("request_of", [as_environ, as_scope, as_object])


@dataclass
class User:
    id: str = "u-1"
    tenant_id: Any = "t-1"
    organization_id: str | None = None
    is_authenticated: bool = field(default=True)


def found(finders: Finders, request: Any = None) -> RequestContext:
    with finders.scope(request if request is not None else as_object({})) as context:
        return context


@KINDS
def test_header_is_found_in_every_kind_of_request(request_of: Any) -> None:
    request = request_of({"tenant-id": " acme ", "organization-id": " "})

    assert (tenant_header(request), organization_header(request)) == ("acme", None)
    assert from_header("X-Other")(request) is None


def test_headers_of_one_name_are_joined_and_so_match_no_tenant() -> None:
    scope = {"type": "http", "headers": [(b"tenant-id", b"acme"), (b"tenant-id", b"globex")]}

    assert tenant_header(scope) == "acme,globex"


@KINDS
@pytest.mark.parametrize(
    ("host", "tenant"),
    [
        ("acme.example.com", "acme"),
        ("Acme.Example.com.", "acme"),
        ("acme.example.com:8000", "acme"),
        ("example.com", None),
        ("www.example.com", None),
        ("a.b.example.com", None),
        ("acmeexample.com", None),
        ("acme.example.com.evil.org", None),
        (".example.com", None),
        ("[::1]:80", None),
        ("x@acme.example.com", None),
        ("[acme.example.com", None),
        ("acme\t.example.com", None),
        ("", None),
    ],
)
def test_subdomain(request_of: Any, host: str, tenant: str | None) -> None:
    assert from_subdomain("example.com")(request_of({"Host": host})) == tenant


def test_no_header_is_believed_unless_it_is_named() -> None:
    request = as_object({"tenant-id": "globex", "organization-id": "o-2", "Host": "globex.example.com"})

    assert found(Finders(), request) == RequestContext()
    user = User(organization_id="o-1")
    assert found(Finders(user=lambda _: user), request) == RequestContext("t-1", "o-1", user)


def test_tenant_is_the_users_where_the_request_names_none() -> None:
    context = found(Finders(user=lambda _: User(tenant_id=17), tenant=tenant_header))

    assert (context.tenant_id, context.user_id) == ("17", "u-1")


def test_user_that_is_not_authenticated_is_none() -> None:
    assert found(Finders(user=lambda _: User(is_authenticated=False))) == RequestContext()


def test_user_may_be_a_mapping_or_an_id() -> None:
    assert found(Finders(user=lambda _: {"id": 7, "tenant_id": "t-1"})).tenant_id == "t-1"
    assert found(Finders(user=lambda _: "u-7")).user_id == "u-7"


@pytest.mark.parametrize("headers", [{"tenant-id": "globex"}, {"tenant-id": "t-1", "organization-id": "o-2"}])
def test_other_tenant_than_the_users_is_refused(headers: dict[str, str]) -> None:
    finders = Finders(
        user=lambda _: User(organization_id="o-1"), tenant=tenant_header, organization=organization_header
    )

    with pytest.raises(TenantRefusedError):
        finders.scope(as_object(headers))


def test_allows_decides_whom_a_user_may_act_for() -> None:
    asked = []

    def allows(*owners: Any) -> bool:
        asked.append(owners)
        return bool(owners[1] == "globex")

    user = User()
    finders = Finders(user=lambda _: user, tenant=tenant_header, allows=allows)

    assert found(finders, as_object({"tenant-id": "globex"})).tenant_id == "globex"
    with pytest.raises(TenantRefusedError):
        finders.scope(as_object({"tenant-id": "initech"}))
    assert asked == [(user, "globex", None), (user, "initech", None)]


def test_principal_gives_what_the_request_lacks_and_its_key_what_it_may_not_exceed() -> None:
    principal = ApiPrincipal("api_key", ApiKey(tenant_id="t-1", organization_id="o-1"), requested_organization_id="o-9")
    finders = Finders(principal=lambda _: principal, tenant=tenant_header, allows=lambda *_: True)

    assert found(finders) == RequestContext("t-1", "o-9", None, principal)
    with pytest.raises(TenantRefusedError):
        finders.scope(as_object({"tenant-id": "globex"}))


async def test_finders_may_be_coroutines() -> None:
    async def find_user(_: Any) -> User:
        return User()

    async def allows(*owners: Any) -> bool:
        return bool(owners[1] == "t-1")

    async with await Finders(user=find_user, tenant=tenant_header, allows=allows).ascope(as_scope({})) as context:
        assert (context.tenant_id, context.user_id) == ("t-1", "u-1")
    with pytest.raises(TenantRefusedError):
        await Finders(user=find_user, tenant=tenant_header, allows=allows).ascope(as_scope({"tenant-id": "globex"}))


async def test_coroutine_functions_are_refused_where_nothing_awaits_them() -> None:
    """What they give would count as a user, or as a yes."""

    async def answer(*_: Any) -> bool:
        return False

    for finders in (Finders(user=answer), Finders(tenant=answer), Finders(allows=answer)):
        with pytest.raises(TypeError, match="coroutine functions are for the ASGI middleware alone"):
            finders.scope(as_object({}))


@pytest.mark.parametrize("found", [True, b"acme", 1.5, ["acme"], User()])
@pytest.mark.parametrize("name", ["tenant", "organization"])
def test_finder_must_give_an_id(name: str, found: Any) -> None:
    with pytest.raises(InvalidJobError, match=f"the finder of {name}_id must give text, a UUID or an integer, not "):
        Finders(**cast("dict[str, Any]", {name: lambda _: found})).scope(as_object({}))


def test_ids_may_be_uuids_and_integers() -> None:
    user = {"id": UUID(int=1), "tenant_id": 0}
    context = found(Finders(user=lambda _: user, tenant=lambda _: 0, organization=lambda _: UUID(int=2)))

    assert (context.tenant_id, context.organization_id, context.user_id) == ("0", str(UUID(int=2)), str(UUID(int=1)))
