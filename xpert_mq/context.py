"""Whose work this is: the tenant context of a request or a job.

It lives in a context variable, so it follows `await` and copies of the context (tasks, `asyncio.to_thread`), is never
seen by another thread or task, and is gone when the block that set it ends. Enqueueing captures it into the envelope;
the worker restores it around the handler.
"""

from __future__ import annotations

import importlib
import math
import operator
import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from types import TracebackType
from typing import Any
from uuid import UUID

from xpert_mq.errors import InvalidJobError, ScopeMismatchError, SettingsError
from xpert_mq.models import Actor, DelegatedKey, Delegation, Envelope, JobRequest

Id = str | UUID | int
_LOADER = "XPERT_MQ_USER_LOADER"
_IDS = ("tenant_id", "organization_id", "user_id")
_SECRET = re.compile(
    r"token|secret|passw|(api|access|private|signing)[-_ ]?key|^key$|authori[sz]ation|credential|cookie|bearer|jwt"
    r"|pwd|signature|session|otp|pin$",
    re.IGNORECASE,
)
_EXTRA_DEPTH = 8


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The key an API client called with. Its token never leaves the process, nor shows in a repr."""

    token: str | None = field(default=None, repr=False)
    type: str | None = None
    entity_id: str | None = None
    tenant_id: str | None = None
    organization_id: str | None = None
    user_id: str | None = None

    def __post_init__(self) -> None:
        _make_ids_text(self)


@dataclass(frozen=True, slots=True)
class ApiPrincipal:
    """An API client that acts by itself, or for `requested_user_id`. A repr hides `extra`: it may hold secrets too."""

    principal_type: str | None = None
    api_key: ApiKey | None = None
    owner_user_id: str | None = None
    api_key_user_id: str | None = None
    requested_user_id: str | None = None
    requested_organization_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def __post_init__(self) -> None:
        _make_ids_text(self)


@dataclass(frozen=True, slots=True)
class ContextUser:
    """A user of whom only the ids are known."""

    id: str
    tenant_id: str | None = None
    organization_id: str | None = None


@dataclass(frozen=True, slots=True)
class RequestContext:
    """Tenant, organization, user and API principal of the current request or job; all None outside.

    `user` is the framework's own object or anything with an `id`.
    """

    tenant_id: str | None = None
    organization_id: str | None = None
    user: Any = None
    principal: ApiPrincipal | None = None

    @property
    def user_id(self) -> str | None:
        """The user's `id`, else `pk`, or a mapping's "id", as text; None without a user or for an anonymous one."""
        user = self.user
        if user is None:
            return None
        if isinstance(user, Mapping):
            found = user.get("id")
        else:
            found = getattr(user, "id", None)
            if found is None:
                found = getattr(user, "pk", None)
        return None if found is None or found == "" else str(found)


_EMPTY = RequestContext()
_current: ContextVar[RequestContext] = ContextVar("xpert_mq_context", default=_EMPTY)
_job: ContextVar[Envelope | None] = ContextVar("xpert_mq_job", default=None)


def current_context() -> RequestContext:
    """The context of the current request or job; outside of both an empty one."""
    return _current.get()


def current_job() -> Envelope | None:
    """The envelope of the job whose handler runs; None outside. A `request_context` within a handler leaves it."""
    return _job.get()


class _Set:
    """One variable's change, and the way back."""

    __slots__ = ("_before", "_token", "_value", "_variable")

    def __init__(self, variable: ContextVar[Any], value: object) -> None:
        self._variable = variable
        self._value = value
        self._before = variable.get()
        self._token = variable.set(value)

    def put_back(self) -> None:
        try:
            self._variable.reset(self._token)
        except ValueError:
            # Left in another contextvars.Context than entered, as some test fixtures and streamed responses are. Where
            # that one is a copy that took this value along, it must not live on there.
            if self._variable.get() is self._value:
                self._variable.set(self._before)


class ContextScope:
    """Sets a context, and its job, for one `with` or `async with` block; puts back what was before in any case."""

    __slots__ = ("_context", "_entered", "_values")

    def __init__(self, context: RequestContext, job: Envelope | None = None) -> None:
        self._context = context
        self._values: list[tuple[ContextVar[Any], object]] = [(_current, context)]
        if job is not None:
            self._values.append((_job, job))
        self._entered: list[_Set] = []

    def __enter__(self) -> RequestContext:
        if self._entered:
            raise RuntimeError("this context is entered already; call request_context() anew for every block")
        self._entered = [_Set(variable, value) for variable, value in self._values]
        return self._context

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        entered, self._entered = self._entered, []
        for one in entered:
            one.put_back()

    async def __aenter__(self) -> RequestContext:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


