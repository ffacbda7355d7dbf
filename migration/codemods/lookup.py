"""`queue.getJob(id)` and `Job.fromId(queue, id)` become `managed_queue.get_job(...)`, and a job's names ours."""

from __future__ import annotations

import ast

import libcst as cst

from .analysis.findings import Reason
from .analysis.values import JobValue
from .build import Piece, call, code_piece
from .codemod import Codemod

_NAMES = {
    "attemptsMade": "attempts_made",
    "failedReason": "failed_reason",
    "finishedOn": "finished_on",
    "processedOn": "processed_on",
    "returnvalue": "return_value",
}
_SAME = {"data", "id", "name", "opts", "stacktrace", "timestamp"}
_STATES = {
    "isActive": "active",
    "isCompleted": "completed",
    "isDelayed": "delayed",
    "isFailed": "failed",
    "isWaiting": "waiting",
}


class Lookup(Codemod):
    """Jobs that are looked up."""

    def call(self, original: cst.Call, updated: cst.BaseExpression) -> cst.BaseExpression:
        node = self.file.node(original)
        if not isinstance(node, ast.Call) or not isinstance(updated, cst.Call):
            return updated
        if isinstance(node.func, ast.Attribute) and self._is_snapshot(node.func.value):
            return self._retried(original, updated, node, node.func)
        plan = self.file.plans.enqueues.lookups.get(node)
        if plan is None or self.file.plans.is_removal(node):
            return updated
        if plan.problem is not None:
            self.file.decide(plan.problem, node)
            return updated
        pieces = [Piece(updated.args[-1].value)]
        if plan.owner.tenant is not None:
            pieces.append(code_piece("tenant_id", plan.owner.tenant))
        verb = self.file.service("aget_job")
        return call(verb, pieces, room=self.file.room(original), inset=self.file.inset(original))

    def attribute(self, original: cst.Attribute, updated: cst.BaseExpression) -> cst.BaseExpression:
        node = self.file.node(original)
        if not isinstance(node, ast.Attribute) or not self._is_snapshot(node.value):
            return updated
        if node.attr in _NAMES and isinstance(updated, cst.Attribute):
            return updated.with_changes(attr=cst.Name(_NAMES[node.attr]))
        known = node.attr in _SAME or node.attr in ("remove", "retry") or self._state_test(node) is not None
        if not known:
            self.file.decide(_unknown(node.attr), node)
        return updated

    def awaited(self, original: cst.Await, updated: cst.BaseExpression) -> cst.BaseExpression:
        """`await job.getState()` and `await job.isFailed()` become what the snapshot says."""
        node = self.file.node(original)
        call_ = node.value if isinstance(node, ast.Await) else None
        function = call_.func if isinstance(call_, ast.Call) else None
        if not isinstance(function, ast.Attribute) or not self._is_snapshot(function.value):
            return updated
        test = self._state_test(function)
        if test is None or node is None:
            return updated
        code = f"{self.file.module.segment(function.value)}.state{test}"
        alone = isinstance(self.file.module.parent_of[node], (ast.If, ast.While, ast.Assign, ast.Return))
        return cst.parse_expression(code if alone or not test else f"({code})")

    def _is_snapshot(self, node: ast.expr) -> bool:
        return self.file.project.value(node, self.file.scope(node)) == JobValue("snapshot")

    def _state_test(self, node: ast.Attribute) -> str | None:
        """What is to follow `state`; None where a fresh look is needed, as in a loop that waits."""
        around = self.file.module.parent_of[node]
        if not isinstance(around, ast.Call) or not isinstance(self.file.module.parent_of[around], ast.Await):
            return None
        if not isinstance(node.value, ast.Name) or self._is_stale(node.value):
            return None
        if node.attr == "getState":
            return ""
        return f' == "{_STATES[node.attr]}"' if node.attr in _STATES else None

    def _is_stale(self, name: ast.Name) -> bool:
        loops = (ast.While, ast.For, ast.AsyncFor)
        around = [one for one in self.file.module.parents(name) if isinstance(one, loops)]
        bindings = self.file.scope(name).find(name.id)
        made = [one.node for one in bindings if one.kind == "value" and not isinstance(one.value, ast.Constant)]
        here = [one for one in made if any(place in self.file.module.parents(one) for place in around[:1])]
        return bool(around) and not here

    def _retried(
        self, original: cst.Call, updated: cst.Call, node: ast.Call, function: ast.Attribute
    ) -> cst.BaseExpression:
        if function.attr != "retry":
            return updated
        if node.args or node.keywords:
            self.file.decide(_RETRY, node)
            return updated
        self.file.note(_MORE_TRIES, node)
        job = self.file.module.segment(function.value)
        pieces = [code_piece(None, f"{job}.id"), code_piece("tenant_id", f"{job}.tenant_id")]
        verb = self.file.service("aretry")
        return call(verb, pieces, room=self.file.room(original), inset=self.file.inset(original))


class AddedJob(Codemod):
    """What `add` returns: of it, there is the id."""

    def attribute(self, original: cst.Attribute, updated: cst.BaseExpression) -> cst.BaseExpression:
        node = self.file.node(original)
        if not isinstance(node, ast.Attribute) or not isinstance(updated, cst.Attribute):
            return updated
        made = self.file.project.value(node.value, self.file.scope(node))
        if made != JobValue("added") or not self.file.plans.is_added(node.value, self.file.scope(node)):
            return updated
        if node.attr == "id":
            return updated.with_changes(attr=cst.Name("job_id"))
        if node.attr != "remove":
            self.file.decide(_added(node.attr), node)
        return updated


def _unknown(attribute: str) -> Reason:
    if attribute in _STATES or attribute == "getState":
        right = "look again: (await managed_queue.aget_job(job_id, tenant_id=...)).state"
        return Reason("job", "the job is as it was when it was read", right)
    if attribute in ("updateData", "update_data"):
        return Reason("job", "only a job's own handler changes its data", "keep what changes in a row of the plugin's")
    return Reason("job", f"a job's {attribute} has no equivalent", "keep it in a row of the plugin's, or drop it")


def _added(attribute: str) -> Reason:
    right = "use what was given to enqueue, or await managed_queue.aget_job(result.job_id, tenant_id=...)"
    return Reason("job", f"what enqueue returns has no {attribute}", right)


_RETRY = Reason(
    "job", "retry takes no options, and only failed jobs", "await managed_queue.aretry(job_id, tenant_id=...)"
)
_MORE_TRIES = Reason("job", "retry gives the job its full number of attempts again, not one", "nothing if that is fine")
