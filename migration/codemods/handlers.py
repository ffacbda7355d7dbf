"""`Worker(name, process, opts)` becomes handlers: `@plugin_job_processor(...)`, one for each job name."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import TypeGuard

import libcst as cst

from .analysis.findings import Reason
from .analysis.project import open_parameters
from .analysis.scopes import Scope
from .analysis.switches import Switch
from .analysis.values import Function
from .analysis.workers import JobName, WorkerPlan, quoted
from .build import Piece, call, code_piece
from .codemod import Codemod

_DECORATOR = "plugin_job_processor"


class Handlers(Codemod):
    """Processors get decorators, or are registered where their worker was made."""

    def function(self, original: cst.FunctionDef, updated: cst.FunctionDef) -> list[cst.FunctionDef]:
        scope = self.file.definition(original)
        plans = self._plans(scope)
        if scope is None or not plans:
            return [updated]
        assert plans[0].processor is not None
        changed = self._without_token(plans[0].processor, updated)
        if plans[0].style == "split":
            return self._split(plans, changed, scope)
        if plans[0].style == "function":
            return [self._decorated(changed, [(plan, plan.names) for plan in plans], scope)]
        return [changed]

    def class_(self, original: cst.ClassDef, updated: cst.ClassDef) -> cst.ClassDef:
        scope = self.file.definition(original)
        for plan in self.file.plans.workers.all.values():
            if plan.style == "class" and plan.processor is not None and plan.processor.scope.parent is scope:
                assert scope is not None
                decorators = self._decorators(plan, plan.names, scope)
                return updated.with_changes(decorators=[*decorators, *updated.decorators])
        return updated

    def statements(self, statement: ast.stmt) -> list[cst.BaseStatement]:
        """The registrations of processors that a decorator can't reach."""
        found: list[cst.BaseStatement] = []
        for plan in self.file.plans.workers.all.values():
            if plan.site.module is not self.file.module or self.file.module.statement(plan.site.call) is not statement:
                continue
            self._report(plan)
            if plan.style == "register":
                found += [self._registration(plan, name, statement) for name in plan.names]
        return found

    def _report(self, plan: WorkerPlan) -> None:
        place = plan.site.call
        if plan.style == "stays":
            assert plan.reason is not None
            self.file.decide(plan.reason, place)
            if plan.place is not None and plan.place[1].module is self.file.module:
                self.file.decide(plan.reason, plan.place[0])
            return
        where = ".".join(plan.processor.scope.module.parts) if plan.processor is not None else ""
        if plan.style == "register":
            self.file.decide(_REGISTERED, place)
        self.file.note(_loaded(where), place)
        if len(plan.names) > 1 and plan.concurrency is not None:
            self.file.note(_each(plan.concurrency), place)
        for name in plan.unserved:
            self.file.decide(_unserved(name), place)

    def _plans(self, scope: Scope | None) -> list[WorkerPlan]:
        """The workers whose processor it is, one for each queue."""
        plans = self.file.plans.workers.serving(scope) if scope is not None else []
        return list({plan.queue: plan for plan in plans if plan.style != "stays"}.values())

    def _registration(self, plan: WorkerPlan, name: JobName, statement: ast.stmt) -> cst.BaseStatement:
        given = plan.site.call.args[1:2] or [one.value for one in plan.site.call.keywords if one.arg == "processor"]
        fields = [*self._fields(plan, name, plan.site.scope), code_piece("handler", self.file.module.segment(given[0]))]
        if plan.concurrency is not None:
            fields.append(code_piece("concurrency", plan.concurrency))
        else:
            self.file.decide(_CONCURRENCY, plan.site.call)
        registry = self.file.need("registry")
        room = self.file.width - statement.col_offset
        return cst.SimpleStatementLine([cst.Expr(call(f"{registry}.register", fields, room=room))])

    def _fields(self, plan: WorkerPlan, name: JobName, scope: Scope) -> list[Piece]:
        return [
            code_piece("plugin_name", quoted(self.file.plugin_name, scope)),
            code_piece("queue_name", plan.queue),
            code_piece("job_name", name.code or quoted(name.text, scope)),
        ]

    def _decorators(self, plan: WorkerPlan, names: Sequence[JobName], scope: Scope) -> list[cst.Decorator]:
        found = []
        for name in names:
            fields = self._fields(plan, name, scope)
            if plan.concurrency is not None:
                fields.append(code_piece("concurrency", plan.concurrency))
            else:
                self.file.decide(_CONCURRENCY, scope.node)
            found.append(cst.Decorator(call(self.file.need(_DECORATOR), fields, room=self.file.width - 1)))
        return found

    def _decorated(
        self, function: cst.FunctionDef, plans: Sequence[tuple[WorkerPlan, Sequence[JobName]]], scope: Scope
    ) -> cst.FunctionDef:
        decorators = [one for plan, names in plans for one in self._decorators(plan, names, scope)]
        return function.with_changes(decorators=[*decorators, *function.decorators])

    def _without_token(self, processor: Function, function: cst.FunctionDef) -> cst.FunctionDef:
        """A handler takes the job alone; a second argument would be its context."""
        if function.decorators and not processor.scope.is_method:
            self.file.decide(_SECOND, processor.scope.node)
            return function
        dropped = {one.arg for one in open_parameters(processor)[1:3]}
        parameters = function.params
        kept = [one for one in parameters.params if one.name.value not in dropped]
        if len(kept) == len(parameters.params):
            return function
        if kept[-1] is not parameters.params[-1]:
            kept[-1] = kept[-1].with_changes(comma=parameters.params[-1].comma)
        return function.with_changes(params=parameters.with_changes(params=kept))

    def _split(self, plans: list[WorkerPlan], updated: cst.FunctionDef, scope: Scope) -> list[cst.FunctionDef]:
        """One function for each case of the processor's switch."""
        plan = plans[0]
        assert plan.switch is not None
        cases = _cases(plan, updated)
        if cases is None:
            return [self._decorated(updated, [(one, one.names) for one in plans], scope)]
        taken = set(scope.module.scope.bindings)
        found: list[cst.FunctionDef] = []
        for number, (names, body) in enumerate(cases):
            name = _name(updated.name.value, names[0].text, taken)
            statements = [*_shared(plan.switch, updated, number), *body.body]
            whole = updated.with_changes(name=cst.Name(name), body=body.with_changes(body=statements))
            if found:
                whole = whole.with_changes(leading_lines=[cst.EmptyLine(indent=False), cst.EmptyLine(indent=False)])
            found.append(self._decorated(whole, [(one, names) for one in plans], scope))
        return found


