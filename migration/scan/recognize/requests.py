"""Handlers that lean on a request: there is none while a job runs."""

from __future__ import annotations

from ..modules import Bound, Scope
from ..resolver import Instance
from ..scanner import Handler, Scanner, inside, scope_of
from ..syntax import Call, Class, Foreign, Function, Mapping, Member, Name, Node, Parameter, argument

_DEPTH = 4
#: Module (its package) → names that stand for the request that is being served; "" is all of it.
_AMBIENT = {
    "flask": {"request", "g", "session", "current_app"},
    "quart": {"request", "g", "session"},
    "flask_login": {"current_user"},
    "starlette_context": {"context"},
    "crum": {"get_current_request", "get_current_user"},
    "django_currentuser": {"get_current_user"},
    "cls-hooked": {""},
    "express-http-context": {"get"},
    "@fastify/request-context": {"requestContext"},
}
_OWN = ("runWithRequestContext", "runWithContext", "app_context", "test_request_context", "request_context")
_STORES = {"contextvars.ContextVar": "get", "async_hooks.AsyncLocalStorage": "getStore"}


class Requests:
    """Follows handlers into the functions that they call, and notes what needs a request there."""

    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner

    def look(self, handler: Handler) -> None:
        """Notes what a handler takes from a request."""
        seen: set[int] = set()
        self._function(handler.function, handler.function, seen, 0)
        if isinstance(handler.decorated.node, Class):
            self._class(scope_of(handler.decorated), seen, 0)

    def _function(self, function: Bound, handler: Bound, seen: set[int], depth: int) -> None:
        node = function.node
        if not isinstance(node, Function) or id(node) in seen or depth > _DEPTH:
            return
        seen.add(id(node))
        shielded: list[Node] = []
        for place in inside(function.scope.module, node):
            if any(one.start <= place.node.start and place.node.end <= one.end for one in shielded):
                continue
            if isinstance(place.node, Call) and self._own_context(place, place.node):
                shielded.append(place.node)
            else:
                self._look_at(place, handler)
                self._go_on(place, handler, seen, depth)

    def _go_on(self, place: Bound, handler: Bound, seen: set[int], depth: int) -> None:
        if isinstance(place.node, Call):
            for callee in self.scanner.resolver.callees(place.node, place.scope):
                self._function(callee, handler, seen, depth + 1)
                owner = scope_of(callee).owner
                if owner is not None and isinstance(place.node.function, Member):
                    self._class(owner, seen, depth)

    def _own_context(self, place: Bound, node: Call) -> bool:
        name = node.function.name if isinstance(node.function, Member) else getattr(node.function, "id", "")
        store = isinstance(node.function, Member) and name == "run" and self._store(node.function.of, place.scope)
        context = isinstance(node.function, Member) and name == "run" and _is_context(node.function.of)
        ours = self.scanner.resolver.foreign_module(node.function, place.scope).startswith("xpert_mq")
        if ours or not (name in _OWN or store or context):
            return False
        self.scanner.note("own-context", place, f"{place.scope.module.excerpt(node.function)}(…) in a handler")
        return True

    def _store(self, node: Node, scope: Scope) -> str:
        """The getter of a variable that each request has its own value of; empty for all else."""
        made = self.scanner.resolver.target(node, scope)
        if not isinstance(made.node, Call):
            return ""
        found = self.scanner.resolver.target(made.node.function, made.scope).node
        if not isinstance(found, Foreign):
            return ""
        return _STORES.get(f"{found.module.removeprefix('node:')}.{found.name}".replace("..", "."), "")

    def _look_at(self, place: Bound, handler: Bound) -> None:
        node, scope = place
        if isinstance(node, Call) and isinstance(node.function, Member):
            getter = self._store(node.function.of, scope)
            if getter and node.function.name == getter:
                self._note(place, handler)
                return
        if isinstance(node, Call | Member) and (self._ambient(node, scope) or self._request(node, handler, scope)):
            self._note(place, handler)

    def _ambient(self, node: Call | Member, scope: Scope) -> bool:
        code = node.function if isinstance(node, Call) else node.of
        if isinstance(node, Member) and self._is_ambient(node, scope):
            return True
        return self._is_ambient(code, scope)

    def _is_ambient(self, node: Node, scope: Scope) -> bool:
        found = self.scanner.resolver.target(node, scope)
        if isinstance(found.node, Foreign):
            module, name = found.node.module, found.node.name
            names = _AMBIENT.get(module if module.startswith("@") else module.split(".")[0], set())
            if names and ("" in names or bool(set(name.split(".")) & names)):
                return True
            return "RequestContext" in name.split(".")[:-1] and not module.startswith("xpert_mq")
        return False

    def _request(self, node: Call | Member, handler: Bound, scope: Scope) -> bool:
        """Whether it is a part of a request that a function around the handler was given."""
        code = node.function.of if isinstance(node, Call) and isinstance(node.function, Member) else None
        code = node.of if isinstance(node, Member) else code
        if not isinstance(code, Name) or code.id not in ("req", "request"):
            return False
        found = scope.lookup(code.id)
        outside = [one for one in found if not _within(one, handler)]
        return bool(outside) and all(isinstance(one.node, Parameter) for one in outside)

    def _class(self, owner: Scope, seen: set[int], depth: int) -> None:
        """What is injected into a handler's class, and into what is injected there."""
        if id(owner) in seen or depth > _DEPTH or not isinstance(owner.node, Class):
            return
        seen.add(id(owner))
        for decorator in owner.node.decorators:
            if isinstance(decorator, Call) and self._of_request(decorator, owner):
                self._note(Bound(decorator, owner), None, f"class {owner.node.name} lives as long as a request")
        for name in ("constructor", "__init__"):
            for found in self.scanner.resolver.members(owner, name):
                self._injected(found, seen, depth)

    def _of_request(self, decorator: Call, owner: Scope) -> bool:
        options = [one for one in decorator.arguments if isinstance(one, Mapping)]
        scopes = [value for one in options for key, value in one.items if getattr(key, "value", "") == "scope"]
        return any(owner.module.excerpt(one) == "Scope.REQUEST" for one in scopes)

    def _injected(self, constructor: Bound, seen: set[int], depth: int) -> None:
        if not isinstance(constructor.node, Function):
            return
        inner = scope_of(constructor)
        for parameter in constructor.node.parameters:
            if self._injects_request(parameter, inner):
                self._note(Bound(parameter, inner), None, f"injected: {inner.module.excerpt(parameter)}")
                continue
            found = self.scanner.resolver.what(parameter, inner)
            if isinstance(found, Instance):
                self._class(found.scope, seen, depth + 1)

    def _injects_request(self, parameter: Parameter, scope: Scope) -> bool:
        for decorator in parameter.decorators:
            given = argument(decorator, 0) if isinstance(decorator, Call) else None
            if given is not None and self.scanner.resolver.foreign_name(given, scope) == "REQUEST":
                return True
        annotation = parameter.annotation
        return annotation is not None and self.scanner.resolver.foreign_name(annotation, scope) == "ClsService"

    def _note(self, place: Bound, handler: Bound | None, what: str = "") -> None:
        node = place.node
        code = place.scope.module.excerpt(node.function if isinstance(node, Call) else node)
        reached = ""
        if handler is not None:
            module = handler.scope.module
            name = getattr(handler.node, "name", "") or "function"
            reached = f", reached from {name} at {module.file.shown}:{module.position(handler.node)[0]}"
        self.scanner.note("request", place, what or f"{code}{reached}")


def _within(found: Bound, handler: Bound) -> bool:
    node = handler.node
    same = found.scope.module is handler.scope.module
    return same and node.start <= found.node.start and found.node.end <= node.end


def _is_context(node: Node) -> bool:
    name = node.name if isinstance(node, Member) else getattr(node, "id", "")
    return isinstance(name, str) and name.endswith("RequestContext")
