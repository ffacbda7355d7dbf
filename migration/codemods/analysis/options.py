"""The options of a job: which of ours each is, and which has none."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from .findings import Reason
from .project import Project
from .scopes import Binding, Scope
from .values import Display

OURS = {
    "jobId": "job_id",
    "delay": "delay_ms",
    "attempts": "attempts",
    "backoff": "backoff_ms",
    "removeOnComplete": "remove_on_complete",
    "removeOnFail": "remove_on_fail",
}

#: They change nothing here: no logs of jobs are kept, and the last ten stack traces are.
DROPPED = {"stackTraceLimit", "keepLogs", "sizeLimit"}

_FLOW = "a job waits for no other; let the handler enqueue what comes next"
_WITHOUT: dict[str, tuple[str, str]] = {
    "priority": ("there are no priorities", "use an execution pool of its own for what is urgent, or drop it"),
    "lifo": ("jobs run first in, first out", "drop it"),
    "repeat": ("there are no repeatable jobs", "let the handler enqueue its next run with delay_ms and a new job_id"),
    "deduplication": ("there is no deduplication besides ids", "derive the job_id from what makes it the same job"),
    "timestamp": ("a delay counts from Redis' own time", "drop it, or take it off the delay"),
}
_OF_FLOWS = (
    "parent",
    "failParentOnFailure",
    "continueParentOnFailure",
    "ignoreDependencyOnFailure",
    "removeDependencyOnFailure",
)


@dataclass(frozen=True)
class Entry:
    """One option with its value, and where the value is written; `index` is its place in the call's own dictionary."""

    name: str
    value: ast.expr
    scope: Scope
    index: int | None = None


@dataclass
class Options:
    """What a call's options come to.

    Attributes:
        entries: by BullMQ's names.
        spread: variables that hold options, whose keys get our names where they are.
        under: defaults of what such a variable may hold.
        problem: why the call must stay as it is.
    """

    entries: list[Entry] = field(default_factory=list)
    spread: list[str] = field(default_factory=list)
    spread_names: set[str] = field(default_factory=set)
    under: list[Entry] = field(default_factory=list)
    problem: Reason | None = None

    def add_defaults(self, defaults: Options) -> None:
        """What is given goes before what is the queue's default."""
        given = {one.name for one in (*self.entries, *self.under)}
        fresh = [one for one in defaults.entries if one.name not in given]
        self.under += [one for one in fresh if one.name in self.spread_names]
        self.entries += [one for one in fresh if one.name not in self.spread_names]
        self.problem = self.problem or defaults.problem


def without_equivalent(name: str) -> Reason | None:
    """Why an option keeps its call as it is."""
    if name in OURS or name in DROPPED:
        return None
    if name in _OF_FLOWS:
        why, todo = _FLOW.split("; ")
        return Reason("flow", f"option {name}: {why}", todo)
    if name in _WITHOUT:
        why, todo = _WITHOUT[name]
        return Reason(name, f"option {name}: {why}", todo)
    return Reason("options", f"option {name} is not known", "correct or drop it")