def _shared(switch: Switch, function: cst.FunctionDef, number: int) -> list[cst.BaseStatement]:
    """What stands before the switch, for one of its cases: without a name that only the switch reads."""
    start = _start(function)
    lines = [one for one in function.body.body[: start + len(switch.prologue)] if isinstance(one, cst.BaseStatement)]
    case = switch.branches[number].body if number < len(switch.branches) else switch.default
    read = {node.id for one in (*switch.prologue, *case) for node in ast.walk(one) if _is_read(node)}
    kept = lines[:start]
    for line, node in zip(lines[start:], switch.prologue, strict=True):
        names_it = isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute) and node.value.attr == "name"
        targets = [one.id for one in getattr(node, "targets", []) if isinstance(one, ast.Name)]
        if not names_it or any(name in read for name in targets):
            kept.append(line)
    return kept


def _is_read(node: ast.AST) -> TypeGuard[ast.Name]:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)


def _cases(plan: WorkerPlan, function: cst.FunctionDef) -> list[tuple[list[JobName], cst.IndentedBlock]] | None:
    """The names of each case with its statements, as they have become; None where they can't be told apart."""
    assert plan.switch is not None
    body = function.body
    if not isinstance(body, cst.IndentedBlock):
        return None
    rest = list(body.body[_start(function) + len(plan.switch.prologue) :])
    bodies = _of_match(rest[0]) if rest and isinstance(rest[0], cst.Match) else _of_ifs(rest)
    if bodies is None:
        return None
    branches = plan.switch.branches
    named = {name.text for branch in branches for name in branch.names}
    extra = [name for name in plan.names if name.text not in named]
    cases = [(branch.names, block) for branch, block in zip(branches, bodies, strict=False)]
    if extra:
        if len(bodies) == len(branches):
            return None
        cases.append((extra, bodies[-1]))
    return cases if len(bodies) >= len(branches) else None


def _start(function: cst.FunctionDef) -> int:
    return 1 if function.get_docstring(clean=False) is not None else 0


def _of_ifs(rest: Sequence[cst.BaseStatement | cst.BaseSmallStatement]) -> list[cst.IndentedBlock] | None:
    found: list[cst.IndentedBlock] = []
    while rest and isinstance(rest[0], cst.If):
        branch, rest = rest[0], rest[1:]
        while True:
            found.append(_with_comments(branch))
            if not isinstance(branch.orelse, cst.If):
                break
            branch = branch.orelse
        if isinstance(branch.orelse, cst.Else):
            found.append(_with_comments(branch.orelse))
    if rest:
        lines = [one for one in rest if isinstance(one, cst.BaseStatement)]
        found.append(cst.IndentedBlock(lines))
    return found


def _of_match(match: cst.BaseStatement | cst.BaseSmallStatement) -> list[cst.IndentedBlock] | None:
    assert isinstance(match, cst.Match)
    return [_with_comments(case) for case in match.cases]


def _with_comments(case: cst.If | cst.Else | cst.MatchCase) -> cst.IndentedBlock:
    """The statements of a case, with the comments that stood above it."""
    body = case.body
    if not isinstance(body, cst.IndentedBlock):
        body = cst.IndentedBlock([cst.SimpleStatementLine(body.body)])  # type: ignore[arg-type]
    comments = [line for line in case.leading_lines if line.comment is not None]
    if comments and body.body:
        first = body.body[0]
        lines = [*comments, *getattr(first, "leading_lines", [])]
        return body.with_changes(body=[first.with_changes(leading_lines=lines), *body.body[1:]])
    return body


def _name(function: str, job: str, taken: set[str]) -> str:
    slug = re.sub(r"\W+", "_", job).strip("_").lower() or "job"
    name = number = f"{function}_{slug}"
    count = 1
    while number in taken:
        count += 1
        number = f"{name}_{count}"
    taken.add(number)
    return number


_REGISTERED = Reason(
    "worker",
    "handlers that are registered here are there only where this code has run",
    "see that loading the plugin runs it in each worker process",
)
_CONCURRENCY = Reason("worker", "the worker's concurrency can't be named here", "add concurrency=...")
_SECOND = Reason(
    "worker",
    "a decorator passes on what a processor got: the job and its token",
    "a handler gets the job, and its JobContext if it takes a second argument",
)


def _loaded(module: str) -> Reason:
    right = f"celery -A xpert_mq worker, with XPERT_MQ_PLUGINS={module} or an entry point of xpert_mq.plugins"
    return Reason("worker", "workers are processes of the platform now", right)


def _each(concurrency: str) -> Reason:
    why = f"concurrency {concurrency} is that of each job name now, and was that of all together"
    return Reason("worker", why, "use a lock (xpert_mq.locks) where one must not run beside another")


def _unserved(name: str) -> Reason:
    right = f"write a handler for it, or do not add it: {name!r} would fail"
    return Reason("job-name", f"the processor has nothing for the job {name!r}, which is added", right)
