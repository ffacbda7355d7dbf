"""Where an object of bullmq is used, and whether those places can go with it."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Literal

from .project import Project
from .scopes import Scope
from .values import ClassValue, Function, Site, Thing

#: `bound`: given a name; `closed`: closed, or run; `passed`: given to a function of the tree; `element`: of a list;
#: `other`: anything that needs the object.
UseKind = Literal["bound", "closed", "passed", "returned", "element", "guard", "method", "other"]

_ENDED = {"queue": ("close",), "worker": ("close", "run")}
_LOGGING = ("debug", "info", "warning", "error", "exception", "critical", "log", "print")


@dataclass(frozen=True)
class Use:
    """A place where an object is used; `method` names what is called on it."""

    kind: UseKind
    node: ast.expr
    scope: Scope
    method: str = ""


class Uses:
    """All uses of all queues and workers of a tree."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._found: dict[Site, list[Use]] = {}
        for node, scope in project.nodes(ast.Name, ast.Attribute, ast.Call):
            assert isinstance(node, ast.expr)
            if isinstance(getattr(node, "ctx", None), ast.Store):
                continue
            value = project.value(node, scope)
            if isinstance(value, Thing):
                self._found.setdefault(value.site, []).append(self._use(node, scope, value.site))

    def of(self, site: Site) -> list[Use]:
        return self._found.get(site, [])

    def _use(self, node: ast.expr, scope: Scope, site: Site) -> Use:
        module = scope.module
        around = module.parent_of[node]
        if isinstance(around, ast.Attribute):
            return self._method(around, node, scope, site)
        if isinstance(around, (ast.Assign, ast.AnnAssign)) and around.value is node:
            return Use("bound" if self._binds(around, scope, site) else "other", node, scope)
        if isinstance(around, ast.arguments):
            return Use("passed", node, scope)
        if isinstance(around, ast.Return):
            return Use("returned", node, scope)
        if isinstance(around, (ast.List, ast.Tuple)):
            return Use("element", node, scope)
        if isinstance(around, (ast.Call, ast.keyword)):
            return Use(self._argument(node, around, scope), node, scope)
        if self._guards(node, scope, site):
            return Use("guard", node, scope)
        if isinstance(around, ast.Expr) and node is site.call:
            return Use("bound", node, scope)
        return Use("other", node, scope)

    def _binds(self, statement: ast.Assign | ast.AnnAssign, scope: Scope, site: Site) -> bool:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return all(self._is(target, scope, site) for target in targets)

    def _method(self, around: ast.Attribute, node: ast.expr, scope: Scope, site: Site) -> Use:
        call = scope.module.parent_of[around]
        if not isinstance(call, ast.Call) or call.func is not around:
            return Use("method", node, scope, around.attr)
        ends = around.attr in _ENDED.get(site.kind, ()) or (around.attr == "on" and self._only_logs(call, scope))
        can_go = is_statement(call, scope) or is_element(call, scope)
        return Use("closed" if ends and can_go else "method", node, scope, around.attr)

    def _argument(self, node: ast.expr, around: ast.AST, scope: Scope) -> UseKind:
        call = scope.module.parent_of[around] if isinstance(around, ast.keyword) else around
        if not isinstance(call, ast.Call):
            return "other"
        if isinstance(call.func, ast.Attribute) and call.func.attr == "append" and is_statement(call, scope):
            return "element"
        callee = self._project.value(call.func, scope)
        if self._project.external(call.func, scope) == "bullmq.Job.fromId":
            return "method"
        function = self._constructor(callee) if isinstance(callee, ClassValue) else callee
        if not isinstance(function, Function) or function.partial:
            return "other"
        for parameter in function.scope.parameters:
            if self._project.argument(call, function.scope, parameter.arg) is node:
                return "passed" if self._project.value(_name(parameter), function.scope) is not None else "other"
        return "other"

    def _constructor(self, value: ClassValue) -> Function | None:
        found = self._project.attribute(value.scope, "__init__")
        return Function(found[0].scope) if found and found[0].kind == "def" else None

    def _guards(self, node: ast.expr, scope: Scope, site: Site) -> bool:
        """Whether it is the test of an `if` that does nothing but make or close the object."""
        for around in scope.module.parents(node):
            if isinstance(around, ast.If):
                parts = [[inner for inner in ast.walk(one) if isinstance(inner, ast.expr)] for one in around.body]
                return not around.orelse and all(any(self._is(inner, scope, site) for inner in part) for part in parts)
            if not isinstance(around, (ast.BoolOp, ast.UnaryOp, ast.Compare)):
                return False
        return False

    def _is(self, node: ast.expr, scope: Scope, site: Site) -> bool:
        return self._project.value(node, scope) == Thing(site)

    def _only_logs(self, call: ast.Call, scope: Scope) -> bool:
        """Whether a listener does nothing but log: the platform does that itself."""
        listener = call.args[1] if len(call.args) == 2 else None
        value = self._project.value(listener, scope)
        body: list[ast.AST] = []
        if isinstance(listener, ast.Lambda):
            body = [listener.body]
        elif isinstance(value, Function) and isinstance(value.scope.node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = [one.value if isinstance(one, ast.Expr) else one for one in value.scope.node.body]
            body = [one for one in body if not isinstance(one, (ast.Constant, ast.Pass))]
        elif isinstance(listener, ast.Name):
            return listener.id == "print"
        return bool(body) and all(isinstance(one, ast.Call) and _last_name(one.func) in _LOGGING for one in body)


def is_statement(node: ast.expr, scope: Scope) -> bool:
    """Whether the expression, awaited or in a task, is a statement of its own."""
    return isinstance(awaited(node, scope), ast.Expr)


def is_element(node: ast.expr, scope: Scope) -> bool:
    """Whether it is one of several that are gathered."""
    around = awaited(node, scope)
    if isinstance(around, (ast.List, ast.Tuple)):
        return True
    return isinstance(around, ast.Call) and _last_name(around.func) == "gather"


def awaited(node: ast.expr, scope: Scope) -> ast.AST:
    """What is around an expression, without `await`, `asyncio.run` and `create_task`."""
    around = scope.module.parent_of[node]
    while isinstance(around, ast.Await) or (isinstance(around, ast.Call) and _is_runner(around)):
        around = scope.module.parent_of[around]
    return around


def _is_runner(call: ast.Call) -> bool:
    return (
        _last_name(call.func) in ("run", "create_task", "ensure_future", "run_until_complete") and len(call.args) == 1
    )


def _last_name(func: ast.expr) -> str:
    return func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")


def _name(parameter: ast.arg) -> ast.Name:
    return ast.Name(id=parameter.arg, ctx=ast.Load())
