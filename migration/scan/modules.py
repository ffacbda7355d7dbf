"""A parsed module: its scopes, what each name in them is bound to, and the places that recognizers look at."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

from .files import File
from .syntax import (
    Assign,
    Binary,
    Call,
    Class,
    Constant,
    Export,
    Foreign,
    Function,
    Group,
    Import,
    Item,
    Mapping,
    Match,
    Member,
    Name,
    Node,
    Parameter,
    Return,
    Typed,
    children,
)

_EXCERPT = 70
#: User and password in the text of a URL, which no report shows.
_CREDENTIALS = re.compile(r"://[^/@\s\"'`]+@")
#: What puts an element into a container, and the place of the argument that is the element.
_PUTS = {"set": 1, "append": 0, "push": 0, "add": 0, "setdefault": 1}


class Bound(NamedTuple):
    """A piece of code, and the scope that its names are looked up in."""

    node: Node
    scope: Scope


@dataclass(slots=True, eq=False)
class Scope:
    """The names of a module, class or function. Those of a class are its members."""

    module: Module
    parent: Scope | None = None
    node: Function | Class | None = None
    owner: Scope | None = None
    self_name: str = ""
    names: dict[str, list[Bound]] = field(default_factory=lambda: defaultdict(list))
    returns: list[Node] = field(default_factory=list)
    calls: int = 0

    def lookup(self, name: str) -> list[Bound]:
        """What a name is bound to, in the nearest scope that has it; members of classes are no names."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names and (scope is self or not isinstance(scope.node, Class)):
                return scope.names[name]
            scope = scope.parent
        return []


@dataclass(slots=True, eq=False)
class Module:
    """One source file."""

    file: File
    language: str
    text: bytes
    tree: Group
    scope: Scope = field(init=False)
    exports: dict[str, list[Bound]] = field(default_factory=lambda: defaultdict(list))
    stars: list[str] = field(default_factory=list)
    places: list[Bound] = field(default_factory=list)
    scopes: dict[int, Scope] = field(default_factory=dict)
    _starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._starts = [0, *accumulate(len(line) + 1 for line in self.text.split(b"\n"))][:-1]
        self.scope = Scope(self)
        _Indexer(self).run()

    def position(self, node: Node) -> tuple[int, int]:
        """Line and column of a node, both from 1, the column in characters."""
        line = bisect_right(self._starts, node.start)
        before = self.text[self._starts[line - 1] : node.start]
        return line, len(before.decode(errors="replace")) + 1

    def excerpt(self, node: Node) -> str:
        """The code of a node on one line, cut where it is long."""
        code = " ".join(self.text[node.start : node.end].decode(errors="replace").split())
        code = _CREDENTIALS.sub("://***@", code)
        return code if len(code) <= _EXCERPT else f"{code[: _EXCERPT - 1]}…"


