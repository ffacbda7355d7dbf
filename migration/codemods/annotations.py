"""Annotations with bullmq's `Job` become ours."""

from __future__ import annotations

import ast
import re
from typing import Any

import libcst as cst
import libcst.matchers as m

from .analysis.values import External, Function, JobValue
from .codemod import Codemod
from .unused import named_in

_OURS = {"handler": "ManagedQueueJob", "snapshot": "JobSnapshot", "added": "EnqueueResult"}


class Annotations(Codemod):
    """Of parameters, results and variables."""

    def annotation(self, original: cst.Annotation, updated: cst.Annotation) -> cst.Annotation:
        found = [one for one in m.findall(original, m.Name() | m.Attribute()) if self._is_job(one)]
        quoted = [one for one in m.findall(original, m.SimpleString()) if self._names_job(one)]
        if not found and not quoted:
            return updated
        node = next((self.file.node(one) for one in (*found, *quoted)), None)
        kind = self._kind(node) if node is not None else "handler"
        if kind == "kept":
            return updated
        name = self.file.need(_OURS[kind])
        changed: cst.CSTNode = updated
        for one in found:
            new = _replaced(changed, one, cst.Name(name))
            changed = new
        for one in quoted:
            assert isinstance(one, cst.SimpleString)
            text = re.sub(r"\bJob\b", name, one.value)
            changed = _replaced(changed, one, one.with_changes(value=text))
        assert isinstance(changed, cst.Annotation)
        return changed

    def _is_job(self, node: object) -> bool:
        return isinstance(node, cst.CSTNode) and self.file.value(node) == External("bullmq.Job")

    def _names_job(self, node: object) -> bool:
        if not isinstance(node, cst.SimpleString) or "Job" not in named_in(str(node.evaluated_value)):
            return False
        found = self.file.node(node)
        bound = self.file.scope(found).find("Job") if found is not None else []
        return any(self.file.project.bound(one) == External("bullmq.Job") for one in bound)

    def _kind(self, node: ast.expr) -> str:
        """Which of the three jobs it is: as parameters are used, or functions return."""
        for around in self.file.module.parents(node):
            if isinstance(around, ast.arg):
                return self.file.project.job_parameters.get(around, JobValue("handler")).kind
            if isinstance(around, (ast.FunctionDef, ast.AsyncFunctionDef)):
                return self._returned(around)
            if isinstance(around, ast.AnnAssign):
                value = self.file.project.value(around.value, self.file.scope(around))
                return value.kind if isinstance(value, JobValue) else "handler"
        return "handler"

    def _returned(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
        bindings = self.file.scope(function).find(function.name)
        for one in bindings:
            found = self.file.project.bound(one)
            value = self.file.project.returned(found.scope) if isinstance(found, Function) else None
            if isinstance(value, JobValue):
                return value.kind
        return "snapshot"


class _Replace(cst.CSTTransformer):
    """Replaces what looks like `old`: the tree has been rebuilt, so it is not the same object any more."""

    def __init__(self, old: cst.CSTNode, new: cst.BaseExpression) -> None:
        super().__init__()
        self._old = old
        self._new = new

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: Any) -> Any:
        return self._new if original_node.deep_equals(self._old) else updated_node


def _replaced(tree: cst.CSTNode, old: object, new: cst.BaseExpression) -> cst.CSTNode:
    assert isinstance(old, cst.CSTNode)
    changed = tree.visit(_Replace(old, new))
    assert isinstance(changed, cst.CSTNode)
    return changed
