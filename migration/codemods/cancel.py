"""`queue.remove(id)` and `job.remove()` become `managed_queue.cancel(...)`."""

from __future__ import annotations

import ast

import libcst as cst

from .analysis.findings import Reason
from .analysis.values import JobValue
from .build import Piece, call, code_piece
from .codemod import Codemod


class Cancel(Codemod):
    """Removals of jobs that are known by their id, or were looked up or added by the tree."""

    def call(self, original: cst.Call, updated: cst.BaseExpression) -> cst.BaseExpression:
        node = self.file.node(original)
        if not isinstance(node, ast.Call) or not isinstance(updated, cst.Call):
            return updated
        if self.file.plans.is_removal(node):
            return self._by_id(original, updated, node)
        job = self.file.plans.removed_job(node)
        if job is None or not isinstance(updated.func, cst.Attribute):
            return updated
        tenant = self.file.plans.tenant_of_job(node)
        if tenant is None:
            self.file.decide(_OWN_JOB if job == JobValue("handler") else _UNKNOWN, node)
            return updated
        name = self.file.module.segment(node.func.value)  # type: ignore[attr-defined]
        key = "job_id" if job == JobValue("added") else "id"
        pieces = [code_piece(None, f"{name}.{key}")]
        if tenant:
            pieces.append(code_piece("tenant_id", tenant))
        return self._cancelled(original, node, pieces)

    def _by_id(self, original: cst.Call, updated: cst.Call, node: ast.Call) -> cst.BaseExpression:
        plan = self.file.plans.enqueues.lookups[node]
        if plan.problem is not None:
            self.file.decide(plan.problem, node)
            return updated
        pieces = [Piece(updated.args[0].value)]
        if plan.owner.tenant is not None:
            pieces.append(code_piece("tenant_id", plan.owner.tenant))
        return self._cancelled(original, node, pieces)

    def _cancelled(self, original: cst.Call, node: ast.Call, pieces: list[Piece]) -> cst.BaseExpression:
        caught = any(isinstance(one, ast.Try) and one.handlers for one in self.file.module.parents(node))
        (self.file.decide if caught else self.file.note)(_NO_ERROR, node)
        verb = self.file.service("acancel")
        return call(verb, pieces, room=self.file.room(original), inset=self.file.inset(original))

    def awaited(self, original: cst.Await, updated: cst.BaseExpression) -> cst.BaseExpression:
        """What `queue.remove` gives is used: whether the job was removed."""
        node = self.file.node(original)
        if not isinstance(node, ast.Await) or not self.file.plans.is_rewritten(node.value):
            return updated
        if not self.file.plans.is_removal(node.value) or isinstance(self.file.module.parent_of[node], ast.Expr):
            return updated
        inner = updated.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
        return cst.Attribute(inner, cst.Name("success"))


_NO_ERROR = Reason(
    "cancel",
    "cancel raises nothing for a job that has started or ended, and leaves it",
    "look at its result: success, state, reason",
)
_OWN_JOB = Reason(
    "cancel", "a handler can't remove its own job", "use remove_on_complete or remove_on_fail, and return"
)
_UNKNOWN = Reason("cancel", "whose job is removed can't be known", "await managed_queue.acancel(job_id, tenant_id=...)")
