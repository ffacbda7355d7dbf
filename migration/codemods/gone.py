"""Queues and workers that nothing needs any more go: with their names, imports, parameters and `close()`."""

# ruff: noqa: N802 - libcst names its methods after nodes

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

import libcst as cst

from .analysis.plans import Plans
from .analysis.scopes import Scope
from .analysis.uses import Uses, awaited
from .analysis.values import ClassValue, Function, Method, Site, Thing
from .codemod import File
from .spacing import Spacing

_CAN_GO = ("bound", "closed", "passed", "guard")


class Gone:
    """What goes, in a tree whose calls have been rewritten already.

    Args:
        candidates: sites that may go, if nothing else needs them.
    """

    def __init__(self, plans: Plans, candidates: Sequence[Site]) -> None:
        self.project = plans.project
        self._uses: Uses = plans.uses
        self.sites = {site for site in candidates if self._can_go(site)}
        self.functions = set(self._factories())

    def _can_go(self, site: Site) -> bool:
        return all(self._use_can_go(use.kind, use.scope, site) for use in self._uses.of(site))

    def _use_can_go(self, kind: str, scope: Scope, site: Site) -> bool:
        if kind == "returned":
            return scope.function is not None and self._is_factory(scope.function, {site})
        return kind in _CAN_GO or (kind == "element" and site.kind == "worker")

    def _factories(self) -> Iterator[Scope]:
        """Functions that do nothing but give an object that goes."""
        for module in self.project.modules:
            for scope in {one.function for one in module.scope_of.values()}:
                if scope is not None and self._is_factory(scope, self.sites):
                    yield scope

    def _is_factory(self, scope: Scope, sites: set[Site]) -> bool:
        node = scope.node
        value = self.project.returned(scope)
        if isinstance(node, ast.Lambda) or not isinstance(value, Thing) or value.site not in sites:
            return False
        body = getattr(node, "body", [])
        body = body[1:] if ast.get_docstring(node) is not None else body  # type: ignore[arg-type]
        return all(self._only_gives(one, scope, sites) for one in body) and self._is_only_called(scope)

    def _is_only_called(self, function: Scope) -> bool:
        """Whether no name of the function is anything but the beginning of a call, or given to FastAPI's `Depends`."""
        for node, scope in self.project.nodes(ast.Name, ast.Attribute):
            assert isinstance(node, ast.expr)
            if self.project.value(node, scope) != Function(function):
                continue
            call = scope.module.parent_of[node]
            if not isinstance(call, ast.Call):
                return False
            if call.func is not node and not (self.project.external(call.func, scope) or "").endswith(".Depends"):
                return False
        return True

    def _only_gives(self, statement: ast.stmt, scope: Scope, sites: set[Site]) -> bool:
        if isinstance(statement, ast.If):
            return not statement.orelse and all(self._only_gives(one, scope, sites) for one in statement.body)
        if isinstance(statement, (ast.Global, ast.Nonlocal)):
            return True
        given = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Return)) else None
        value = self.project.value(given, scope)
        return isinstance(value, Thing) and value.site in sites

    def has(self, node: ast.AST | None, scope: Scope) -> bool:
        """Whether an expression is an object that goes."""
        if not isinstance(node, ast.expr):
            return False
        value = self.project.value(node, scope)
        return isinstance(value, Thing) and value.site in self.sites

    def is_ending(self, node: ast.expr, scope: Scope) -> bool:
        """Whether a call closes such an object, or starts, or listens to it."""
        while isinstance(node, ast.Await) or (isinstance(node, ast.Call) and not self._is_method(node, scope)):
            inner = node.value if isinstance(node, ast.Await) else (node.args[0] if len(node.args) == 1 else None)
            if inner is None:
                return False
            node = inner
        return isinstance(node, ast.Call)

    def _is_method(self, call: ast.Call, scope: Scope) -> bool:
        method = self.project.value(call.func, scope)
        return isinstance(method, Method) and method.site in self.sites


