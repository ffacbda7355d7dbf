"""Python's own parser, into the tree of `syntax`."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from collections.abc import Sequence as Several
from typing import Any

from .syntax import (
    Assign,
    Binary,
    Call,
    Choice,
    Class,
    Constant,
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
    Sequence,
    Spread,
    Text,
    UnparsableError,
)

_OPERATORS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.In: "in",
    ast.BitOr: "|",
}


def parse_python(text: str) -> Group:
    """The tree of a module.

    Raises:
        UnparsableError: the text is no Python of this interpreter's version.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes and comparisons in code that is not ours
            tree = ast.parse(text)
        return _Reader(text).module(tree)
    except SyntaxError as error:
        raise UnparsableError(error.msg, error.lineno) from error
    except (RecursionError, MemoryError) as error:
        raise UnparsableError("nested too deeply") from error
    except ValueError as error:
        raise UnparsableError(str(error)) from error


class _Reader:
    def __init__(self, text: str) -> None:
        self._starts = [0]
        for line in text.encode().split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)

    def module(self, tree: ast.Module) -> Group:
        return Group(0, self._starts[-1], self.all(tree.body))

    def all(self, nodes: Several[ast.AST | None]) -> list[Node]:
        return [self.one(node) for node in nodes if node is not None]

    def maybe(self, node: ast.AST | None) -> Node | None:
        return None if node is None else self.one(node)

    def one(self, node: ast.AST) -> Node:
        read = _READERS.get(type(node))
        start, end = self._span(node)
        if read is not None:
            return read(self, node, start, end)
        return Group(start, end, self.all(list(ast.iter_child_nodes(node))))

    def _span(self, node: Any) -> tuple[int, int]:
        line = getattr(node, "lineno", None)
        if line is None:
            return 0, 0
        last = len(self._starts) - 1  # a part of an f-string may stand elsewhere before Python 3.12
        first, end = min(line - 1, last), min(node.end_lineno - 1, last)
        return self._starts[first] + node.col_offset, self._starts[end] + node.end_col_offset


def _constant(_: _Reader, node: Any, start: int, end: int) -> Node:
    known = isinstance(node.value, str | int | float) or node.value is None
    return Constant(start, end, node.value) if known else Group(start, end, [])


def _name(_: _Reader, node: Any, start: int, end: int) -> Node:
    return Name(start, end, node.id)


def _member(reader: _Reader, node: Any, start: int, end: int) -> Node:
    return Member(start, end, reader.one(node.value), node.attr)


def _item(reader: _Reader, node: Any, start: int, end: int) -> Node:
    return Item(start, end, reader.one(node.value), reader.one(node.slice))


def _inner(reader: _Reader, node: Any, _start: int, _end: int) -> Node:
    return reader.one(node.value)


def _spread(reader: _Reader, node: Any, start: int, end: int) -> Node:
    return Spread(start, end, reader.one(node.value))


def _call(reader: _Reader, node: Any, start: int, end: int) -> Node:
    arguments = reader.all(node.args)
    keywords = {one.arg: reader.one(one.value) for one in node.keywords if one.arg}
    arguments += [Spread(start, end, reader.one(one.value)) for one in node.keywords if not one.arg]
    return Call(start, end, reader.one(node.func), arguments, keywords)


def _text(reader: _Reader, node: Any, start: int, end: int) -> Node:
    return Text(start, end, reader.all(node.values))


def _mapping(reader: _Reader, node: Any, start: int, end: int) -> Node:
    pairs = zip(node.keys, node.values, strict=True)
    return Mapping(start, end, [(reader.maybe(key), reader.one(value)) for key, value in pairs])


def _sequence(reader: _Reader, node: Any, start: int, end: int) -> Node:
    return Sequence(start, end, reader.all(node.elts))


def _comprehension(reader: _Reader, node: Any, start: int, end: int) -> Node:
    loops = [part for one in node.generators for part in (_loop(reader, one), *reader.all(one.ifs))]
    return Sequence(start, end, [reader.one(node.elt)], loops)


def _loop(reader: _Reader, node: Any) -> Node:
    over = reader.one(node.iter)
    return _assigned(reader, node.target, Item(over.start, over.end, over, None), over.start, over.end)


def _binary(reader: _Reader, node: Any, start: int, end: int) -> Node:
    if isinstance(node.op, ast.BitOr):  # of types, as far as it matters here
        return Choice(start, end, [reader.one(node.left), reader.one(node.right)])
    return Binary(start, end, _OPERATORS.get(type(node.op), "?"), reader.one(node.left), reader.one(node.right))


def _compare(reader: _Reader, node: Any, start: int, end: int) -> Node:
    if len(node.ops) > 1:
        return Group(start, end, reader.all([node.left, *node.comparators]))
    operator = _OPERATORS.get(type(node.ops[0]), "?")
    return Binary(start, end, operator, reader.one(node.left), reader.one(node.comparators[0]))


def _either(reader: _Reader, node: Any, start: int, end: int) -> Node:
    values = node.values[-1:] if isinstance(node.op, ast.And) else node.values
    tested = node.values[:-1] if isinstance(node.op, ast.And) else []
    return Choice(start, end, reader.all(values), reader.all(tested))


def _conditional(reader: _Reader, node: Any, start: int, end: int) -> Node:
    return Choice(start, end, reader.all([node.body, node.orelse]), [reader.one(node.test)])


def _negative(reader: _Reader, node: Any, start: int, end: int) -> Node:
    inner = reader.one(node.operand)
    number = isinstance(inner, Constant) and isinstance(inner.value, int | float) and not isinstance(inner.value, bool)
    if number and isinstance(node.op, ast.USub):
        return Constant(start, end, -inner.value)  # type: ignore[attr-defined]
    return Group(start, end, [inner])