def request_context(
    tenant_id: Id | None = None,
    organization_id: Id | None = None,
    user: object = None,
    principal: ApiPrincipal | None = None,
) -> ContextScope:
    """Set the context for a `with` or `async with` block.

    An inner block replaces the outer one as a whole: nothing is inherited, so that no user of one tenant acts in
    another's. What is not given comes from the principal: the tenant from its API key, the organization from the
    requested one, else from the key.

    Args:
        tenant_id, organization_id: text, or a UUID or integer, which is kept as text.
        user: an object with an `id`, or the bare id, which becomes a ContextUser.
        principal: the API client, where one called.

    Raises InvalidJobError for a blank id: "no tenant" must be said with None.
    """
    key = principal.api_key if principal is not None else None
    if tenant_id is None and key is not None:
        tenant_id = key.tenant_id
    if organization_id is None and principal is not None:
        organization_id = principal.requested_organization_id or (key.organization_id if key is not None else None)
    return _scope(
        _text_or_none("tenant_id", tenant_id), _text_or_none("organization_id", organization_id), user, principal
    )


def capture(request: JobRequest) -> tuple[JobRequest, Actor | None, Delegation | None]:
    """What enqueueing takes from the context: the request with the ids it lacks (never the scope), and who enqueues.

    Outside of a request or job the same request comes back, with no actor. Raises ScopeMismatchError if the request
    names another tenant, organization or user than the context's; a context without one contradicts none.
    """
    context = _current.get()
    if context is _EMPTY:
        return request, None, None
    actor = _actor_of(context)
    missing: dict[str, Any] = {}
    for name in _IDS:
        given, current = getattr(request, name), getattr(actor, name)
        if given is None and current is not None:
            missing[name] = current
        else:
            _refuse_other(name, given, current)
    return replace(request, **missing) if missing else request, actor, _delegation_of(context.principal)


def effective_tenant(tenant_id: str | None) -> str | None:
    """The tenant that a call about a job means: the given one, else the context's, else none.

    Raises ScopeMismatchError if another than the context's is given.
    """
    current = _current.get().tenant_id
    _refuse_other("tenant_id", tenant_id, current)
    return current if tenant_id is None else tenant_id


def restored(envelope: Envelope, user: object | None = None) -> ContextScope:
    """The job's own context, for a `with` block around its handler.

    `user` is what the user loader found; without it the user holds the envelope's ids alone. The principal is the one
    that enqueued, with no token.
    """
    if user is None and envelope.user_id is not None:
        user = ContextUser(envelope.user_id, envelope.tenant_id, envelope.organization_id)
    principal = _principal_of(envelope.delegation)
    return _scope(envelope.tenant_id, envelope.organization_id, user, principal, envelope)


def check_actor(envelope: Envelope) -> None:
    """Raise ScopeMismatchError if who enqueued contradicts the envelope: capture never writes such a one."""
    if envelope.actor is None:
        return
    for name in _IDS:
        acted, kept = getattr(envelope.actor, name), getattr(envelope, name)
        if acted is not None and acted != kept:
            raise ScopeMismatchError(name, acted, kept, where="the job's envelope")


def load_user_function(spec: str) -> Callable[..., Any]:
    """The function that XPERT_MQ_USER_LOADER names as `module:function`; SettingsError if it can't be had."""
    module, _, name = spec.partition(":")
    if not module.strip() or not name.strip():
        raise SettingsError(f"{_LOADER} must be `module:function`, as in `shop.users:load_user`, not {spec!r}")
    try:
        function = operator.attrgetter(name.strip())(importlib.import_module(module.strip()))
    except Exception as error:  # whatever the module raises while it is imported
        said = f"{type(error).__name__}: {error}"
        raise SettingsError(f"{_LOADER} names {spec!r}, which can't be imported: {said}") from error
    if not callable(function):
        raise SettingsError(f"{_LOADER} names {spec!r}, which is not callable but a {type(function).__name__}")
    loader: Callable[..., Any] = function
    return loader


