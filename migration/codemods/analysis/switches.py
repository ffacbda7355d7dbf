"""A processor's switch on `job.name`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .project import Project, open_parameters
from .scopes import Scope
from .values import Function

if TYPE_CHECKING:
    from .workers import JobName

#: More statements than these before a switch are not written into each handler.
_LONGEST_PROLOGUE = 3


@dataclass
class Branch:
    """One case: its job names, and the statements; `nodes` is where they are in the tree."""

    names: list[JobName]
    body: list[ast.stmt]


@dataclass
class Switch:
    """The cases of a processor, in order.

    Attributes:
        prologue: statements before it, the docstring not counted.
        default: what runs for any other name.
        is_clean: nothing is around or after it, so that each case can be a function of its own.
        has_default: other names are served, too.
    """

    branches: list[Branch] = field(default_factory=list)
    prologue: list[ast.stmt] = field(default_factory=list)
    default: list[ast.stmt] = field(default_factory=list)
    is_clean: bool = True

    @property
    def has_default(self) -> bool:
        return not all(_is_refusal(one) for one in self.default)


def find_switch(project: Project, processor: Function) -> Switch | None:
    """The switch of a processor, or None where it makes no difference between names."""
    function = processor.scope
    node = function.node
    parameters = open_parameters(processor)
    if not isinstance(node, ast.AsyncFunctionDef) or not parameters:
        return None
    reader = _Reader(project, function, parameters[0].arg)
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    for start, statement in enumerate(body):
        if reader.is_switch(statement):
            return reader.read(body[:start], body[start:])
    return reader.read_nested(body)


class _Reader:
    def __init__(self, project: Project, function: Scope, job: str) -> None:
        self._project = project
        self._function = function
        self._job = job

    def is_switch(self, statement: ast.stmt) -> bool:
        if isinstance(statement, ast.Match):
            return self._is_name(statement.subject)
        return isinstance(statement, ast.If) and self._names(statement.test) is not None

    def read(self, prologue: list[ast.stmt], rest: list[ast.stmt]) -> Switch | None:
        found = Switch(prologue=prologue, is_clean=len(prologue) <= _LONGEST_PROLOGUE)
        found.is_clean &= all(isinstance(one, (ast.Assign, ast.AnnAssign, ast.Expr)) for one in prologue)
        if isinstance(rest[0], ast.Match):
            return self._of_match(found, rest[0], rest[1:])
        return self._of_ifs(found, rest)

    def read_nested(self, body: list[ast.stmt]) -> Switch | None:
        """A switch within a `try` or `with`: its names count, but its cases can't stand alone."""
        for statement in body:
            for node in ast.walk(statement):
                if isinstance(node, (ast.If, ast.Match)) and self.is_switch(node):
                    found = self.read([], [node])
                    if found is not None:
                        found.is_clean = False
                        # What follows the cases may serve other names, too.
                        return found
        return self._of_table(body)

    def _of_match(self, found: Switch, match: ast.Match, after: list[ast.stmt]) -> Switch | None:
        found.is_clean &= not after
        for case in match.cases:
            names = self._pattern(case.pattern)
            if names is None or case.guard is not None:
                return None
            if not names:
                found.default = case.body
            else:
                found.branches.append(Branch(names, case.body))
        return found

    def _of_ifs(self, found: Switch, rest: list[ast.stmt]) -> Switch | None:
        while rest:
            statement, rest = rest[0], rest[1:]
            chain = self._chain(statement)
            if chain is None:
                found.default = [statement, *rest]
                break
            branches, default = chain
            found.branches += branches
            found.default = default
            if rest and (default or not all(_ends(one.body) for one in branches)):
                found.is_clean = False  # something comes after the cases
                break
        return found

    def _chain(self, statement: ast.stmt) -> tuple[list[Branch], list[ast.stmt]] | None:
        """The cases of an `if` with its `elif`s, and what is under its `else`."""
        branches: list[Branch] = []
        default = [statement]
        while len(default) == 1 and isinstance(default[0], ast.If):
            names = self._names(default[0].test)
            if names is None:
                break
            branches.append(Branch(names, default[0].body))
            default = default[0].orelse
        return (branches, default) if branches else None

    def _of_table(self, body: list[ast.stmt]) -> Switch | None:
        """`HANDLERS[job.name](job)`: the names are the dictionary's keys."""
        for node in (node for statement in body for node in ast.walk(statement)):
            table = self._table(node)
            holder = self._project.display(table, self._function) if table is not None else None
            if holder is None or not isinstance(holder.node, ast.Dict):
                continue
            names = [self._name_of(key, holder.scope) for key in holder.node.keys if key is not None]
            known = [name for name in names if name is not None]
            if len(known) == len(holder.node.keys):
                return Switch([Branch(known, [])], is_clean=False)
        return None

    def _table(self, node: ast.AST) -> ast.expr | None:
        match node:
            case ast.Subscript(value=table, slice=key) if self._is_name(key):
                return table
            case ast.Call(func=ast.Attribute(value=table, attr="get"), args=[key, *_]) if self._is_name(key):
                return table
        return None

    def _is_name(self, expr: ast.expr) -> bool:
        """Whether it is `job.name`, or a variable that is."""
        if isinstance(expr, ast.Name):
            bindings = self._function.find(expr.id)
            value = bindings[0].value if len(bindings) == 1 else None
            return value is not None and not isinstance(value, ast.Name) and self._is_name(value)
        return (
            isinstance(expr, ast.Attribute)
            and expr.attr == "name"
            and isinstance(expr.value, ast.Name)
            and expr.value.id == self._job
        )

    def _names(self, test: ast.expr) -> list[JobName] | None:
        """The names that a test compares `job.name` with."""
        if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or):
            parts = [self._names(part) for part in test.values]
            return None if None in parts else [name for part in parts for name in part or ()]
        if not isinstance(test, ast.Compare) or len(test.ops) != 1:
            return None
        left, right = test.left, test.comparators[0]
        if isinstance(test.ops[0], ast.In) and self._is_name(left):
            return self._all_named(right)
        if not isinstance(test.ops[0], ast.Eq):
            return None
        other = right if self._is_name(left) else left if self._is_name(right) else None
        name = self._name_of(other, self._function) if other is not None else None
        return None if name is None else [name]

    def _all_named(self, expr: ast.expr) -> list[JobName] | None:
        if isinstance(expr, ast.Set):
            elements, scope = expr.elts, self._function
        else:
            found = self._project.display(expr, self._function)
            if found is None or not isinstance(found.node, (ast.List, ast.Tuple)):
                return None
            elements, scope = found.node.elts, found.scope
        names = [self._name_of(one, scope) for one in elements]
        return None if None in names else [name for name in names if name is not None]

    def _pattern(self, pattern: ast.pattern) -> list[JobName] | None:
        """The names of a case; none for the last, that takes all."""
        match pattern:
            case ast.MatchValue():
                name = self._name_of(pattern.value, self._function)
                return None if name is None else [name]
            case ast.MatchOr():
                parts = [self._pattern(part) for part in pattern.patterns]
                return None if None in parts else [name for part in parts for name in part or ()]
            case ast.MatchAs(pattern=None):
                return []
        return None

    def _name_of(self, expr: ast.expr, scope: Scope) -> JobName | None:
        from .workers import JobName, _is_known_before

        text = self._project.text(expr, scope)
        if text is None:
            return None
        names = [node for node in ast.walk(expr) if isinstance(node, ast.Name)]
        known = bool(names) and all(_is_known_before(one, scope, self._function) for one in names)
        return JobName(text, scope.module.segment(expr) if known else "")


def _ends(body: list[ast.stmt]) -> bool:
    return isinstance(body[-1], (ast.Return, ast.Raise))


def _is_refusal(statement: ast.stmt) -> bool:
    """Whether a statement does no work for a job: it raises, returns nothing, or calls a logger."""
    match statement:
        case ast.Raise() | ast.Pass() | ast.Return(value=None) | ast.Return(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name))):
            return name in ("debug", "info", "warning", "error", "exception", "critical")
        case ast.Expr(value=ast.Call(func=ast.Name(id="print"))) | ast.Expr(value=ast.Constant()):
            return True
    return False


def iter_names(switch: Switch) -> Iterator[JobName]:
    """All names that a switch tells apart."""
    for branch in switch.branches:
        yield from branch.names