class OptionReader:
    """Reads options, in whichever way they are given; and remembers the variables whose keys are to be renamed."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self.renamed_keys: dict[ast.Constant, str] = {}

    def read(self, expr: ast.expr | None, scope: Scope, *, inline: bool = True) -> Options:
        """The options that an expression is worth."""
        if expr is None or (isinstance(expr, ast.Constant) and expr.value is None):
            return Options()
        if isinstance(expr, ast.Dict):
            return self._of_display(expr, scope, inline)
        if isinstance(expr, ast.Call) and self._makes_dict(expr, scope):
            return self._of_call(expr, scope)
        if isinstance(expr, ast.Name) and inline:
            spread = self._variable(expr.id, scope)
            if spread is not None:
                return spread
        return self._elsewhere(expr, scope)

    def _of_display(self, display: ast.Dict, scope: Scope, inline: bool) -> Options:
        found = Options()
        for index, (key, value) in enumerate(zip(display.keys, display.values, strict=True)):
            if key is None:
                self._merge(found, self.read(value, scope, inline=inline))
                continue
            name = self._project.text(key, scope)
            if name is None:
                return Options(problem=_hidden("a key of its options is computed"))
            found.problem = found.problem or without_equivalent(name) or _odd(name, value)
            if name in found.spread_names:
                found.problem = _hidden(f"its option {name} is given twice")
            found.entries = [one for one in found.entries if one.name != name]
            found.entries.append(Entry(name, value, scope, index if inline else None))
        return found

    def _merge(self, found: Options, more: Options) -> None:
        given = {one.name for one in more.entries}
        found.entries = [one for one in found.entries if one.name not in given]
        found.entries += [Entry(one.name, one.value, one.scope) for one in more.entries]
        found.spread += more.spread
        found.spread_names |= more.spread_names
        found.problem = found.problem or more.problem

    def _makes_dict(self, call: ast.Call, scope: Scope) -> bool:
        named = all(one.arg is not None for one in call.keywords) and not call.args
        builtin = isinstance(call.func, ast.Name) and call.func.id == "dict" and not scope.find("dict")
        return named and (builtin or self._project.external(call.func, scope) == "bullmq.JobOptions")

    def _of_call(self, call: ast.Call, scope: Scope) -> Options:
        found = Options()
        for keyword in call.keywords:
            name = str(keyword.arg)
            found.problem = found.problem or without_equivalent(name) or _odd(name, keyword.value)
            found.entries.append(Entry(name, keyword.value, scope))
        return found

    def _elsewhere(self, expr: ast.expr, scope: Scope) -> Options:
        """A constant of the tree, whose values can be written where it is used."""
        found = self._project.display(expr, scope)
        if found is None or not isinstance(found.node, ast.Dict) or self._is_changed(expr, scope):
            return Options(problem=_hidden("its options are made elsewhere"))
        options = self._of_display(found.node, found.scope, inline=False)
        if any(not _is_portable(one.value, one.scope, scope) for one in options.entries):
            return Options(problem=_hidden("its options are made of what can't be named here"))
        return options

    def _is_changed(self, expr: ast.expr, scope: Scope) -> bool:
        if not isinstance(expr, ast.Name):
            return False
        module = scope.module
        return any(
            isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and _is_name(node.value, expr.id)
            for node in module.scope_of
        )

    def _variable(self, name: str, scope: Scope) -> Options | None:
        """A variable of the function that holds options and nothing else: its keys are renamed where they are."""
        bindings = scope.find(name)
        if scope.function is None or len(bindings) != 1 or bindings[0].scope.function is not scope.function:
            return None
        display = bindings[0].value
        if not isinstance(display, ast.Dict) or bindings[0].kind != "value":
            return None
        keys = self._keys_of(name, bindings[0], scope)
        if keys is None:
            return None
        found = Options(spread=[name])
        for key, value in keys:
            found.problem = found.problem or without_equivalent(str(key.value)) or _odd(str(key.value), value)
            found.spread_names.add(str(key.value))
        if found.problem is None:
            self.renamed_keys.update({key: OURS[str(key.value)] for key, _ in keys if str(key.value) in OURS})
            if any(str(key.value) in DROPPED for key, _ in keys):
                found.problem = _hidden(f"the variable {name} has options that mean nothing here")
        return found

    def _keys_of(self, name: str, binding: Binding, scope: Scope) -> list[tuple[ast.Constant, ast.expr | None]] | None:
        """All keys that the variable's dictionary ever has; None if it is used in any other way."""
        assert isinstance(binding.value, ast.Dict)
        if any(not isinstance(key, ast.Constant) for key in binding.value.keys):
            return None
        keys: list[tuple[ast.Constant, ast.expr | None]] = [
            (key, value)
            for key, value in zip(binding.value.keys, binding.value.values, strict=True)
            if isinstance(key, ast.Constant)
        ]
        for node in ast.walk(scope.function.node) if scope.function else ():
            if not _is_name(node, name) or not isinstance(getattr(node, "ctx", None), ast.Load):
                continue
            around = scope.module.parent_of[node]
            if isinstance(around, ast.Subscript) and isinstance(around.slice, ast.Constant):
                keys.append((around.slice, _assigned(scope, around)))
            elif not self._is_given(node, around, scope):
                return None
        return keys

    def _is_given(self, node: ast.AST, around: ast.AST, scope: Scope) -> bool:
        """Whether it is the options of an `add`, or spread into them."""
        if isinstance(around, ast.keyword):
            around = scope.module.parent_of[around]
        if isinstance(around, ast.Dict) and node in around.values:
            around = scope.module.parent_of[around]
        if not isinstance(around, ast.Call) or not isinstance(around.func, ast.Attribute):
            return False
        return around.func.attr == "add" and node not in around.args[:2]


