"""All that is decided about a tree before it is rewritten."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

from .deferrals import delay_of
from .enqueues import AddPlan, EnqueuePlans, LookupPlan
from .project import Project
from .scopes import Module, Scope
from .tenants import Owner, Tenants
from .uses import Uses
from .values import Client, External, Function, Jobs, JobValue, Method, Stranger, Thing, Value
from .workers import WorkerPlans


class Plans:
    """What becomes of each queue, worker and job of a tree.

    Attributes:
        parameters: the functions that get a parameter `tenant_id`, each with the call that needs it.
        calls: their calls in the tree, with the tenant that each can give.
    """

    def __init__(self, modules: Sequence[Module], concerned: set[Path] | None = None) -> None:
        self.project = Project(modules, concerned)
        self.tenants = Tenants(self.project)
        self.uses = Uses(self.project)
        self.workers = WorkerPlans(self.project, self.uses)
        self.project.find_job_parameters([site for site, plan in self.workers.all.items() if plan.style == "stays"])
        self.enqueues = EnqueuePlans(self.project, self.workers, self.tenants)
        self.parameters: dict[Scope, ast.AST] = {}
        self.calls: dict[ast.Call, Owner] = {}
        self._hand_down()

    def owner_of(self, call: ast.Call) -> Owner | None:
        """Whose a call of the queue is, if it can be rewritten."""
        plan: AddPlan | LookupPlan | None = self.enqueues.adds.get(call)
        plan = plan or self.enqueues.lookups.get(call)
        return plan.owner if plan is not None and plan.problem is None else None

    def is_rewritten(self, call: ast.AST) -> bool:
        """Whether a call of a queue becomes one of the service."""
        every = (self.enqueues.adds, self.enqueues.bulks, self.enqueues.lookups)
        plans = [plans[call] for plans in every if isinstance(call, ast.Call) and call in plans]
        return any(plan.problem is None for plan in plans)

    def touches(self, module: Module) -> bool:
        """Whether anything in the module has to do with queues, workers or jobs; others need no second look."""
        scopes = set(module.scope_of.values())
        if any(scope in self.parameters or self.workers.serving(scope) for scope in scopes):
            return True
        bindings = (one for scope in scopes for many in scope.bindings.values() for one in many)
        if any(self._leads(self.project.bound(one)) for one in bindings if one.kind in ("import", "param")):
            return True
        return any(
            node in self.calls or _concerns(self.project.value(node, scope))
            for node, scope in module.scope_of.items()
            if isinstance(node, (ast.Name, ast.Attribute, ast.Call))
        )

    def _leads(self, value: Value | None) -> bool:
        """Whether it is of bullmq, a job, or a function that gives one."""
        return _concerns(self.project.returned(value.scope) if isinstance(value, Function) else value)

    def _hand_down(self) -> None:
        """A function that needs the tenant is given it by its callers, which may need it in turn."""
        waiting = list(dict(self._needing()).items())
        while waiting:
            function, cause = waiting.pop()
            if function in self.parameters:
                continue
            self.parameters[function] = cause
            for call, scope in self.project.calls_of(function):
                given = [*call.args, *(one.value for one in call.keywords)]
                owner = self.calls[call] = self.tenants.owner(call, None, given, scope)
                if owner.how == "parameter" and scope.function is not None:
                    waiting.append((scope.function, call))

    def _needing(self) -> Iterator[tuple[Scope, ast.AST]]:
        plans: list[tuple[ast.Call, AddPlan | LookupPlan]] = [
            *self.enqueues.adds.items(),
            *self.enqueues.lookups.items(),
        ]
        for call, plan in plans:
            if plan.problem is None and plan.owner.how == "parameter":
                yield from self._function_of(call)
        for bulk, jobs in self.enqueues.bulks.items():
            if jobs.problem is None and any(one.owner.how == "parameter" for one in jobs.items.values()):
                yield from self._function_of(bulk)

    def _function_of(self, call: ast.Call) -> Iterator[tuple[Scope, ast.AST]]:
        for module in self.project.modules:
            function = module.scope_of[call].function if call in module.scope_of else None
            if function is not None:
                yield function, call

    def is_removal(self, call: ast.AST) -> bool:
        """Whether it is `queue.remove(id)`."""
        return (
            isinstance(call, ast.Call)
            and call in self.enqueues.lookups
            and isinstance(call.func, ast.Attribute)
            and call.func.attr == "remove"
        )

    def removed_job(self, call: ast.Call) -> JobValue | None:
        """The job of a `job.remove()`."""
        if not isinstance(call.func, ast.Attribute) or call.func.attr != "remove":
            return None
        job = self.project.value(call.func.value, self._scope_of(call))
        return job if isinstance(job, JobValue) else None

    def tenant_of_job(self, call: ast.Call) -> str | None:
        """The tenant of the job of a `job.remove()`: an expression, or "" for the context's; None: unknown."""
        assert isinstance(call.func, ast.Attribute)
        scope, job = self._scope_of(call), call.func.value
        kind = self.project.value(job, scope)
        if kind == JobValue("snapshot"):
            return f"{scope.module.segment(job)}.tenant_id"
        made = self._call_behind(job, scope) if kind == JobValue("added") else None
        owner = self.owner_of(made) if made is not None else None
        return None if owner is None else owner.tenant or ""

    def is_added(self, job: ast.expr, scope: Scope) -> bool:
        """Whether a job was added by a call that is rewritten."""
        made = self._call_behind(job, scope)
        return made is None or self.is_rewritten(made)

    def _call_behind(self, expr: ast.expr, scope: Scope, *, is_variable: bool = True) -> ast.Call | None:
        """The call whose result an expression is: followed through a variable, `await` and runners."""
        match expr:
            case ast.Call() if self._is_known(expr):
                return expr
            case ast.Call(args=[inner, *_]) | ast.Await(value=inner) | ast.NamedExpr(value=inner):
                return self._call_behind(inner, scope, is_variable=is_variable)
            case ast.Name() if is_variable:
                values = [one for one in scope.find(expr.id) if one.kind == "value" and one.value is not None]
                calls = [self._call_behind(one.value, one.scope, is_variable=False) for one in values if one.value]
                known = [one for one in calls if one is not None]
                return known[0] if len(known) == 1 else None
        return None

    def _is_known(self, call: ast.Call) -> bool:
        every = (self.enqueues.adds, self.enqueues.bulks, self.enqueues.lookups)
        return any(call in plans for plans in every)

    def _scope_of(self, node: ast.AST) -> Scope:
        return next(module.scope_of[node] for module in self.project.modules if node in module.scope_of)

    def deferral(self, statement: ast.stmt | None) -> ast.expr | None:
        """The delay of `await job.moveToDelayed(...)`, where an error follows and it is a handler's own job."""
        call = statement.value.value if _is_awaited_call(statement) else None  # type: ignore[union-attr]
        if statement is None or call is None or not isinstance(call.func, ast.Attribute):
            return None
        if self.project.value(call.func.value, self._scope_of(call)) != JobValue("handler"):
            return None
        return delay_of(statement, self._following(statement))

    def is_settled(self, attribute: ast.Attribute) -> bool:
        """Whether another rewrite takes care of a handler's job here."""
        module = next(one for one in self.project.modules if attribute in one.scope_of)
        if attribute.attr == "remove":
            return True
        return attribute.attr == "moveToDelayed" and self.deferral(module.statement(attribute)) is not None

    def _following(self, statement: ast.stmt) -> ast.stmt | None:
        module = next(one for one in self.project.modules if statement in one.scope_of)
        around = module.parent_of[statement]
        for name in ("body", "orelse", "finalbody"):
            block = getattr(around, name, [])
            if isinstance(block, list) and statement in block:
                after = block[block.index(statement) + 1 :]
                return after[0] if after else None
        return None


def _concerns(value: Value | None) -> bool:
    """Whether a value is of bullmq, or a job."""
    if isinstance(value, External):
        return value.name.partition(".")[0] == "bullmq"
    return isinstance(value, (Thing, Method, JobValue, Jobs, Client, Stranger))


def _is_awaited_call(statement: ast.stmt | None) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Await)
        and isinstance(statement.value.value, ast.Call)
    )