class Removal(Spacing):
    """Takes what goes out of one file."""

    def __init__(self, file: File, gone: Gone) -> None:
        super().__init__()
        self._file = file
        self._gone = gone
        self._project = file.project

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.RemovalSentinel:
        statement = self._file.statement(original_node)
        if statement is None or not self._goes(statement):
            return updated_node if updated_node.body else self.removed(original_node)
        return self.removed(original_node)

    def _goes(self, statement: ast.stmt) -> bool:
        scope = self._file.scope(statement)
        match statement:
            case ast.Assign(targets=[target]) | ast.AnnAssign(target=target):
                return self._gone.has(target, scope) or self._gone.has(statement.value, scope)
            case ast.Expr(value=value):
                return self._ends(value, scope)
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                return all(self._gone.has(ast.Name(id=name, ctx=ast.Load()), scope) for name in names)
        return False

    def _ends(self, value: ast.expr, scope: Scope) -> bool:
        if self._gone.has(value, scope) or self._gone.is_ending(value, scope):
            return True
        call = value.value if isinstance(value, ast.Await) else value
        if not isinstance(call, ast.Call) or not call.args:
            return False
        gathers = isinstance(call.func, ast.Attribute) and call.func.attr in ("gather", "append")
        return gathers and all(self._gone.has(one, scope) or self._gone.is_ending(one, scope) for one in call.args)

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        node = self._file.node(original_node)
        if not isinstance(node, ast.Call):
            return updated_node
        scope = self._file.scope(node)
        gathers = isinstance(node.func, ast.Attribute) and node.func.attr == "gather"
        callee = self._project.value(node.func, scope)
        given = [*node.args, *(one.value for one in node.keywords)]
        if (not gathers and not isinstance(callee, (Function, ClassValue))) or len(given) != len(updated_node.args):
            return updated_node
        by_place = {id(one.value): one for one in original_node.args}
        kept = [
            new
            for old, new in zip(original_node.args, updated_node.args, strict=True)
            if not self._leaves(self._file.node(by_place[id(old.value)].value), scope, gathers)
        ]
        return _without_last_comma(updated_node, kept) if len(kept) < len(updated_node.args) else updated_node

    def _leaves(self, node: ast.expr | None, scope: Scope, gathers: bool) -> bool:
        return self._gone.has(node, scope) or (gathers and node is not None and self._gone.is_ending(node, scope))

    def leave_List(self, original_node: cst.List, updated_node: cst.List) -> cst.List:
        kept = [
            new
            for old, new in zip(original_node.elements, updated_node.elements, strict=True)
            if not self._is_gone_node(old.value)
        ]
        return updated_node.with_changes(elements=kept) if len(kept) < len(updated_node.elements) else updated_node

    def _is_gone_node(self, original: cst.CSTNode) -> bool:
        node = self._file.node(original)
        return node is not None and self._gone.has(node, self._file.scope(node))

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> cst.If | cst.RemovalSentinel:
        empty = isinstance(updated_node.body, cst.IndentedBlock) and not updated_node.body.body
        return self.removed(original_node) if empty and updated_node.orelse is None else updated_node

    def leave_Try(
        self, original_node: cst.Try, updated_node: cst.Try
    ) -> cst.Try | cst.FlattenSentinel[cst.BaseStatement]:
        """A `finally` that only closed what goes."""
        ending = updated_node.finalbody
        if ending is None or not isinstance(ending.body, cst.IndentedBlock) or ending.body.body:
            return updated_node
        if updated_node.handlers:
            return updated_node.with_changes(finalbody=None)
        body = updated_node.body
        assert isinstance(body, cst.IndentedBlock)
        lines = [one for one in body.body if isinstance(one, cst.BaseStatement)]
        if lines:
            above = [*updated_node.leading_lines, *getattr(lines[0], "leading_lines", [])]
            lines[0] = lines[0].with_changes(leading_lines=above)
        return cst.FlattenSentinel(lines)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef | cst.RemovalSentinel:
        scope = self._file.definition(original_node)
        if scope is None:
            return updated_node
        if scope in self._gone.functions:
            return self.removed(original_node)
        parameters = updated_node.params
        plain = [one for one in parameters.params if not self._is_gone_parameter(one, scope)]
        named = [one for one in parameters.kwonly_params if not self._is_gone_parameter(one, scope)]
        if len(plain) == len(parameters.params) and len(named) == len(parameters.kwonly_params):
            return updated_node
        star = parameters.star_arg
        if isinstance(star, cst.ParamStar) and not named:
            star = cst.MaybeSentinel.DEFAULT
        changed = parameters.with_changes(params=plain, kwonly_params=named, star_arg=star)
        return updated_node.with_changes(params=_closed(changed))

    def _is_gone_parameter(self, parameter: cst.Param, scope: Scope) -> bool:
        return self._gone.has(ast.Name(id=parameter.name.value, ctx=ast.Load()), scope)

    def leave_ImportFrom(
        self, original_node: cst.ImportFrom, updated_node: cst.ImportFrom
    ) -> cst.ImportFrom | cst.RemovalSentinel:
        if isinstance(updated_node.names, cst.ImportStar):
            return updated_node
        kept = [one for one in updated_node.names if not self._is_gone_import(one, original_node)]
        if not kept:
            return cst.RemoveFromParent()
        return without_comma(updated_node, kept) if len(kept) < len(updated_node.names) else updated_node

    def _is_gone_import(self, alias: cst.ImportAlias, original: cst.ImportFrom) -> bool:
        name = alias.evaluated_alias or alias.evaluated_name
        scope = self._scope_of(original)
        value = self._project.value(ast.Name(id=name, ctx=ast.Load()), scope)
        is_factory = isinstance(value, Function) and value.scope in self._gone.functions
        return is_factory or (isinstance(value, Thing) and value.site in self._gone.sites)

    def _scope_of(self, original: cst.ImportFrom) -> Scope:
        line = self._file.positions[original].start
        for statement, scope in self._file.module.scope_of.items():
            if isinstance(statement, ast.ImportFrom) and statement.lineno == line.line:
                return scope
        return self._file.module.scope

    def leave_Assign(self, original_node: cst.Assign, updated_node: cst.Assign) -> cst.Assign:
        """`__all__` without what goes."""
        target = original_node.targets[0].target
        if not isinstance(target, cst.Name) or target.value != "__all__":
            return updated_node
        value = updated_node.value
        if not isinstance(value, (cst.List, cst.Tuple)):
            return updated_node
        kept = [one for one in value.elements if not self._is_gone_name(one.value)]
        return updated_node.with_changes(value=value.with_changes(elements=kept))

    def _is_gone_name(self, node: cst.BaseExpression) -> bool:
        if not isinstance(node, cst.SimpleString):
            return False
        value = self._project.value(ast.Name(id=str(node.evaluated_value), ctx=ast.Load()), self._file.module.scope)
        return isinstance(value, Thing) and value.site in self._gone.sites


