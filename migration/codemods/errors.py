"""`UnrecoverableError` of bullmq becomes ours, which means the same."""

from __future__ import annotations

import ast

import libcst as cst

from .analysis.findings import Reason
from .analysis.values import External
from .codemod import Codemod

_SAME = {"bullmq.UnrecoverableError": "UnrecoverableError"}


class Errors(Codemod):
    """Wherever the error is named."""

    def name(self, original: cst.Name, updated: cst.BaseExpression) -> cst.BaseExpression:
        return self._ours(original, updated)

    def attribute(self, original: cst.Attribute, updated: cst.BaseExpression) -> cst.BaseExpression:
        return self._ours(original, updated)

    def _ours(self, original: cst.BaseExpression, updated: cst.BaseExpression) -> cst.BaseExpression:
        node = self.file.node(original)
        if node is None or isinstance(self.file.module.parent_of.get(node), ast.Attribute):
            return updated
        value = self.file.project.value(node, self.file.scope(node))
        name = _SAME.get(value.name) if isinstance(value, External) else None
        if name is None:
            return updated
        if self._has_staying_worker():
            if self.file.plans.tenants.in_handler(self.file.scope(node)):
                self.file.decide(_BOTH, node)
            return updated
        return cst.Name(self.file.need(name))

    def _has_staying_worker(self) -> bool:
        """Whether the file has processors of both kinds: they need an error each."""
        return any(self.file.plans.tenants.in_staying_worker(one) for one in self.file.module.scope_of.values())


_BOTH = Reason("error", "this is bullmq's error, which a worker in this file still needs", "raise xpert_mq's here")
