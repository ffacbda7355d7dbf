"""Files as scopes: which names each module, class and function binds, and to what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
BindingKind = Literal["value", "item", "param", "import", "def", "class", "opaque"]


@dataclass(eq=False)
class Binding:
    """One place that gives a name its value.

    Attributes:
        kind: `value` and `item` have an expression: the value itself, or what is iterated over.
        scope: where that expression is to be read; of a definition its own scope.
        node: the binding statement, parameter or definition.
        value: the expression; of a parameter its default; None where there is none.
        target: of an import, `module` or `module:name`, with leading dots if relative.
    """

    kind: BindingKind
    scope: Scope
    node: ast.AST
    value: ast.expr | None = None
    target: str = ""


@dataclass(eq=False)
class Scope:
    """A module, class or function, and what it binds. A class also has what its methods assign to `self`."""

    kind: Literal["module", "class", "function"]
    name: str
    node: ast.AST
    parent: Scope | None
    module: Module
    bindings: dict[str, list[Binding]] = field(default_factory=dict)

    @property
    def function(self) -> Scope | None:
        """This function, or the one around it."""
        scope: Scope | None = self
        while scope is not None and scope.kind != "function":
            scope = scope.parent
        return scope

    @property
    def is_async(self) -> bool:
        """Whether code here runs in a coroutine."""
        function = self.function
        return function is not None and isinstance(function.node, ast.AsyncFunctionDef)

    @property
    def is_method(self) -> bool:
        return self.kind == "function" and self.parent is not None and self.parent.kind == "class"

    @property
    def parameters(self) -> list[ast.arg]:
        """All parameters of a function, in their order."""
        if not isinstance(self.node, FunctionNode):
            return []
        given = self.node.args
        return [*given.posonlyargs, *given.args, *given.kwonlyargs]

    def around(self) -> Iterator[Scope]:
        """This scope and those around it, as names are looked up: a class is seen only by its own body."""
        scope: Scope | None = self
        while scope is not None:
            if scope.kind != "class" or scope is self:
                yield scope
            scope = scope.parent

    def find(self, name: str) -> list[Binding]:
        """What the name is bound to here; nothing for builtins and names that are bound nowhere."""
        return next((scope.bindings[name] for scope in self.around() if name in scope.bindings), [])

    def bind(self, name: str, binding: Binding) -> None:
        self.bindings.setdefault(name, []).append(binding)


@dataclass(eq=False)
class Module:
    """A parsed file.

    Attributes:
        parts: its dotted name, split, from the folder that was given on the command line.
        scope_of, parent_of: by node; owner_of: a parameter's function.
        origins: what it imports, or imports from, with leading dots if relative.
    """

    path: Path
    parts: tuple[str, ...]
    text: str
    tree: ast.Module
    is_package: bool = False
    scope_of: dict[ast.AST, Scope] = field(default_factory=dict)
    parent_of: dict[ast.AST, ast.AST] = field(default_factory=dict)
    spans: dict[tuple[str, int, int, int, int], ast.expr] = field(default_factory=dict)
    returns: dict[Scope, list[ast.Return]] = field(default_factory=dict)
    origins: set[str] = field(default_factory=set)
    owner_of: dict[ast.arg, Scope] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scope = Scope("module", ".".join(self.parts), self.tree, None, self)
        self.lines = re.split(r"\r\n|\n|\r", self.text)
        _Reader(self).visit(self.tree)

    def segment(self, node: ast.AST) -> str:
        """The node's text."""
        return ast.get_source_segment(self.text, node) or ast.unparse(node)

    def statement(self, node: ast.AST) -> ast.stmt:
        """The innermost statement around a node."""
        while not isinstance(node, ast.stmt):
            node = self.parent_of[node]
        return node

    def parents(self, node: ast.AST) -> Iterator[ast.AST]:
        """What is around a node, from the inside."""
        while node in self.parent_of:
            node = self.parent_of[node]
            yield node


