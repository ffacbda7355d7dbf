"""In handlers: `job.attemptsMade`, `job.updateData(...)` and `job.opts` get our names."""

from __future__ import annotations

import ast

import libcst as cst

from .analysis.findings import Reason
from .analysis.options import OURS
from .analysis.values import JobValue
from .codemod import Codemod

_NAMES = {"attemptsMade": "attempts_made", "updateData": "aupdate_data"}
_OPTIONS = {"attempts": "attempts", "delay": "delay_ms"}
_SAME = {"data", "id", "name", "opts"}

_ENDINGS = ("moveToCompleted", "moveToFailed", "moveToWaitingChildren", "discard")
_TIMES = ("timestamp", "processedOn", "finishedOn", "attemptsStarted", "stalledCounter", "stacktrace", "failedReason")


class HandlerJob(Codemod):
    """The job that a handler gets, wherever it is passed on to."""

    def attribute(self, original: cst.Attribute, updated: cst.BaseExpression) -> cst.BaseExpression:
        node = self.file.node(original)
        if (
            not isinstance(node, ast.Attribute)
            or not isinstance(updated, cst.Attribute)
            or not self._is_job(node.value)
        ):
            return updated
        if node.attr in _NAMES:
            return updated.with_changes(attr=cst.Name(_NAMES[node.attr]))
        if node.attr in _OPTIONS:
            return updated.with_changes(
                value=cst.Attribute(updated.value, cst.Name("opts")), attr=cst.Name(_OPTIONS[node.attr])
            )
        if node.attr not in _SAME and not self.file.plans.is_settled(node):
            self.file.decide(_reason(node.attr), node)
        return updated

    def subscript(self, original: cst.Subscript, updated: cst.BaseExpression) -> cst.BaseExpression:
        node = self.file.node(original)
        if (
            not isinstance(node, ast.Subscript)
            or not isinstance(updated, cst.Subscript)
            or not self._is_opts(node.value)
        ):
            return updated
        return self._option(node, node.slice, updated.value, updated)

    def call(self, original: cst.Call, updated: cst.BaseExpression) -> cst.BaseExpression:
        """`job.opts.get("attempts", 1)`: options always have a value here."""
        node = self.file.node(original)
        if not isinstance(node, ast.Call) or not isinstance(updated, cst.Call):
            return updated
        function = node.func
        if not isinstance(function, ast.Attribute) or function.attr != "get" or not self._is_opts(function.value):
            return updated
        if not isinstance(updated.func, cst.Attribute) or not node.args:
            return updated
        return self._option(node, node.args[0], updated.func.value, updated)

    def _option(
        self, node: ast.expr, key: ast.expr, options: cst.BaseExpression, updated: cst.BaseExpression
    ) -> cst.BaseExpression:
        name = self.file.project.text(key, self.file.scope(node))
        if name in OURS and name != "jobId":
            return cst.Attribute(options, cst.Name(OURS[name]))
        self.file.decide(Reason("job", f"a job's options have no {name or 'computed names'}", _OPTS), node)
        return updated

    def _is_job(self, node: ast.expr) -> bool:
        return self.file.project.value(node, self.file.scope(node)) == JobValue("handler")

    def _is_opts(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Attribute) and node.attr == "opts" and self._is_job(node.value)


_OPTS = "they are attempts, delay_ms, backoff_ms, remove_on_complete, remove_on_fail"


def _reason(attribute: str) -> Reason:
    if attribute in _ENDINGS:
        why = f"job.{attribute} has no equivalent: a handler's end decides"
        return Reason(
            "job", why, "return to complete it, raise to fail the try, raise UnrecoverableError to fail the job"
        )
    if attribute == "moveToDelayed":
        return Reason(
            "job", "job.moveToDelayed is raised here", "raise Defer(milliseconds) in the place of it and its error"
        )
    if attribute == "token":
        return Reason("job", "jobs have no token: the platform holds them", "drop it")
    if attribute in ("updateProgress", "progress"):
        right = "keep it in a row of the plugin's, or in the job's data with await job.aupdate_data(...)"
        return Reason("progress", "jobs have no progress", right)
    if attribute == "log":
        return Reason("job", "no logs are kept with a job", "use logging: every line says whose job it is")
    if attribute in _TIMES:
        return Reason("job", f"a handler's job has no {attribute}", "await managed_queue.aget_job(job.id) has it")
    if attribute == "getChildrenValues":
        return Reason("flow", "a job waits for no other", "let the handler enqueue what comes next, with what it needs")
    return Reason("job", f"job.{attribute} has no equivalent", "drop it, or keep it in a row of the plugin's")
