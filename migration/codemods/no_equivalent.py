"""What has no equivalent is left as it is, with a comment that says why and what to do."""

from __future__ import annotations

import ast

from .analysis.findings import Reason
from .analysis.project import open_parameters
from .analysis.scopes import Scope
from .analysis.values import External, Method, Stranger, Thing
from .codemod import Codemod

_ADDING = ("add", "addBulk", "getJob", "remove")
_KINDS = {
    "flow": Reason("flow", "there are no flows of jobs", "let the handler of each job enqueue what comes next"),
    "events": Reason(
        "events", "there are no events of queues", "do it in the handler, or look with managed_queue.aget_job"
    ),
    "scheduler": Reason("repeat", "there are no job schedulers", "let the handler enqueue its next run with delay_ms"),
}
_SCHEDULERS = Reason(
    "repeat", "there are no repeatable jobs", "let the handler enqueue its next run with delay_ms and a new job_id"
)
_PAUSES = Reason(
    "pause", "queues are not paused", "keep a flag in Redis, and raise Defer(ms) in the handler while it is set"
)
_LISTS = Reason(
    "list", "plugins can't list jobs", "keep rows of the plugin's own; operators have `xpert-mq jobs` and `queues`"
)
_LIMITS = Reason(
    "rate-limit", "there is no rate limiter", "count in Redis or take a lock in the handler, and raise Defer(ms)"
)
_SWEEPS = Reason(
    "sweep", "jobs are removed one by one, or by their age", "managed_queue.acancel, remove_on_complete, or drop it"
)
_STATE = Reason("job", "a state is part of the job", "(await managed_queue.aget_job(job_id, tenant_id=...)).state")
_QUEUE_METHODS = {
    **dict.fromkeys(("upsertJobScheduler", "removeJobScheduler", "getJobSchedulers", "getJobScheduler"), _SCHEDULERS),
    **dict.fromkeys(("pause", "resume", "isPaused"), _PAUSES),
    **dict.fromkeys(("drain", "obliterate", "clean", "retryJobs", "promoteJobs", "trimEvents"), _SWEEPS),
    **dict.fromkeys(("getJobs", "getJobCounts", "getJobCountByTypes", "getWaiting", "getActive"), _LISTS),
    **dict.fromkeys(("getDelayed", "getFailed", "getCompleted", "getPrioritized", "getJobLogs"), _LISTS),
    **dict.fromkeys(("getWaitingCount", "getDelayedCount", "getFailedCount", "getCompletedCount"), _LISTS),
    **dict.fromkeys(("rateLimit", "setGlobalRateLimit", "setGlobalConcurrency", "getRateLimitTtl"), _LIMITS),
    "getJobState": _STATE,
}
_ERRORS = {
    "bullmq.DelayedError": Reason("job", "a job is put off by one error here", "raise Defer(milliseconds)"),
    "bullmq.WaitingChildrenError": _KINDS["flow"],
}


class NoEquivalent(Codemod):
    """Looks at the whole file; rewrites nothing."""

    def inspect(self) -> None:
        for node, scope in self.file.module.scope_of.items():
            if isinstance(node, ast.Attribute):
                self._attribute(node, scope)
            elif isinstance(node, ast.Call):
                self._call(node, scope)
            elif isinstance(node, ast.Raise):
                self._raise(node, scope)
            elif isinstance(node, ast.ClassDef):
                self._class(node, scope)
            elif isinstance(node, ast.Name):
                self._name(node, scope)
        self._kept_queues()

    def _attribute(self, node: ast.Attribute, scope: Scope) -> None:
        owner = self.file.project.value(node.value, scope)
        if owner == Stranger() and (node.attr in _QUEUE_METHODS or node.attr in _ADDING):
            self.file.decide(_STRANGER, node)
        method = self.file.project.value(node, scope)
        if not isinstance(method, Method) or method.name == "close" or method.site.kind == "worker":
            return
        call, kind = self.file.module.parent_of[node], method.site.kind
        if kind == "queue" and isinstance(call, ast.Call) and call.func is node and method.name in _ADDING:
            return
        self.file.decide(_of_queue(method.name) if kind == "queue" else _KINDS[kind], node)

    def _call(self, node: ast.Call, scope: Scope) -> None:
        made = self.file.project.value(node, scope)
        if isinstance(made, Thing) and made.site.call is node and made.kind in _KINDS:
            self.file.decide(_KINDS[made.kind], node)

    def _raise(self, node: ast.Raise, scope: Scope) -> None:
        error = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
        reason = _ERRORS.get(self.file.project.external(error, scope) or "")
        if self.file.plans.tenants.in_staying_worker(scope):
            return
        if reason is not None and not self._follows_deferral(node):
            self.file.decide(reason, node)

    def _follows_deferral(self, node: ast.Raise) -> bool:
        around = self.file.module.parent_of[node]
        for name in ("body", "orelse", "finalbody"):
            block = getattr(around, name, [])
            if isinstance(block, list) and node in block and block.index(node):
                return self.file.plans.deferral(block[block.index(node) - 1]) is not None
        return False

    def _class(self, node: ast.ClassDef, scope: Scope) -> None:
        names = [self.file.project.value(base, scope) for base in node.bases]
        if any(isinstance(one, External) and one.name.startswith("bullmq.") for one in names):
            self.file.decide(_SUBCLASS, node)

    def _name(self, node: ast.Name, scope: Scope) -> None:
        """Uses of the token that a processor got."""
        function = scope.function
        if function is None or not isinstance(node.ctx, ast.Load):
            return
        plans = [plan for plan in self.file.plans.workers.serving(function) if plan.style != "stays"]
        dropped = [one.arg for plan in plans[:1] if plan.processor for one in open_parameters(plan.processor)[1:3]]
        if node.id not in dropped:
            return
        if self.file.plans.deferral(self.file.module.statement(node)) is None:
            self.file.decide(_TOKEN, node)

    def _kept_queues(self) -> None:
        for site in self.file.project.sites("queue"):
            if site.module is not self.file.module:
                continue
            uses = self.file.plans.uses.of(site)
            if all(use.kind == "bound" for use in uses):
                self.file.decide(_UNUSED, site.call)
            for use in uses:
                if use.kind == "other" and use.scope.module is self.file.module:
                    self.file.decide(_KEPT, use.node)


def _of_queue(name: str) -> Reason:
    if name in _ADDING:
        return Reason(
            "enqueue", f"queue.{name} is passed on here", f"pass managed_queue.{_VERBS[name]} with its fields"
        )
    return _QUEUE_METHODS.get(name, Reason("queue", f"queue.{name} has no equivalent", "drop it"))


_VERBS = {"add": "aenqueue", "addBulk": "aenqueue_many", "getJob": "aget_job", "remove": "acancel"}
_STRANGER = Reason(
    "queue", "which queue this is can't be known", "make the queue in the tree, or enqueue with its names"
)
_SUBCLASS = Reason("queue", "a class of bullmq is extended", "use managed_queue and handlers in its place")
_TOKEN = Reason("job", "jobs have no token: the platform holds them", "drop it")
_UNUSED = Reason("queue", "nothing in the tree uses this queue", "rewrite it together with what does, or drop it")
_KEPT = Reason("queue", "the queue is kept or passed on where it can't be followed", "use managed_queue there")
