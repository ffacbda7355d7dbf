"""Whose a job is: where the code around an enqueue visibly has the tenant, and what to do where it has not."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from .findings import Reason
from .project import Project
from .scopes import Binding, Scope
from .values import Instance, JobKind, JobValue

TENANT = ("tenant_id", "tenantId")
ORGANIZATION = ("organization_id", "organizationId")

_HARMLESS_DECORATORS = (
    "staticmethod",
    "classmethod",
    "override",
    "typing.override",
    "abstractmethod",
    "abc.abstractmethod",
)


@dataclass(frozen=True)
class Owner:
    """The tenant and organization of a call.

    Attributes:
        tenant, organization: expressions; None: not given, which in a handler means those of its own job.
        how: `parameter`: the function around gets a parameter `tenant_id`; `unknown`: `problem` says why.
    """

    tenant: str | None = None
    organization: str | None = None
    how: Literal["seen", "context", "parameter", "unknown"] = "seen"
    problem: Reason | None = None


class Tenants:
    """Finds the owner of a call. Looks at what the call is given, and at the function around it."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def owner(self, call: ast.AST, payload: ast.expr | None, others: Iterable[ast.expr], scope: Scope) -> Owner:
        """The owner of a call with this payload; `others` are more expressions that say what it is about."""
        about = [one for one in (payload, *others) if one is not None]
        tenant = self._seen(TENANT, call, payload, about, scope)
        organization = self._seen(ORGANIZATION, call, payload, about, scope)
        if tenant is not None:
            return Owner(tenant, organization)
        if self.in_handler(scope):
            return Owner(None, organization, "context")
        problem = _IN_WORKER if self.in_staying_worker(scope) else _cannot_take_parameter(self._project, scope)
        if problem is not None:
            return Owner(how="unknown", problem=problem)
        return Owner("tenant_id", organization, "parameter")

    def in_handler(self, scope: Scope) -> bool:
        """Whether this code runs in the context of a job: it has the job that its handler got."""
        return self._has_job(scope, "handler")

    def in_staying_worker(self, scope: Scope) -> bool:
        """Whether it has the job of a worker that stays: it runs in no context of ours."""
        return self._has_job(scope, "kept")

    def _has_job(self, scope: Scope, kind: JobKind) -> bool:
        known = self._project.job_parameters
        return any(known.get(arg) == JobValue(kind) for one in scope.around() for arg in one.parameters)

    def _seen(
        self, names: tuple[str, str], call: ast.AST, payload: ast.expr | None, about: list[ast.expr], scope: Scope
    ) -> str | None:
        finders = (
            self._in_payload(names, payload, scope),
            self._in_variables(names, call, scope),
            self._in_objects(names, about, scope),
            self._in_function(names, call, about, scope),
            self._in_self(names, scope),
        )
        return next((found for found in finders if found is not None), None)

    def _in_payload(self, names: tuple[str, str], payload: ast.expr | None, scope: Scope) -> str | None:
        if isinstance(payload, ast.Name):
            bindings = scope.find(payload.id)
            if len(bindings) == 1 and isinstance(bindings[0].value, ast.Dict):
                key = next((text for text, _ in _items(bindings[0].value) if text in names), None)
                return None if key is None else f'{payload.id}["{key}"]'
            return None
        if isinstance(payload, ast.Dict):
            given = next((value for text, value in _items(payload) if text in names), None)
            return scope.module.segment(given) if given is not None and _is_plain(given) else None
        for keyword in (node for node in _walk(payload) if isinstance(node, ast.keyword)):
            if keyword.arg in names and _is_plain(keyword.value):
                return scope.module.segment(keyword.value)
        return None

    def _in_variables(self, names: tuple[str, str], call: ast.AST, scope: Scope) -> str | None:
        for place in scope.around():
            if place.kind != "function":
                continue
            for name in names:
                if any(_is_before(one, call) for one in place.bindings.get(name, [])):
                    return name
        return None

    def _in_objects(self, names: tuple[str, str], about: list[ast.expr], scope: Scope) -> str | None:
        """Of an object in the arguments whose class has such a field."""
        found: list[str] = []
        for node in (node for one in about for node in _walk(one) if isinstance(node, (ast.Name, ast.Attribute))):
            value = self._project.value(node, scope)
            if not isinstance(value, Instance) or _is_self(node, scope):
                continue
            field = next((name for name in names if self._project.attribute(value.scope, name)), None)
            if field is not None and _is_plain(node):
                code = scope.module.segment(node)
                found.append(f'{code}["{field}"]' if self._is_typed_dict(value.scope) else f"{code}.{field}")
        return _only(found)

    def _is_typed_dict(self, scope: Scope) -> bool:
        assert isinstance(scope.node, ast.ClassDef)
        bases = [self._project.external(base, scope.parent or scope) for base in scope.node.bases]
        return any(base in ("typing.TypedDict", "typing_extensions.TypedDict") for base in bases)

    def _in_function(self, names: tuple[str, str], call: ast.AST, about: list[ast.expr], scope: Scope) -> str | None:
        """Of what the arguments are about, as the function reads it elsewhere: `row.tenant_id`, `row["tenantId"]`."""
        function = scope.function
        if function is None:
            return None
        roots = {node.id for one in about for node in _walk(one) if isinstance(node, ast.Name)}
        seen = [node for node in ast.walk(function.node) if isinstance(node, ast.expr) and _reads(node, names)]
        codes = [scope.module.segment(node) for node in seen if _is_plain(node) and _root(node) in roots]
        return _only(codes)

    def _in_self(self, names: tuple[str, str], scope: Scope) -> str | None:
        for place in scope.around():
            if place.is_method and place.parent is not None and place.parameters:
                for name in (*names, *(f"_{name}" for name in names)):
                    if self._project.attribute(place.parent, name):
                        return f"{place.parameters[0].arg}.{name}"
        return None