def _function(reader: _Reader, node: Any, start: int, end: int) -> Node:
    parameters, returns = _parameters(reader, node.args), _annotation(reader, node.returns)
    decorators = reader.all(node.decorator_list)
    return Function(start, end, node.name, parameters, reader.all(node.body), decorators, returns)


def _lambda(reader: _Reader, node: Any, start: int, end: int) -> Node:
    body: list[Node] = [Return(start, end, reader.one(node.body))]
    return Function(start, end, "", _parameters(reader, node.args), body)


def _parameters(reader: _Reader, arguments: ast.arguments) -> list[Parameter]:
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults))
    defaults += arguments.defaults
    named = list(zip(plain, defaults, strict=True)) + list(
        zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    )
    named += [(one, None) for one in (arguments.vararg, arguments.kwarg) if one]
    return [
        Parameter(*reader._span(one), one.arg, _annotation(reader, one.annotation), reader.maybe(default))
        for one, default in named
    ]


def _annotation(reader: _Reader, node: ast.expr | None) -> Node | None:
    """A type, also where it is written as a text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            written = ast.parse(node.value, mode="eval").body
        except (SyntaxError, ValueError, RecursionError):
            return None
        for one in ast.walk(written):  # its positions are those of another text
            ast.copy_location(one, node)
        return reader.one(written)
    return reader.maybe(node)


def _class(reader: _Reader, node: Any, start: int, end: int) -> Node:
    return Class(start, end, node.name, reader.all(node.bases), reader.all(node.body), reader.all(node.decorator_list))


def _assign(reader: _Reader, node: Any, start: int, end: int) -> Node:
    value = reader.one(node.value)
    made = [_assigned(reader, target, value, start, end) for target in node.targets]
    return made[0] if len(made) == 1 else Group(start, end, made)


def _assigned(reader: _Reader, target: Any, value: Node, start: int, end: int) -> Node:
    if not isinstance(target, ast.Tuple | ast.List):
        return Assign(start, end, reader.one(target), value)
    parts: list[Node] = []
    for place, one in enumerate(target.elts):
        known = isinstance(value, Sequence) and len(value.items) == len(target.elts)
        part = value.items[place] if known else Group(start, end, [])  # type: ignore[attr-defined]
        parts.append(_assigned(reader, one, part, start, end))
    return Group(start, end, parts if isinstance(value, Sequence) else [value, *parts])


def _declared(reader: _Reader, node: Any, start: int, end: int) -> Node:
    return Assign(start, end, reader.one(node.target), reader.maybe(node.value), _annotation(reader, node.annotation))


def _walrus(reader: _Reader, node: Any, start: int, end: int) -> Node:
    value = reader.one(node.value)
    return Choice(start, end, [value], [Assign(start, end, reader.one(node.target), value)])


def _for(reader: _Reader, node: Any, start: int, end: int) -> Node:
    return Group(start, end, [_loop(reader, node), *reader.all(node.body), *reader.all(node.orelse)])


def _with(reader: _Reader, node: Any, start: int, end: int) -> Node:
    opened: list[Node] = []
    for one in node.items:
        value = reader.one(one.context_expr)
        opened.append(value if one.optional_vars is None else _assigned(reader, one.optional_vars, value, start, end))
    return Group(start, end, [*opened, *reader.all(node.body)])


def _import(_: _Reader, node: Any, start: int, end: int) -> Node:
    # `import a.b` binds a, `import a.b as c` binds a.b.
    return Group(
        start,
        end,
        [
            Import(start, end, one.name, {one.asname: ""} if one.asname else {one.name.split(".")[0]: "."})
            for one in node.names
        ],
    )


def _import_from(_: _Reader, node: Any, start: int, end: int) -> Node:
    module = "." * node.level + (node.module or "")
    return Import(start, end, module, {one.asname or one.name: one.name for one in node.names})


def _return(reader: _Reader, node: Any, start: int, end: int) -> Node:
    return Return(start, end, reader.maybe(node.value))


def _match(reader: _Reader, node: Any, start: int, end: int) -> Node:
    cases = [value for one in node.cases for value in _case_values(reader, one.pattern)]
    body = [part for one in node.cases for part in reader.all([one.guard, *one.body])]
    return Match(start, end, reader.one(node.subject), cases, body)


def _case_values(reader: _Reader, pattern: Any) -> list[Node]:
    if isinstance(pattern, ast.MatchOr):
        return [value for one in pattern.patterns for value in _case_values(reader, one)]
    return [reader.one(pattern.value)] if isinstance(pattern, ast.MatchValue) else []


_READERS: dict[type[ast.AST], Callable[[_Reader, Any, int, int], Node]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _member,
    ast.Subscript: _item,
    ast.Await: _inner,
    ast.Expr: _inner,
    ast.FormattedValue: _inner,
    ast.Starred: _spread,
    ast.Call: _call,
    ast.JoinedStr: _text,
    ast.Dict: _mapping,
    ast.List: _sequence,
    ast.Tuple: _sequence,
    ast.Set: _sequence,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.BinOp: _binary,
    ast.Compare: _compare,
    ast.BoolOp: _either,
    ast.IfExp: _conditional,
    ast.UnaryOp: _negative,
    ast.FunctionDef: _function,
    ast.AsyncFunctionDef: _function,
    ast.Lambda: _lambda,
    ast.ClassDef: _class,
    ast.Assign: _assign,
    ast.AnnAssign: _declared,
    ast.NamedExpr: _walrus,
    ast.For: _for,
    ast.AsyncFor: _for,
    ast.With: _with,
    ast.AsyncWith: _with,
    ast.Import: _import,
    ast.ImportFrom: _import_from,
    ast.Return: _return,
    ast.Match: _match,
}