def _scope(
    tenant_id: str | None,
    organization_id: str | None,
    user: object,
    principal: ApiPrincipal | None,
    job: Envelope | None = None,
) -> ContextScope:
    # By type: a lazy user object (as Django's) must not be loaded just by being put here.
    if issubclass(type(user), (str, int, UUID)):
        user = ContextUser(_text("user_id", user))
    if tenant_id is None and organization_id is None and user is None and principal is None:
        return ContextScope(_EMPTY, job)
    return ContextScope(RequestContext(tenant_id, organization_id, user, principal), job)


def _refuse_other(name: str, given: str | None, current: str | None) -> None:
    if given is not None and current is not None and given != current:
        raise ScopeMismatchError(name, given, current)


def _actor_of(context: RequestContext) -> Actor:
    """Who acts: a requested user where a principal names one, the principal itself, or the user.

    A principal that acts by itself is known by the user of the context, else by the key's own user, else by the owner.
    """
    principal = context.principal
    if principal is None:
        user_id = context.user_id
        return Actor(user_id, context.tenant_id, context.organization_id, "service" if user_id is None else "user")
    if principal.requested_user_id is not None:
        return Actor(principal.requested_user_id, context.tenant_id, context.organization_id, "delegated_user")
    key_user_id = principal.api_key.user_id if principal.api_key is not None else None
    user_id = context.user_id or principal.api_key_user_id or key_user_id or principal.owner_user_id
    return Actor(user_id, context.tenant_id, context.organization_id, "service")


def _delegation_of(principal: ApiPrincipal | None) -> Delegation | None:
    """The principal without its token, nor what else in `extra` looks like a secret or isn't JSON."""
    if principal is None:
        return None
    key = principal.api_key
    token = key.token if key is not None else None
    return Delegation(
        principal_type=principal.principal_type,
        api_key=None
        if key is None
        else DelegatedKey(key.type, key.entity_id, key.tenant_id, key.organization_id, key.user_id),
        owner_user_id=principal.owner_user_id,
        api_key_user_id=principal.api_key_user_id,
        requested_user_id=principal.requested_user_id,
        requested_organization_id=principal.requested_organization_id,
        extra=_without_secrets(principal.extra, token, _EXTRA_DEPTH) if principal.extra else None,
    )


def _principal_of(delegation: Delegation | None) -> ApiPrincipal | None:
    if delegation is None:
        return None
    key = delegation.api_key
    return ApiPrincipal(
        principal_type=delegation.principal_type,
        api_key=None
        if key is None
        else ApiKey(None, key.type, key.entity_id, key.tenant_id, key.organization_id, key.user_id),
        owner_user_id=delegation.owner_user_id,
        api_key_user_id=delegation.api_key_user_id,
        requested_user_id=delegation.requested_user_id,
        requested_organization_id=delegation.requested_organization_id,
        extra=delegation.extra or {},
    )


def _without_secrets(value: Mapping[Any, Any], token: str | None, depth: int) -> dict[str, Any]:
    """The entries that may be stored: plain JSON, not named like a secret, and with the token in no text of them."""
    return {
        name: _plain(part, token, depth)
        for name, part in value.items()
        if _may_name(name, token) and _may_be_stored(part, token, depth)
    }


def _may_name(name: object, token: str | None) -> bool:
    return isinstance(name, str) and not _SECRET.search(name) and not (token and token in name)


def _plain(part: Any, token: str | None, depth: int) -> Any:
    if isinstance(part, Mapping):
        return _without_secrets(part, token, depth - 1)
    if isinstance(part, (list, tuple)):
        return [_plain(item, token, depth - 1) for item in part if _may_be_stored(item, token, depth - 1)]
    return part


def _may_be_stored(part: object, token: str | None, depth: int) -> bool:
    if isinstance(part, str):
        return not token or token not in part
    if isinstance(part, float):
        return math.isfinite(part)
    if isinstance(part, (Mapping, list, tuple)):
        return depth > 0
    return part is None or isinstance(part, int)


def _make_ids_text(instance: ApiKey | ApiPrincipal) -> None:
    for one in fields(instance):
        if one.name.endswith("_id"):
            object.__setattr__(instance, one.name, _text_or_none(one.name, getattr(instance, one.name)))


def _text_or_none(name: str, value: object) -> str | None:
    return None if value is None else _text(name, value)


def _text(name: str, value: object) -> str:
    if not isinstance(value, (str, int, UUID)) or isinstance(value, bool):
        raise InvalidJobError(f"{name} must be text, a UUID or an integer, not {value!r}", field=name)
    text = str(value)
    if not text.strip():
        raise InvalidJobError(f"{name} must not be blank: give it an id, or None for none", field=name)
    return text
