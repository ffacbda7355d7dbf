"""What becomes of each `add` and `addBulk`, and of the calls that look a job up or remove it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from .findings import Reason
from .options import Entry, OptionReader, Options, defaults_of, worker_option
from .project import Project, arguments
from .scopes import Scope
from .tenants import Owner, Tenants
from .values import Method, Site
from .workers import WorkerPlans, bulk_items, queue_code


@dataclass
class AddPlan:
    """A job that is added: by a call, or as one dictionary of an `addBulk`."""

    site: Site
    queue: str
    options: Options
    owner: Owner
    problem: Reason | None = None


@dataclass
class BulkPlan:
    """An `addBulk`, with its jobs by their dictionaries."""

    items: dict[ast.Dict, AddPlan] = field(default_factory=dict)
    problem: Reason | None = None


@dataclass
class LookupPlan:
    """A call with a job's id: `getJob`, `remove`, `Job.fromId`."""

    owner: Owner
    problem: Reason | None = None


class EnqueuePlans:
    """Plans for all of them, by call."""

    def __init__(self, project: Project, workers: WorkerPlans, tenants: Tenants) -> None:
        self._project = project
        self._workers = workers
        self._tenants = tenants
        self.reader = OptionReader(project)
        self.adds: dict[ast.Call, AddPlan] = {}
        self.bulks: dict[ast.Call, BulkPlan] = {}
        self.lookups: dict[ast.Call, LookupPlan] = {}
        for call, scope in project.calls:
            self._plan(call, scope)
        self.items = {item: plan for bulk in self.bulks.values() for item, plan in bulk.items.items()}

    def _plan(self, call: ast.Call, scope: Scope) -> None:
        method = self._project.value(call.func, scope)
        if self._project.external(call.func, scope) == "bullmq.Job.fromId":
            given = arguments(call, ("queue", "jobId"))
            self.lookups[call] = self._lookup(call, given.get("jobId"), scope)
        if not isinstance(method, Method) or method.site.kind != "queue":
            return
        if method.name == "add":
            given = arguments(call, ("name", "data", "opts"))
            self.adds[call] = self._add(method.site, call, given, scope)
        elif method.name == "addBulk":
            self.bulks[call] = self._bulk(method.site, call, scope)
        elif method.name in ("getJob", "remove"):
            given = arguments(call, ("job_id", "opts"))
            self.lookups[call] = self._lookup(call, given.get("job_id"), scope)

    def _add(self, site: Site, call: ast.AST, given: dict[str, ast.expr], scope: Scope) -> AddPlan:
        options = self.reader.read(given.get("opts"), scope)
        options.add_defaults(defaults_of(self._project, self.reader, site.options, site.scope, scope))
        options.add_defaults(self._workers_own(site, scope))
        problem = self._problem(site, given, options)
        queue = queue_code(site, scope)
        if problem is not None or queue is None:
            computed = Reason("queue", "the queue's name is computed", _ONE_QUEUE)
            return AddPlan(site, "", options, Owner(), problem or computed)
        about = [entry.value for entry in options.entries if entry.name == "jobId"]
        owner = self._tenants.owner(call, given.get("data"), about, scope)
        return AddPlan(site, queue, options, owner, owner.problem)

    def _problem(self, site: Site, given: dict[str, ast.expr], options: Options) -> Reason | None:
        if "name" not in given or "data" not in given:
            return Reason("enqueue", "its arguments can't be seen", "name them: name, data, opts")
        staying = self._workers.staying(site.name)
        if staying is not None and site.name is not None:
            why = f"the worker of queue {site.name!r} has to stay for now"
            where = f"decide in {staying.site.module.path.name}, and run this again"
            return Reason("worker", why, where)
        return options.problem

    def _workers_own(self, site: Site, scope: Scope) -> Options:
        """What a worker of the tree says of finished jobs goes for those that say nothing themselves."""
        found = Options()
        for plan in self._workers.all.values():
            if plan.site.name is None or plan.site.name != site.name:
                continue
            for name in ("removeOnComplete", "removeOnFail"):
                given = worker_option(self._project, plan.site.options, plan.site.scope, name)
                if given is not None and not any(isinstance(one, ast.Name) for one in ast.walk(given[0])):
                    found.entries.append(Entry(name, given[0], given[1]))
        return found

    def _bulk(self, site: Site, call: ast.Call, scope: Scope) -> BulkPlan:
        items = bulk_items(self._project, arguments(call, ("jobs",)).get("jobs"), scope)
        if items is None:
            right = "give it a list of dictionaries with name, data and opts"
            return BulkPlan(problem=Reason("enqueue", "the jobs that are added can't be seen", right))
        plan = BulkPlan({item: self._add(site, item, dict(_parts(item)), scope) for item in items})
        plan.problem = next((one.problem for one in plan.items.values() if one.problem is not None), None)
        return plan

    def _lookup(self, call: ast.Call, job_id: ast.expr | None, scope: Scope) -> LookupPlan:
        if job_id is None:
            return LookupPlan(Owner(), Reason("job", "the job's id can't be seen", "give it as an argument"))
        owner = self._tenants.owner(call, None, [job_id], scope)
        return LookupPlan(owner, owner.problem)


_ONE_QUEUE = "use one queue, and keep the order of what belongs together with a lock (xpert_mq.locks)"


def _parts(item: ast.Dict) -> Iterator[tuple[str, ast.expr]]:
    for key, value in zip(item.keys, item.values, strict=True):
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            yield key.value, value