def _assigned(scope: Scope, target: ast.Subscript) -> ast.expr | None:
    statement = scope.module.statement(target)
    return statement.value if isinstance(statement, ast.Assign) else None


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _hidden(why: str) -> Reason:
    return Reason("options", why, "give it keywords: attempts, delay_ms, backoff_ms, job_id, remove_on_complete …")


def _odd(name: str, value: ast.expr | None) -> Reason | None:
    """Backoffs that are computed by a function of the plugin's, or vary."""
    if name != "backoff" or not isinstance(value, ast.Dict):
        return None
    given = {
        key.value: part for key, part in zip(value.keys, value.values, strict=True) if isinstance(key, ast.Constant)
    }
    kind = given.get("type")
    if isinstance(kind, ast.Constant) and kind.value not in ("fixed", "exponential"):
        return Reason("backoff", f"backoff {kind.value!r} is computed by the plugin", 'use "fixed" or "exponential"')
    if "jitter" in given:
        return Reason("backoff", "there is no jitter", "drop it, or choose another delay")
    return None


def _is_portable(value: ast.expr, here: Scope, there: Scope) -> bool:
    """Whether it means the same in another place: it names nothing, or what is a module's own in both."""
    names = [node for node in ast.walk(value) if isinstance(node, ast.Name)]
    if here.module is not there.module:
        return not names
    return all(not name.id or here.find(name.id) == there.find(name.id) for name in names)


def defaults_of(project: Project, reader: OptionReader, expr: ast.expr | None, scope: Scope, there: Scope) -> Options:
    """The `defaultJobOptions` in a queue's options, as they can be written at another place."""
    holder = project.display(expr, scope) if expr is not None else None
    if expr is None or holder is None:
        return Options(problem=_hidden("the options of its queue are made elsewhere") if expr is not None else None)
    if not isinstance(holder.node, ast.Dict):
        return Options()
    given = _entry(project, holder, "defaultJobOptions")
    if given is None:
        return Options()
    options = reader.read(given, holder.scope, inline=False)
    entries = [Entry(one.name, one.value, one.scope) for one in options.entries]
    if any(not _is_portable(one.value, one.scope, there) for one in entries):
        return Options(problem=_hidden("the default options of its queue are made of what can't be named here"))
    return Options(entries, problem=options.problem)


def _entry(project: Project, holder: Display, name: str) -> ast.expr | None:
    assert isinstance(holder.node, ast.Dict)
    for key, value in zip(holder.node.keys, holder.node.values, strict=True):
        if key is None:
            inner = project.display(value, holder.scope)
            found = _entry(project, inner, name) if inner is not None and isinstance(inner.node, ast.Dict) else None
            if found is not None:
                return found
        elif project.text(key, holder.scope) == name:
            return value
    return None


def worker_option(project: Project, expr: ast.expr | None, scope: Scope, name: str) -> tuple[ast.expr, Scope] | None:
    """One option of a worker or queue, with the scope that it is written in."""
    holder = project.display(expr, scope) if expr is not None else None
    if holder is None or not isinstance(holder.node, ast.Dict):
        return None
    found = _entry(project, holder, name)
    return None if found is None else (found, holder.scope)
