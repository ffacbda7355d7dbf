"""What becomes of a worker: whose handlers its processor is, or why it has to stay."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .findings import Reason
from .project import Project, arguments, own_parameters
from .scopes import Scope
from .switches import Branch, Switch, find_switch
from .uses import Use, Uses
from .values import Display, Function, Method, Site, Thing

#: Settings of a worker that are the platform's own here.
_PLATFORM = {
    "autorun", "connection", "concurrency", "drainDelay", "lockDuration", "lockRenewTime", "maxStalledCount", "metrics",
    "name", "prefix", "removeOnComplete", "removeOnFail", "runRetryDelay", "skipVersionCheck", "skipWaitingForReady",
    "stalledInterval",
}  # fmt: skip
_WITHOUT = {
    "limiter": Reason(
        "rate-limit",
        "there is no rate limiter",
        "count in Redis or take a lock in the handler, raise Defer(ms) when it is too soon, and drop the option",
    ),
    "settings": Reason("backoff", "backoffs can't be computed by the plugin", "use a fixed or exponential one"),
}


#: Constants that are other constants.
_LONGEST_CHAIN = 5


@dataclass(frozen=True)
class JobName:
    """A job name, and how a decorator may spell it."""

    text: str
    code: str


@dataclass
class WorkerPlan:
    """A worker's future.

    Attributes:
        style: `function`: its processor gets a decorator for each job name; `split`: it becomes one function for each;
            `class`: the class of its processor is decorated; `register`: it is registered where the worker was made;
            `stays`: for the reason, at `place`.
        concurrency: an expression, or None where it can't be known at the decorator.
    """

    site: Site
    style: Literal["function", "split", "class", "register", "stays"] = "stays"
    reason: Reason | None = None
    place: tuple[ast.AST, Scope] | None = None
    processor: Function | None = None
    queue: str = ""
    names: list[JobName] = field(default_factory=list)
    concurrency: str | None = "1"
    limit: tuple[ast.expr, Scope] | None = None
    switch: Switch | None = None
    unserved: list[str] = field(default_factory=list)


class WorkerPlans:
    """Plans for all workers of a tree."""

    def __init__(self, project: Project, uses: Uses) -> None:
        self._project = project
        self._uses = uses
        self.all: dict[Site, WorkerPlan] = {}
        for site in project.sites("worker"):
            self.all[site] = self._plan(site)
        self._refuse_rivals()
        self._keep_together()

    def staying(self, queue_name: str | None) -> WorkerPlan | None:
        """A worker of this queue that stays, so that its producers have to stay too."""
        plans = (plan for plan in self.all.values() if plan.style == "stays")
        return next((plan for plan in plans if plan.site.name == queue_name), None)

    def serving(self, function: Scope) -> list[WorkerPlan]:
        """The plans whose processor is this function."""
        return [plan for plan in self.all.values() if plan.processor is not None and plan.processor.scope is function]

    def _plan(self, site: Site) -> WorkerPlan:
        given = arguments(site.call, ("name", "processor", "opts"))
        plan = WorkerPlan(site)
        processor = self._project.value(given.get("processor"), site.scope)
        plan.reason = self._processor_problem(given.get("processor"), processor)
        if plan.reason is not None or not isinstance(processor, Function):
            return plan
        plan.processor = processor
        self._check_options(plan) and self._check_uses(plan) and self._name_jobs(plan)
        if plan.reason is None:
            plan.style = self._style(plan)
            self._name_queue(plan)
            if plan.limit is not None:
                plan.concurrency = self._limit(plan, *plan.limit)
        return plan

    def _processor_problem(self, given: ast.expr | None, processor: object) -> Reason | None:
        if given is None or (isinstance(given, ast.Constant) and given.value is None):
            return Reason("worker", "a worker that fetches jobs by hand", "write a handler for them")
        if not isinstance(processor, Function) or isinstance(processor.scope.node, ast.Lambda):
            right = "make it an async function of the tree, and run this again"
            return Reason("worker", "what the processor runs can't be found", right)
        if not isinstance(processor.scope.node, ast.AsyncFunctionDef):
            return Reason("worker", "its processor is no async function", "make it one, and run this again")
        return None

    def _check_options(self, plan: WorkerPlan) -> bool:
        options = plan.site.options
        if options is None:
            return True
        holder = self._project.display(options, plan.site.scope)
        names = list(self._option_names(holder)) if holder is not None else [None]
        if None in names:
            plan.reason = Reason("worker", "its options are made elsewhere", "write them where the worker is made")
            return False
        unknown = next((name for name in names if name not in _PLATFORM), None)
        if unknown is not None:
            known = Reason("worker", f"option {unknown} of a worker is not known", "correct or drop it")
            plan.reason = _WITHOUT.get(unknown, known)
            return False
        self._read_concurrency(plan, holder)
        return True

    def _option_names(self, holder: Display) -> Iterator[str | None]:
        if not isinstance(holder.node, ast.Dict):
            yield None
            return
        for key, value in zip(holder.node.keys, holder.node.values, strict=True):
            if key is not None:
                yield self._project.text(key, holder.scope)
                continue
            inner = self._project.display(value, holder.scope)
            yield from self._option_names(inner) if inner is not None else [None]

    def _read_concurrency(self, plan: WorkerPlan, holder: Display | None) -> None:
        if holder is None or not isinstance(holder.node, ast.Dict):
            return
        for key, value in zip(holder.node.keys, holder.node.values, strict=True):
            if key is None:
                self._read_concurrency(plan, self._project.display(value, holder.scope))
            elif self._project.text(key, holder.scope) == "concurrency":
                plan.limit = (value, holder.scope)

    def _limit(self, plan: WorkerPlan, value: ast.expr, scope: Scope) -> str | None:
        """The worker's concurrency as it may be written where its handlers are declared, or None."""
        if plan.style != "register":
            return self._portable(value, scope, plan)
        names = [one.id for one in ast.walk(value) if isinstance(one, ast.Name)]
        same = all(scope.find(name) == plan.site.scope.find(name) for name in names)
        return scope.module.segment(value) if same else None

    def _portable(self, value: ast.expr, scope: Scope, plan: WorkerPlan) -> str | None:
        """The expression as it may stand in a decorator of the processor, or None."""
        assert plan.processor is not None
        there = plan.processor.scope
        node = value
        for _ in range(_LONGEST_CHAIN):
            if not isinstance(node, ast.Name):
                break
            bindings = scope.find(node.id)
            if len(bindings) != 1 or bindings[0].kind not in ("value", "import"):
                return None
            if _is_known_before(node, scope, there):
                return node.id
            if bindings[0].value is None:
                return None
            node, scope = bindings[0].value, bindings[0].scope
        names = [one for one in ast.walk(node) if isinstance(one, ast.Name)]
        if all(_is_known_before(one, scope, there) for one in names):
            return scope.module.segment(node)
        return None

    def _check_uses(self, plan: WorkerPlan) -> bool:
        wrong = next((use for use in self._uses.of(plan.site) if use.kind in ("method", "other", "returned")), None)
        if wrong is None:
            return True
        plan.place = (wrong.node, wrong.scope)
        plan.reason = _worker_use(wrong)
        return False

    def _name_jobs(self, plan: WorkerPlan) -> bool:
        assert plan.processor is not None
        switch = find_switch(self._project, plan.processor)
        produced = self._produced(plan.site)
        handled = [name for branch in switch.branches for name in branch.names] if switch else []
        texts = {name.text for name in handled}
        extra = [JobName(text, "") for text in produced if text not in texts and text is not None]
        if switch is None or switch.has_default:
            if None in produced:
                plan.reason = _unknown_names("one of the job names is computed where jobs are added")
            elif not handled and not extra:
                plan.reason = _unknown_names("nothing in the tree adds jobs to its queue")
            handled = [*handled, *extra]
        else:
            plan.unserved = [name.text for name in extra]
        plan.names, plan.switch = handled, switch
        return plan.reason is None

    def _produced(self, site: Site) -> list[str | None]:
        """The names of the jobs that the tree adds to the worker's queue; None among them: it can't be known."""
        found: dict[str | None, None] = {}
        for call, scope in self._project.calls:
            method = self._project.value(call.func, scope)
            same = isinstance(method, Method) and method.site.kind == "queue" and method.site.name == site.name
            if not same or site.name is None or not isinstance(method, Method):
                continue
            if method.name == "add":
                found[self._project.text(arguments(call, ("name", "data", "opts")).get("name"), scope)] = None
            elif method.name == "addBulk":
                found.update(dict.fromkeys(self._bulk_names(call, scope)))
        return list(found)

    def _bulk_names(self, call: ast.Call, scope: Scope) -> Iterator[str | None]:
        displays = bulk_items(self._project, arguments(call, ("jobs",)).get("jobs"), scope)
        if displays is None:
            yield None
            return
        for item in displays:
            for key, value in zip(item.keys, item.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "name":
                    yield self._project.text(value, scope)

    def _style(self, plan: WorkerPlan) -> Literal["function", "split", "class", "register"]:
        assert plan.processor is not None
        function = plan.processor.scope
        if plan.processor.partial or function.parent is None:
            return "register"
        if function.is_method:
            return "class" if self._can_be_made_alone(function, plan) else "register"
        if function.parent.kind != "module":
            return "register"
        can_split = plan.switch is not None and plan.switch.is_clean and self._is_only_a_processor(function)
        return "split" if can_split and len(plan.names) > 1 else "function"

    def _can_be_made_alone(self, function: Scope, plan: WorkerPlan) -> bool:
        """Whether the platform can make the object: its class is at the top, and its constructor takes nothing."""
        owner = function.parent
        assert owner is not None
        if function.name not in ("handle", "process") or owner.parent is None or owner.parent.kind != "module":
            return False
        made = self._project.attribute(owner, "__init__")
        maker = plan.site.scope.function
        if not made:
            return True
        takes_nothing = all(self._is_given_up(parameter, made[0].scope) for parameter in own_parameters(made[0].scope))
        return takes_nothing and maker is not None and maker.parent is owner and maker.name in ("__init__", "start")

    def _is_given_up(self, parameter: ast.arg, function: Scope) -> bool:
        """A queue that is passed in goes with the queue."""
        return isinstance(self._project.value(ast.Name(id=parameter.arg, ctx=ast.Load()), function), Thing)

    def _is_only_a_processor(self, function: Scope) -> bool:
        references = [
            node
            for node, scope in self._project.nodes(ast.Name, ast.Attribute)
            if isinstance(node, ast.expr) and self._project.value(node, scope) == Function(function)
        ]
        processors = [
            arguments(site.call, ("name", "processor", "opts")).get("processor")
            for site in self._project.sites("worker")
        ]
        return all(one in processors for one in references) and not getattr(function.node, "decorator_list", [])

    def _name_queue(self, plan: WorkerPlan) -> None:
        assert plan.processor is not None
        here = plan.site.scope if plan.style == "register" else plan.processor.scope.module.scope
        before = None if plan.style == "register" else plan.processor.scope
        code = queue_code(plan.site, here, before)
        if code is None:
            plan.reason = Reason("queue", "the queue's name is computed", "give it a name that is always the same")
            plan.style = "stays"
            return
        plan.queue = code

    def _refuse_rivals(self) -> None:
        """Two processors for one queue: which job goes to which can't be told from its name."""
        serving: dict[str, WorkerPlan] = {}
        for plan in self.all.values():
            if plan.style == "stays" or plan.site.name is None:
                continue
            other = serving.setdefault(plan.site.name, plan)
            if other.processor != plan.processor:
                why = f"queue {plan.site.name!r} has two workers with different processors"
                for one in (plan, other):
                    one.style = "stays"
                    one.reason = Reason("worker", why, "give each its own job names in one processor")

    def _keep_together(self) -> None:
        """Workers that share a processor: if one stays, the others do."""
        for plan in self.all.values():
            partners = [one for one in self.all.values() if one.processor == plan.processor is not None]
            reason = next((one.reason for one in partners if one.style == "stays"), None)
            if reason is not None and plan.style != "stays":
                plan.style = "stays"
                plan.reason = Reason("worker", "its processor is that of a worker that has to stay", reason.what_to_do)
            if len({one.style for one in partners}) > 1:
                for one in partners:
                    one.style = "function" if one.style == "split" else one.style


def bulk_items(project: Project, expr: ast.expr | None, scope: Scope) -> list[ast.Dict] | None:
    """The dictionaries that an `addBulk` is given: displayed, comprehended, or collected in a variable."""
    if isinstance(expr, (ast.List, ast.Tuple)):
        return [one for one in expr.elts if isinstance(one, ast.Dict)] if _all_dicts(expr.elts) else None
    if isinstance(expr, (ast.ListComp, ast.GeneratorExp)):
        return [expr.elt] if isinstance(expr.elt, ast.Dict) else None
    if isinstance(expr, ast.Name):
        return _collected(project, expr.id, scope)
    return None


def _all_dicts(elements: Sequence[ast.expr]) -> bool:
    return all(isinstance(one, ast.Dict) for one in elements)


def _collected(project: Project, name: str, scope: Scope) -> list[ast.Dict] | None:
    bindings = scope.find(name)
    if len(bindings) != 1 or bindings[0].scope.function is not scope.function or scope.function is None:
        return None
    found = bulk_items(project, bindings[0].value, scope)
    if found is None or isinstance(bindings[0].value, ast.Name):
        return None
    for node in ast.walk(scope.function.node):
        if not isinstance(node, ast.Name) or node.id != name or not isinstance(node.ctx, ast.Load):
            continue
        around = scope.module.parent_of[node]
        call = scope.module.parent_of[around]
        if isinstance(around, ast.Attribute) and isinstance(call, ast.Call) and around.attr == "append":
            if not _all_dicts(call.args):
                return None
            found += [one for one in call.args if isinstance(one, ast.Dict)]
        elif isinstance(around, ast.Attribute):
            return None
    return found


def queue_code(site: Site, here: Scope, before: Scope | None = None) -> str | None:
    """How the queue's name is spelled at a place: by the constant that is known there, else as a text.

    Args:
        before: a function whose decorator it is for: the constant must be bound above it.
    """
    node = site.name_node
    if isinstance(node, ast.Name):
        bindings = here.find(node.id)
        constant = bool(bindings) and bindings[0].scope.kind == "module" and bindings == site.scope.find(node.id)
        if constant and len(bindings) == 1 and (before is None or _is_known_before(node, site.scope, before)):
            return node.id
    return None if site.name is None else quoted(site.name, here)


def quoted(text: str, scope: Scope) -> str:
    """A text as a literal in the quotes that the file prefers."""
    single = scope.module.text.count("'") > scope.module.text.count('"')
    code = repr(text)
    if single or '"' in text or "'" in text or code[0] != "'":
        return code
    return f'"{code[1:-1]}"'


def _is_known_before(node: ast.Name, scope: Scope, function: Scope) -> bool:
    """Whether a name means the same at a function's decorators, and is bound above them."""
    bindings = scope.find(node.id)
    if not bindings:
        return True  # a builtin
    if bindings[0].scope.kind != "module" and bindings[0].kind == "value":
        return False
    if function.module.scope.find(node.id) != bindings:
        return False
    return all(getattr(one.node, "lineno", 0) < getattr(function.node, "lineno", 0) for one in bindings)


def _worker_use(use: Use) -> Reason:
    if use.method == "on":
        right = "do it in the handler, which knows what it did and what it raises, and run this again"
        return Reason("events", "there are no events of workers", right)
    if use.method:
        return Reason("worker", f"a worker's {use.method} has no equivalent", "drop it, and run this again")
    return Reason("worker", "the worker is kept or passed on here", "drop it, and run this again")


def _unknown_names(why: str) -> Reason:
    return Reason("job-name", f"its job names can't be known: {why}", "compare job.name with each in the processor")


__all__ = ["Branch", "JobName", "WorkerPlan", "WorkerPlans", "bulk_items", "queue_code", "quoted"]