class _Indexer:
    """Fills a module's scopes and places in one pass."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.seen: set[int] = set()
        self.python = module.language == "python"

    def run(self) -> None:
        self.visit(self.module.tree, self.module.scope)

    def visit(self, node: Node | None, scope: Scope) -> None:
        if node is None or id(node) in self.seen:
            return
        self.seen.add(id(node))
        if isinstance(node, Call | Class | Function | Member | Item | Match | Binary | Import):
            self.module.places.append(Bound(node, scope))
        special = _VISITS.get(type(node))
        if special is not None:
            special(self, node, scope)
        else:
            self.visit_all(list(children(node)), scope)

    def visit_all(self, nodes: list[Node], scope: Scope) -> None:
        for node in nodes:
            self.visit(node, scope)

    def imported(self, node: Import, scope: Scope) -> None:
        for local, name in node.names.items():
            if local == "*":
                self.module.stars.append(node.module)
            elif name == ".":  # `import a.b` binds a
                scope.names[local].append(Bound(Foreign(node.start, node.end, local, ""), scope))
            else:
                scope.names[local].append(Bound(Foreign(node.start, node.end, node.module, name), scope))

    def exported(self, node: Export, scope: Scope) -> None:
        if node.name == "*" and node.module is not None:
            self.module.stars.append(node.module)
        elif node.module is not None:
            foreign = Foreign(node.start, node.end, node.module, node.imported)
            self.module.exports[node.name].append(Bound(foreign, scope))
        elif node.value is not None:
            self.module.exports[node.name].append(Bound(node.value, scope))
            self.visit(node.value, scope)

    def function(self, node: Function, scope: Scope) -> None:
        self.visit_all(node.decorators, scope)
        if node.name:
            scope.names[node.name].append(Bound(node, scope))
        inner = Scope(self.module, scope, node, scope.owner, scope.self_name)
        if isinstance(scope.node, Class):
            inner.owner, inner.self_name = scope, self._self_name(node)
        self.module.scopes[id(node)] = inner
        for parameter in node.parameters:
            inner.names[parameter.name].append(Bound(parameter, inner))
            self.visit_all(list(children(parameter)), inner)
            if parameter.stored and inner.owner is not None:
                inner.owner.names[parameter.name].append(Bound(parameter, inner))
        if node.returns is not None:
            self.visit(node.returns, scope)
        self.visit_all(node.body, inner)

    def _self_name(self, node: Function) -> str:
        if not self.python:
            return "this"
        return node.parameters[0].name if node.parameters else ""

    def classed(self, node: Class, scope: Scope) -> None:
        if node.name:
            scope.names[node.name].append(Bound(node, scope))
        self.visit_all([*node.decorators, *node.bases], scope)
        inner = Scope(self.module, scope, node)
        inner.owner, inner.self_name = inner, "this"
        self.module.scopes[id(node)] = inner
        self.visit_all(node.body, inner)

    def assigned(self, node: Assign, scope: Scope) -> None:
        bound = Bound(_typed(node), scope)
        target = node.target
        if isinstance(target, Name):
            scope.names[target.id].append(bound)
        elif isinstance(target, Member):
            self._member_assigned(target, bound)
            self.visit(target.of, scope)
        elif isinstance(target, Item):
            self._put(target.of, bound)
            self.visit(target.of, scope)
        self.visit_all([*node.decorators, *(one for one in (node.value, node.annotation) if one)], scope)

    def _member_assigned(self, target: Member, bound: Bound) -> None:
        scope = bound.scope
        if scope.owner is not None and _is_self(target.of, scope):
            scope.owner.names[target.name].append(bound)
        elif not self.python:
            self._exports_assigned(target, bound)

    def _exports_assigned(self, target: Member, bound: Bound) -> None:
        if self._is_module_exports(target):
            self.module.exports["="].append(bound)
            self.module.exports["default"].append(bound)
            for key, value in bound.node.items if isinstance(bound.node, Mapping) else []:
                if isinstance(key, Constant):
                    self.module.exports[str(key.value)].append(Bound(value, bound.scope))
        elif self._is_module_exports(target.of) or (isinstance(target.of, Name) and target.of.id == "exports"):
            self.module.exports[target.name].append(bound)

    def _is_module_exports(self, node: Node) -> bool:
        return (
            isinstance(node, Member) and node.name == "exports" and isinstance(node.of, Name) and node.of.id == "module"
        )

    def called(self, node: Call, scope: Scope) -> None:
        function = node.function
        if isinstance(function, Member) and function.name in _PUTS and len(node.arguments) > _PUTS[function.name]:
            self._put(function.of, Bound(node.arguments[_PUTS[function.name]], scope))
        self.visit_all(list(children(node)), scope)

    def _put(self, container: Node, bound: Bound) -> None:
        """Notes an element of a container, under the container's name and `[]`."""
        scope = bound.scope
        if isinstance(container, Name):
            holder: Scope | None = scope
            while holder is not None and container.id not in holder.names:
                holder = holder.parent
            (holder or scope).names[f"{container.id}[]"].append(bound)
        elif isinstance(container, Member) and scope.owner is not None and _is_self(container.of, scope):
            scope.owner.names[f"{container.name}[]"].append(bound)

    def returned(self, node: Return, scope: Scope) -> None:
        if node.value is not None:
            scope.returns.append(node.value)
            self.visit(node.value, scope)


def _is_self(node: Node, scope: Scope) -> bool:
    return isinstance(node, Name) and node.id == scope.self_name


def _typed(node: Assign) -> Node:
    """What a name is bound to: the value, with its type where the code gives one."""
    none = node.value is None or (isinstance(node.value, Constant) and node.value.value is None)
    if none and (node.annotation is not None or node.decorators):
        return Parameter(node.start, node.end, "", node.annotation, None, node.decorators)
    if node.value is None:
        return Constant(node.start, node.end, None)
    return node.value if node.annotation is None else Typed(node.start, node.end, node.value, node.annotation)


_VISITS: dict[type[Node], Callable[[_Indexer, Any, Scope], None]] = {
    Import: _Indexer.imported,
    Export: _Indexer.exported,
    Function: _Indexer.function,
    Class: _Indexer.classed,
    Assign: _Indexer.assigned,
    Call: _Indexer.called,
    Return: _Indexer.returned,
}
