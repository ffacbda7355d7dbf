"""`asyncio.run(queue.add(...))` and its like become a call that needs no event loop: `managed_queue.enqueue(...)`."""

from __future__ import annotations

import ast

import libcst as cst

from .analysis.project import RUNNERS
from .codemod import Codemod


class SyncCalls(Codemod):
    """Calls of the service that are run to their end by a loop of their own."""

    def call(self, original: cst.Call, updated: cst.BaseExpression) -> cst.BaseExpression:
        node = self.file.node(original)
        if not isinstance(node, ast.Call) or not isinstance(updated, cst.Call) or len(node.args) != 1:
            return updated
        if not self._runs(node) or not self.file.plans.is_rewritten(node.args[0]):
            return updated
        inner = updated.args[0].value
        is_removal = self.file.plans.is_removal(node.args[0])
        if not isinstance(inner, cst.Call) or not isinstance(inner.func, cst.Attribute):
            return updated
        verb = inner.func.attr.value.removeprefix("a")
        plain = inner.with_changes(func=inner.func.with_changes(attr=cst.Name(verb)))
        if is_removal and not isinstance(self.file.module.parent_of[node], ast.Expr):
            return cst.Attribute(plain, cst.Name("success"))
        return plain

    def _runs(self, node: ast.Call) -> bool:
        scope = self.file.scope(node)
        if scope.is_async:
            return False
        method = isinstance(node.func, ast.Attribute) and node.func.attr == "run_until_complete"
        return method or self.file.project.external(node.func, scope) in RUNNERS
