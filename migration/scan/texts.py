"""What can be said of a value before the code runs: the value, or the code that computes it."""

from __future__ import annotations

import operator as operators
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .modules import Bound, Scope
from .resolver import Resolver
from .syntax import (
    Binary,
    Call,
    Constant,
    Function,
    Mapping,
    Member,
    Name,
    Node,
    Sequence,
    Text,
    children,
)

_DEPTH = 12
#: Options whose values are connections or secrets: a report has no use for them.
_HIDDEN = ("connection", "redis", "password", "secret", "token", "username", "createclient")
#: JSON, where a mapping with the one key `computed` or `pattern` stands for what is not known.
Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


@dataclass(frozen=True, slots=True)
class Hole:
    """A part of a text that is computed, as the code of it."""

    code: str


@dataclass(frozen=True, slots=True)
class Written:
    """A text with holes, and the code that it comes from in the end."""

    parts: tuple[str | Hole, ...]
    origin: Bound

    @property
    def known(self) -> str | None:
        """The whole text, if nothing of it is computed."""
        return "".join(str(part) for part in self.parts) if not self.holes else None

    @property
    def holes(self) -> list[Hole]:
        """What is computed."""
        return [part for part in self.parts if isinstance(part, Hole)]

    @property
    def opaque(self) -> bool:
        """Whether nothing at all of the text is known."""
        return len(self.parts) == 1 and isinstance(self.parts[0], Hole)

    @property
    def shown(self) -> str:
        """The text with `{code}` for what is computed."""
        return "".join(f"{{{part.code}}}" if isinstance(part, Hole) else part for part in self.parts)

    def json(self) -> Json:
        """The text, or what there is of it."""
        if not self.holes:
            return self.known
        return {"computed": self.holes[0].code} if self.opaque else {"pattern": self.shown}


class Texts:
    """Reads texts and constants off the code."""

    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def text(self, node: Node, scope: Scope, depth: int = 0) -> Written:
        """A text as far as it is written in the code."""
        origin = self.resolver.target(node, scope)
        return Written(_joined(self._parts(node, scope, origin, depth)), origin)

    def known(self, bound: Bound | None) -> str | None:
        """The whole text, if it is one and nothing of it is computed."""
        if bound is None:
            return None
        origin = self.resolver.target(*bound)
        number = isinstance(origin.node, Constant) and not isinstance(origin.node.value, str)
        return None if number else self.text(*bound).known

    def _parts(self, node: Node, scope: Scope, origin: Bound, depth: int) -> list[str | Hole]:
        end = origin.node
        if isinstance(end, Constant) and isinstance(end.value, str | int | float) and not isinstance(end.value, bool):
            return [str(end.value)]
        inner: list[Node] | None = None
        if isinstance(end, Text):
            inner = end.parts
        elif isinstance(end, Binary) and end.operator == "+":
            inner = [end.left, end.right]
        elif isinstance(end, Call) and isinstance(end.function, Name) and end.function.id in ("String", "str"):
            inner = end.arguments[:1]
        if inner is None or depth > _DEPTH:
            return [Hole(scope.module.excerpt(node))]
        return [part for one in inner for part in self.text(one, origin.scope, depth + 1).parts]

    def json(self, node: Node, scope: Scope, depth: int = 0) -> Json:
        """A value as JSON; `{"computed": code}` and `{"pattern": text}` stand for what is not known."""
        bound = self.resolver.target(node, scope)
        end = bound.node
        if depth > _DEPTH:
            return {"computed": scope.module.excerpt(node)}
        if isinstance(end, Constant):
            return end.value
        if isinstance(end, Mapping):
            return self.options(node, scope, depth + 1)
        if isinstance(end, Sequence) and not end.loops:
            return [self.json(one, bound.scope, depth + 1) for one in end.items]
        number = self._number(bound, 0)
        return self.text(node, scope).json() if number is None else number

    def options(self, node: Node, scope: Scope, depth: int = 0) -> dict[str, Json]:
        """A mapping of options; what is spread into it and not known is an entry `...`."""
        bound = self.resolver.target(node, scope)
        if isinstance(bound.node, Constant):
            return {}
        if not isinstance(bound.node, Mapping):
            return {"...": {"computed": scope.module.excerpt(node)}}
        found: dict[str, Json] = {}
        for key, value in bound.node.items:
            if key is None:
                found |= self.options(value, bound.scope, depth + 1) if depth < _DEPTH else {}
                continue
            name = self.text(key, bound.scope)
            hidden = any(word in name.shown.lower() for word in _HIDDEN)
            found[name.shown] = "***" if hidden else self.json(value, bound.scope, depth + 1)
        return found

    def _number(self, bound: Bound, depth: int) -> int | float | None:
        """The result of arithmetic with constants."""
        node, scope = self.resolver.target(*bound)
        if isinstance(node, Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return node.value
        if not isinstance(node, Binary) or node.operator not in (*_ARITHMETIC, "**") or depth > _DEPTH:
            return None
        left, right = (
            self._number(Bound(node.left, scope), depth + 1),
            self._number(Bound(node.right, scope), depth + 1),
        )
        return None if left is None or right is None else _computed(node.operator, left, right)

    def mentions(self, node: Node, scope: Scope, word: str, depth: int = 0) -> bool:
        """Whether a word is part of a name or text that a value is made of, as far as the code leads."""
        if depth > 5:
            return False
        if _words(node, word):
            return True
        if isinstance(node, Function):
            return False
        bound = self.resolver.target(node, scope)
        if bound.node is not node and self.mentions(*bound, word, depth + 1):
            return True
        return any(self.mentions(one, scope, word, depth + 1) for one in children(node))


def _words(node: Node, word: str) -> bool:
    if isinstance(node, Name):
        return word in node.id.lower()
    if isinstance(node, Member):
        return word in node.name.lower()
    return isinstance(node, Constant) and isinstance(node.value, str) and word in node.value.lower()


def _joined(parts: list[str | Hole]) -> tuple[str | Hole, ...]:
    """The parts, with neighbouring texts made one."""
    made: list[str | Hole] = []
    for part in parts:
        if made and isinstance(part, str) and isinstance(made[-1], str):
            made[-1] += part
        elif part != "" or len(parts) == 1:
            made.append(part)
    return tuple(made)


def _computed(operator: str, left: float, right: float) -> int | float | None:
    try:
        if operator == "**":
            result = left**right if abs(right) < 64 and abs(left) < 10**6 else None
        else:
            result = _ARITHMETIC[operator](left, right)
    except ArithmeticError:
        return None
    return int(result) if isinstance(result, float) and result.is_integer() else result


_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operators.add,
    "-": operators.sub,
    "*": operators.mul,
    "/": operators.truediv,
    "//": operators.floordiv,
}