class _Reader(ast.NodeVisitor):
    """Fills a module's scopes."""

    def __init__(self, module: Module) -> None:
        self.module = module
        self.scope = module.scope
        self.elsewhere: dict[tuple[Scope, str], Scope] = {}

    def visit(self, node: ast.AST) -> None:
        self.module.scope_of[node] = self.scope
        if isinstance(node, ast.expr):
            span = (type(node).__name__, node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0)
            self.module.spans[span] = node
        for child in ast.iter_child_nodes(node):
            self.module.parent_of[child] = node
        super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._parameters(node, Scope("function", "<lambda>", node, self.scope, self.module))

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        inner = Scope("function", node.name, node, self.scope, self.module)
        self._bind(node.name, Binding("def", inner, node))
        for part in (*node.decorator_list, node.returns):
            if part is not None:
                self.visit(part)
        self._parameters(node, inner)

    def _parameters(self, node: FunctionNode, inner: Scope) -> None:
        self.visit(node.args)
        arguments = node.args
        defaults: list[ast.expr | None] = [*arguments.defaults]
        plain = [*arguments.posonlyargs, *arguments.args]
        defaults = [None] * (len(plain) - len(defaults)) + defaults + list(arguments.kw_defaults)
        for parameter, default in zip([*plain, *arguments.kwonlyargs], defaults, strict=True):
            inner.bind(parameter.arg, Binding("param", self.scope, parameter, default))
            self.module.owner_of[parameter] = inner
        for rest in (arguments.vararg, arguments.kwarg):
            if rest is not None:
                inner.bind(rest.arg, Binding("opaque", inner, rest))
        self._within(inner, node.body if isinstance(node.body, list) else [node.body])

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        inner = Scope("class", node.name, node, self.scope, self.module)
        self._bind(node.name, Binding("class", inner, node))
        for part in (*node.decorator_list, *node.bases, *node.keywords):
            self.visit(part)
        self._within(inner, node.body)

    def _within(self, inner: Scope, body: list[ast.stmt] | list[ast.expr]) -> None:
        outer, self.scope = self.scope, inner
        for part in body:
            self.visit(part)
        self.scope = outer

    def visit_Return(self, node: ast.Return) -> None:
        self.module.returns.setdefault(self.scope, []).append(node)
        self.generic_visit(node)

    def visit_Global(self, node: ast.Global) -> None:
        for name in node.names:
            self.elsewhere[self.scope, name] = self.module.scope

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        for name in node.names:
            for scope in list(self.scope.around())[1:]:
                if name in scope.bindings:
                    self.elsewhere[self.scope, name] = scope
                    break

    def visit_Import(self, node: ast.Import) -> None:
        self.module.origins.update(alias.name for alias in node.names)
        for alias in node.names:
            target = alias.name if alias.asname else alias.name.partition(".")[0]
            self._bind(alias.asname or target, Binding("import", self.scope, node, target=target))

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        origin = "." * node.level + (node.module or "")
        between = "" if origin.endswith(".") else "."
        self.module.origins.update((origin, *(f"{origin}{between}{alias.name}" for alias in node.names)))
        for alias in node.names:
            self._bind(alias.asname or alias.name, Binding("import", self.scope, node, target=f"{origin}:{alias.name}"))

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assign(target, node.value, node)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._assign(node.target, node.value, node)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._assign(node.target, node.value, node)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._opaque(node.target, node)
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._item(node.target, node.iter, node)
        self.generic_visit(node)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._opaque(node.target, node)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._item(node.target, node.iter, node)
        self.generic_visit(node)

    def visit_withitem(self, node: ast.withitem) -> None:
        if node.optional_vars is not None:
            self._opaque(node.optional_vars, node)
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name, Binding("opaque", self.scope, node))
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self._bind(node.name, Binding("opaque", self.scope, node))
        self.generic_visit(node)

    def _assign(self, target: ast.expr, value: ast.expr | None, node: ast.AST) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            same = isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts)
            for index, part in enumerate(target.elts):
                if same and isinstance(value, (ast.Tuple, ast.List)):
                    self._assign(part, value.elts[index], node)
                else:
                    self._opaque(part, node)
        else:
            self._bind_target(target, Binding("value", self.scope, node, value))

    def _item(self, target: ast.expr, value: ast.expr, node: ast.AST) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            self._opaque(target, node)
        else:
            self._bind_target(target, Binding("item", self.scope, node, value))

    def _opaque(self, target: ast.expr, node: ast.AST) -> None:
        for part in target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]:
            self._bind_target(part, Binding("opaque", self.scope, node))

    def _bind_target(self, target: ast.expr, binding: Binding) -> None:
        if isinstance(target, ast.Name):
            self._bind(target.id, binding)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            owner = self._owner(target.value.id)
            if owner is not None:
                owner.bind(target.attr, binding)

    def _owner(self, name: str) -> Scope | None:
        """The class whose method has `name` as its first parameter."""
        for scope in self.scope.around():
            if scope.is_method and scope.parameters and scope.parameters[0].arg == name:
                return scope.parent
        return None

    def _bind(self, name: str, binding: Binding) -> None:
        scope = self.elsewhere.get((self.scope, name), self.scope)
        scope.bind(name, binding)