def _cannot_take_parameter(project: Project, scope: Scope) -> Reason | None:
    function = scope.function
    what = "its tenant can't be known"
    if function is None:
        return Reason("tenant", f"{what} at the level of the module", "enqueue in a function that is given tenant_id")
    if isinstance(function.node, ast.Lambda) or function.name.startswith("__"):
        return Reason("tenant", f"{what} in {function.name}", "move it into a function that is given tenant_id")
    decorators = getattr(function.node, "decorator_list", [])
    names = [project.external(one, function.parent or function) or getattr(one, "id", "") for one in decorators]
    if any(name not in _HARMLESS_DECORATORS for name in names):
        right = "say whose job it is, with a variable tenant_id from the signed-in user's session, and run this again"
        return Reason("tenant", f"{what}, and a decorated function may be given parameters by a caller outside", right)
    return None


_IN_WORKER = Reason(
    "tenant",
    "its tenant can't be known in a worker that has to stay",
    "put tenant_id into the job's data, or decide about the worker, and run this again",
)


def _items(display: ast.Dict) -> Iterator[tuple[str, ast.expr]]:
    for key, value in zip(display.keys, display.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value, value


def _walk(expr: ast.expr | None) -> Iterator[ast.AST]:
    return ast.walk(expr) if expr is not None else iter(())


def _is_plain(expr: ast.expr) -> bool:
    """Whether it may be read twice: names, attributes, items, `get` of a text, and texts."""
    match expr:
        case ast.Name() | ast.Constant(value=str()):
            return True
        case ast.Attribute():
            return _is_plain(expr.value)
        case ast.Subscript(slice=ast.Constant()):
            return _is_plain(expr.value)
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant()], keywords=[]):
            assert isinstance(expr.func, ast.Attribute)
            return _is_plain(expr.func.value)
        case ast.Call(func=ast.Name(id="str"), args=[inner], keywords=[]):
            return _is_plain(inner)
    return False


def _reads(expr: ast.expr, names: tuple[str, str]) -> bool:
    match expr:
        case ast.Attribute(attr=attr, ctx=ast.Load()):
            return attr in names
        case ast.Subscript(slice=ast.Constant(value=key), ctx=ast.Load()):
            return key in names
        case ast.Call(func=ast.Attribute(attr="get"), args=[ast.Constant(value=key)]):
            return key in names
    return False


def _root(expr: ast.AST) -> str | None:
    while not isinstance(expr, ast.Name):
        match expr:
            case ast.Attribute(value=inner) | ast.Subscript(value=inner) | ast.Call(func=inner):
                expr = inner
            case _:
                return None
    return expr.id


def _is_self(node: ast.expr, scope: Scope) -> bool:
    methods = [place for place in scope.around() if place.is_method]
    return isinstance(node, ast.Name) and any(
        place.parameters and place.parameters[0].arg == node.id for place in methods
    )


def _is_before(binding: Binding, call: ast.AST) -> bool:
    if binding.kind == "param":
        return True
    return bool(binding.kind != "opaque" and getattr(binding.node, "lineno", 0) < getattr(call, "lineno", 0))


def _only(codes: list[str]) -> str | None:
    unique = dict.fromkeys(codes)
    return next(iter(unique)) if len(unique) == 1 else None
