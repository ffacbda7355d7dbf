"""One small syntax tree for both languages, so that what a piece of code means is found out once and not twice.

A node keeps where it stands in its file, in bytes of UTF-8. What has no meaning for the inventory is a `Group`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields


@dataclass(slots=True, eq=False)
class Node:
    """A piece of code."""

    start: int
    end: int


@dataclass(slots=True, eq=False)
class Constant(Node):
    """A text, a number, a truth value, or None (`null`, `undefined`)."""

    value: str | int | float | bool | None


@dataclass(slots=True, eq=False)
class Name(Node):
    """A variable; `this` and `super` too."""

    id: str


@dataclass(slots=True, eq=False)
class Member(Node):
    """`of.name`."""

    of: Node
    name: str


@dataclass(slots=True, eq=False)
class Item(Node):
    """`of[key]`, in types also `Of<key>`. The element that a loop takes has no key."""

    of: Node
    key: Node | None


@dataclass(slots=True, eq=False)
class Spread(Node):
    """`...value`, `*value`."""

    value: Node


@dataclass(slots=True, eq=False)
class Call(Node):
    """A call of a function, or of a class with or without `new`."""

    function: Node
    arguments: list[Node]
    keywords: dict[str, Node] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Text(Node):
    """A template or f-string."""

    parts: list[Node]


@dataclass(slots=True, eq=False)
class Mapping(Node):
    """An object or dict; an item without a key is spread into it."""

    items: list[tuple[Node | None, Node]]


@dataclass(slots=True, eq=False)
class Sequence(Node):
    """A list or tuple; of a comprehension the one element, with its loops beside it."""

    items: list[Node]
    loops: list[Node] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Choice(Node):
    """One of several: `a or b`, `a ? b : c`, a union of types; beside them what is only evaluated."""

    options: list[Node]
    beside: list[Node] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Binary(Node):
    """Two operands of arithmetic or of a comparison."""

    operator: str
    left: Node
    right: Node


@dataclass(slots=True, eq=False)
class Typed(Node):
    """A value that the code says the type of: `value as T`."""

    value: Node
    annotation: Node


@dataclass(slots=True, eq=False)
class Parameter(Node):
    """A parameter of a function; `stored` ones of a constructor are members of the object too."""

    name: str
    annotation: Node | None = None
    default: Node | None = None
    decorators: list[Node] = field(default_factory=list)
    stored: bool = False


@dataclass(slots=True, eq=False)
class Function(Node):
    """A function, method or lambda. What destructures its parameters stands first in the body."""

    name: str
    parameters: list[Parameter]
    body: list[Node]
    decorators: list[Node] = field(default_factory=list)
    returns: Node | None = None


@dataclass(slots=True, eq=False)
class Class(Node):
    """A class."""

    name: str
    bases: list[Node]
    body: list[Node]
    decorators: list[Node] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Assign(Node):
    """A value for a variable, member or item; without a value only its type is declared."""

    target: Node
    value: Node | None = None
    annotation: Node | None = None
    decorators: list[Node] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Import(Node):
    """Names from another module: local name → its name there, "" for the module itself. `*` takes all names."""

    module: str
    names: dict[str, str]


@dataclass(slots=True, eq=False)
class Export(Node):
    """What a JavaScript module gives away as `name`: a value, or a name of another module (`*`: all)."""

    name: str
    value: Node | None = None
    module: str | None = None
    imported: str = ""


@dataclass(slots=True, eq=False)
class Return(Node):
    """What a function returns."""

    value: Node | None


@dataclass(slots=True, eq=False)
class Match(Node):
    """`switch` and `match`: the subject, the values of its cases, and the code."""

    subject: Node
    cases: list[Node]
    body: list[Node]


@dataclass(slots=True, eq=False)
class Group(Node):
    """Code that only holds other code."""

    parts: list[Node]


@dataclass(slots=True, eq=False)
class Foreign(Node):
    """Something of a module that is not in the tree, under its full name there."""

    module: str
    name: str


class UnparsableError(Exception):
    """A file that can't be parsed; `line` is where, as far as the parser knows."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


_FIELDS: dict[type[Node], tuple[str, ...]] = {}


def _fields(kind: type[Node]) -> tuple[str, ...]:
    """The fields of a kind of node that may hold nodes."""
    if kind not in _FIELDS:
        others = ("start", "end", "name", "id", "module")
        _FIELDS[kind] = tuple(one.name for one in fields(kind) if one.name not in others)
    return _FIELDS[kind]


def children(node: Node) -> Iterator[Node]:
    """The nodes directly in a node."""
    for name in _fields(type(node)):
        value = getattr(node, name)
        if isinstance(value, Node):
            yield value
        elif isinstance(value, dict):
            yield from (one for one in value.values() if isinstance(one, Node))
        elif isinstance(value, list):
            yield from _listed(value)


def _listed(values: list[object]) -> Iterator[Node]:
    for value in values:
        if isinstance(value, Node):
            yield value
        elif isinstance(value, tuple):
            yield from (one for one in value if isinstance(one, Node))


def descendants(node: Node) -> Iterator[Node]:
    """The node and all within it, in no particular order."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(children(one))


def argument(call: Call, place: int, keyword: str = "") -> Node | None:
    """The argument at a place, or of a name; None where there is none, or where a spread argument hides it."""
    if keyword and keyword in call.keywords:
        return call.keywords[keyword]
    given = call.arguments[: place + 1]
    if len(given) <= place or any(isinstance(one, Spread) for one in given):
        return None
    return given[place]