def _without_last_comma(call: cst.Call, kept: list[cst.Arg]) -> cst.Call:
    on_lines = isinstance(call.whitespace_before_args, cst.ParenthesizedWhitespace)
    if kept and call.args[-1] is not kept[-1]:
        comma = call.args[-1].comma if on_lines else cst.MaybeSentinel.DEFAULT
        kept = [*kept[:-1], kept[-1].with_changes(comma=comma)]
    return call.with_changes(
        args=kept, whitespace_before_args=call.whitespace_before_args if kept else cst.SimpleWhitespace("")
    )


def without_comma(statement: cst.ImportFrom, kept: list[cst.ImportAlias]) -> cst.ImportFrom:
    """The import of these names; the last has the comma that the last one had."""
    assert not isinstance(statement.names, cst.ImportStar)
    last = kept[-1].with_changes(comma=statement.names[-1].comma)
    return statement.with_changes(names=[*kept[:-1], last])


def _closed(parameters: cst.Parameters) -> cst.Parameters:
    """Without a comma behind the last parameter, where they stand on one line."""
    plain = list(parameters.params)
    if plain and not parameters.kwonly_params and isinstance(parameters.star_arg, cst.MaybeSentinel):
        comma = plain[-1].comma
        on_lines = isinstance(comma, cst.Comma) and isinstance(comma.whitespace_after, cst.ParenthesizedWhitespace)
        if not on_lines:
            plain[-1] = plain[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return parameters.with_changes(params=plain)


__all__ = ["Gone", "Removal", "awaited", "without_comma"]
