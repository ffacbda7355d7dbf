"""What all rewrites share: the file that they work on, and how they are asked."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import libcst as cst
from libcst.metadata import CodeRange

from .analysis.findings import Finding, Level, Reason
from .analysis.plans import Plans
from .analysis.scopes import Module, Scope
from .analysis.values import Value

ExpressionT = TypeVar("ExpressionT", bound=cst.BaseExpression)
P = TypeVar("P")

#: The name of the service, which files import.
SERVICE = "managed_queue"


class File:
    """One file that is rewritten, and what is known of it.

    Attributes:
        needed: the names to import from xpert_mq.
        width: characters that a line may have.
    """

    def __init__(self, module: Module, plans: Plans, plugin_name: str, width: int = 88) -> None:
        self.module = module
        self.plans = plans
        self.project = plans.project
        self.plugin_name = plugin_name
        self.width = width
        self.needed: set[str] = set()
        self.findings: list[Finding] = []
        self.positions: Mapping[cst.CSTNode, CodeRange] = {}
        self._marks: dict[ast.stmt, list[Reason]] = {}
        self._functions = {
            (scope.name, node.lineno): scope
            for scopes in [_inner_scopes(module)]
            for scope in scopes
            if isinstance(node := scope.node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        }
        self._statements = {
            (node.lineno, node.col_offset): node for node in module.scope_of if isinstance(node, ast.stmt)
        }

    def node(self, original: cst.CSTNode) -> ast.expr | None:
        """The same expression as the analysis knows it."""
        place = self.positions.get(original)
        if place is None:
            return None
        kind = _SAME.get(type(original).__name__, type(original).__name__)
        start, end = self._bytes(place.start.line, place.start.column), self._bytes(place.end.line, place.end.column)
        return self.module.spans.get((kind, place.start.line, start, place.end.line, end))

    def planned(self, plans: Mapping[Any, P], original: cst.CSTNode) -> P | None:
        """What the analysis has planned for the expression; `plans` is by its nodes."""
        node = self.node(original)
        return None if node is None else plans.get(node)

    def statement(self, original: cst.CSTNode) -> ast.stmt | None:
        """The same statement as the analysis knows it."""
        place = self.positions.get(original)
        return None if place is None else self._statements.get((place.start.line, place.start.column))

    def scope(self, node: ast.AST) -> Scope:
        return self.module.scope_of[node]

    def definition(self, original: cst.FunctionDef | cst.ClassDef) -> Scope | None:
        """The scope that a definition makes."""
        return self._functions.get((original.name.value, self.positions[original.name].start.line))

    def value(self, original: cst.CSTNode) -> Value | None:
        """What an expression is worth."""
        node = self.node(original)
        return None if node is None else self.project.value(node, self.scope(node))

    def decide(self, reason: Reason, node: ast.AST) -> None:
        """A person must decide: marked at the statement, and reported."""
        marks = self._marks.setdefault(self._line(node), [])
        if reason not in marks:
            marks.append(reason)
            self.report("decide", reason, node)

    def _line(self, node: ast.AST) -> ast.stmt:
        """The statement that has a line of its own, above which a comment can stand."""
        statement = self.module.statement(node)
        same = [one for (line, _), one in self._statements.items() if line == statement.lineno]
        return min(same, key=lambda one: one.col_offset)

    def note(self, reason: Reason, node: ast.AST) -> None:
        """Reported alone."""
        self.report("note", reason, node)

    def report(self, level: Level, reason: Reason, node: ast.AST) -> None:
        finding = Finding.at(level, reason, self.module, node)
        if finding not in self.findings:
            self.findings.append(finding)

    def marks(self, statement: ast.stmt) -> list[Reason]:
        return self._marks.get(statement, [])

    def need(self, name: str) -> str:
        """The name, which is to be imported from xpert_mq."""
        self.needed.add(name)
        return name

    def service(self, verb: str) -> str:
        return f"{self.need(SERVICE)}.{verb}"

    def room(self, original: cst.CSTNode) -> int:
        """Characters that an expression may have in its place, on one line."""
        place = self.positions[original]
        behind = len(self.module.lines[place.end.line - 1].rstrip()) - place.end.column
        return self.width - place.start.column - behind

    def inset(self, original: cst.CSTNode) -> str:
        """What the line of an expression is indented by beyond its statement."""
        node = self.node(original)
        statement = self.module.statement(node) if node is not None else None
        outer = statement.col_offset if statement is not None else 0
        return " " * max(0, self._indent(original) - outer)

    def moved(self, part: cst.CSTNode, whole: cst.CSTNode) -> int:
        """By how many columns the lines within an argument move, if it gets a line of its own in its call."""
        return self._indent(whole) + 4 - self._indent(part)

    def _indent(self, original: cst.CSTNode) -> int:
        line = self.module.lines[self.positions[original].start.line - 1]
        return len(line) - len(line.lstrip())

    def _bytes(self, line: int, column: int) -> int:
        text = self.module.lines[line - 1] if line <= len(self.module.lines) else ""
        return column if text.isascii() else len(text[:column].encode())


_SAME = {
    "Dict": "Dict",
    "SimpleString": "Constant",
    "ConcatenatedString": "Constant",
    "BinaryOperation": "BinOp",
    "FormattedString": "JoinedStr",
}


def _inner_scopes(module: Module) -> list[Scope]:
    return list(dict.fromkeys(itertools.chain(module.scope_of.values(), _defined(module))))


def _defined(module: Module) -> list[Scope]:
    scopes = set(module.scope_of.values())
    bindings = [one for scope in scopes for many in scope.bindings.values() for one in many]
    return [one.scope for one in bindings if one.kind in ("def", "class")]


class Codemod:
    """One rewrite. Each method is asked about a node and what has become of it, and returns what is to become of it.

    The originals are for questions (`File.node`, `File.value`), the updated ones are to be changed: their children may
    have been rewritten already.
    """

    def __init__(self, file: File) -> None:
        self.file = file

    def call(self, original: cst.Call, updated: cst.BaseExpression) -> cst.BaseExpression:
        return updated

    def attribute(self, original: cst.Attribute, updated: cst.BaseExpression) -> cst.BaseExpression:
        return updated

    def name(self, original: cst.Name, updated: cst.BaseExpression) -> cst.BaseExpression:
        return updated

    def subscript(self, original: cst.Subscript, updated: cst.BaseExpression) -> cst.BaseExpression:
        return updated

    def awaited(self, original: cst.Await, updated: cst.BaseExpression) -> cst.BaseExpression:
        return updated

    def dictionary(self, original: cst.Dict, updated: cst.BaseExpression) -> cst.BaseExpression:
        return updated

    def text(self, original: cst.SimpleString, updated: cst.BaseExpression) -> cst.BaseExpression:
        return updated

    def annotation(self, original: cst.Annotation, updated: cst.Annotation) -> cst.Annotation:
        return updated

    def block(self, original: cst.IndentedBlock, updated: cst.IndentedBlock) -> cst.IndentedBlock:
        return updated

    def function(self, original: cst.FunctionDef, updated: cst.FunctionDef) -> list[cst.FunctionDef]:
        """What takes the function's place."""
        return [updated]

    def class_(self, original: cst.ClassDef, updated: cst.ClassDef) -> cst.ClassDef:
        return updated

    def statements(self, statement: ast.stmt) -> list[cst.BaseStatement]:
        """What is to stand before a statement."""
        return []

    def inspect(self) -> None:
        """Called once, before any of the nodes."""


CodemodType = Callable[[File], Codemod]
