"""Follows names through the modules of a tree."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from .scopes import Binding, Module, Scope
from .values import (
    ClassValue,
    Client,
    Display,
    External,
    Function,
    Instance,
    Jobs,
    JobValue,
    Method,
    ModuleValue,
    Site,
    SiteKind,
    Stranger,
    Text,
    Thing,
    Value,
)

_SITES: dict[str, SiteKind] = {
    "bullmq.Queue": "queue",
    "bullmq.Worker": "worker",
    "bullmq.FlowProducer": "flow",
    "bullmq.QueueEvents": "events",
    "bullmq.QueueEventsProducer": "events",
    "bullmq.JobScheduler": "scheduler",
}

#: Calls that run a coroutine and give what it returns; here its value is that of the coroutine's call.
RUNNERS = ("asyncio.run", "anyio.run", "anyio.from_thread.run")
_PASSED_ON = (*RUNNERS, "asyncio.create_task", "asyncio.ensure_future", "asyncio.wait_for", "asyncio.shield")

_KEPT = JobValue("kept")

#: Expressions that one question may lead through; what is further away is not known.
_LONGEST_WAY = 500
_DEEPEST = 50

#: How many imports a job may be passed on through, from where its worker is.
_STEPS_DOWN = 3
_DISPLAYS = (ast.List, ast.Tuple, ast.Dict, ast.ListComp, ast.GeneratorExp)
_PROPERTIES = ("property", "functools.cached_property")


class Project:
    """All modules of a tree, and what their expressions are worth.

    Args:
        concerned: the paths of the modules to look at; None: those that have to do with bullmq. All others are read
            only where a name leads into them.
    """

    def __init__(self, modules: Sequence[Module], concerned: set[Path] | None = None) -> None:
        self._index: dict[tuple[str, ...], list[Module]] = {}
        packages = {module.parts for module in modules if module.is_package}
        for module in modules:
            for start in range(len(module.parts)):
                if module.parts[:start] not in packages:
                    self._index.setdefault(module.parts[start:], []).append(module)
        paths = {one.path for one in self._concerned(modules)} if concerned is None else concerned
        self.modules = [module for module in modules if module.path in paths]
        self._sites: dict[ast.Call, Site] = {}
        self._known: dict[tuple[ast.expr, Scope], Value | None] = {}
        self._asking: set[object] = set()
        self._tentative: dict[tuple[ast.expr, Scope], Value | None] = {}
        self._cycles = self._steps = 0
        self._calls: dict[Scope, list[tuple[ast.Call, Scope]]] = {}
        self.job_parameters: dict[ast.arg, JobValue] = {}
        self.find_job_parameters()

    def _concerned(self, modules: Sequence[Module]) -> set[Module]:
        """The modules that name bullmq, all that import those, and those that they import, where processors may be."""
        imported = {module: self._imports(module) for module in modules}
        found = {module for module in modules if "bullmq" in module.text}
        near = found | {module for module, others in imported.items() if others & found}
        while fresh := {module for module, others in imported.items() if others & found} - found:
            found |= fresh
        for _ in range(_STEPS_DOWN):
            near |= {other for module in near for other in imported[module]}
        return found | near if found else found

    def _imports(self, module: Module) -> set[Module]:
        found = (self._find_module(origin, module) for origin in module.origins)
        return {one for one in found if one is not None}

    def nodes(self, *kinds: type[ast.AST]) -> Iterator[tuple[ast.AST, Scope]]:
        """All nodes of these kinds, with their scopes."""
        for module in self.modules:
            for node, scope in module.scope_of.items():
                if isinstance(node, kinds):
                    yield node, scope

    @functools.cached_property
    def calls(self) -> list[tuple[ast.Call, Scope]]:
        return [(node, scope) for node, scope in self.nodes(ast.Call) if isinstance(node, ast.Call)]

    def sites(self, kind: SiteKind) -> list[Site]:
        """Every call that makes such an object, in the order of files and lines."""
        found = [self.value(call, scope) for call, scope in self.calls]
        unique = {one.site: None for one in found if isinstance(one, Thing) and one.kind == kind}
        return sorted(unique, key=lambda site: (str(site.module.path), site.call.lineno, site.call.col_offset))

    def value(self, expr: ast.expr | None, scope: Scope) -> Value | None:
        """What an expression is worth; None where that can't be known."""
        if expr is None:
            return None
        key = (expr, scope)
        if key in self._known:
            return self._known[key]
        too_far = self._steps > _LONGEST_WAY or len(self._asking) > _DEEPEST
        if too_far or key in self._asking or key in self._tentative:
            self._cycles += 1
            return self._tentative.get(key)
        cycles = self._cycles
        self._steps += 1
        self._asking.add(key)
        try:
            found = self._evaluate(expr, scope)
        finally:
            self._asking.discard(key)
        # What depends on itself is known only when the first question is answered.
        (self._known if cycles == self._cycles or not self._asking else self._tentative)[key] = found
        if not self._asking:
            self._tentative.clear()
            self._steps = 0
        return found

    def text(self, expr: ast.expr | None, scope: Scope) -> str | None:
        """The text that an expression is always worth, or None."""
        found = self.value(expr, scope)
        return found.text if isinstance(found, Text) else None

    def external(self, expr: ast.expr | None, scope: Scope) -> str | None:
        found = self.value(expr, scope)
        return found.name if isinstance(found, External) else None

    def display(self, expr: ast.expr, scope: Scope) -> Display | None:
        """The list, tuple or dictionary that an expression leads to."""
        found = self.value(expr, scope)
        return found if isinstance(found, Display) else None

    def bound(self, binding: Binding) -> Value | None:
        """What one binding gives its name."""
        if binding.kind == "value":
            found = self.value(binding.value, binding.scope)
            if found is None and isinstance(binding.node, ast.AnnAssign):
                return self.annotated(binding.node.annotation, binding.scope)
            return found
        if binding.kind == "item":
            return self._item(binding)
        if binding.kind == "import":
            return self._imported(binding.target, binding.scope.module)
        if binding.kind == "def":
            return Function(binding.scope)
        if binding.kind == "class":
            return ClassValue(binding.scope)
        return self._parameter(binding) if binding.kind == "param" else None

    def annotated(self, annotation: ast.expr | None, scope: Scope) -> Value | None:
        """An object of the annotated class."""
        if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
            try:
                annotation = ast.parse(annotation.value, mode="eval").body
            except SyntaxError:
                return None
        if isinstance(annotation, ast.BinOp):  # X | None
            sides = [self.annotated(side, scope) for side in (annotation.left, annotation.right)]
            return next((side for side in sides if side is not None), None)
        if isinstance(annotation, ast.Subscript) and self.external(annotation.value, scope) == "typing.Optional":
            return self.annotated(annotation.slice, scope)
        found = self.value(annotation, scope)
        if isinstance(found, ClassValue):
            return Instance(found.scope)
        if found == External("bullmq.Queue"):
            return Stranger()
        return JobValue("handler") if found == External("bullmq.Job") else None

    def attribute(self, owner: Scope, name: str) -> list[Binding]:
        """What a class, or one of its bases in the tree, binds the name to."""
        if name in owner.bindings:
            return owner.bindings[name]
        assert isinstance(owner.node, ast.ClassDef)
        for base in owner.node.bases:
            found = self.value(base, owner.parent or owner)
            if isinstance(found, ClassValue) and found.scope is not owner:
                inherited = self.attribute(found.scope, name)
                if inherited:
                    return inherited
        return []

    def calls_of(self, scope: Scope) -> list[tuple[ast.Call, Scope]]:
        """The calls in the tree of a function, or of a class, by its own name or one that it is imported by."""
        if scope not in self._calls:
            names = {scope.name, *self._aliases.get(scope.name, ())}
            named = [one for name in names for one in self._by_name.get(name, ())]
            self._calls[scope] = [(call, place) for call, place in named if self._calls_it(call, place, scope)]
        return self._calls[scope]

    def _calls_it(self, call: ast.Call, place: Scope, scope: Scope) -> bool:
        callee = self.value(call.func, place)
        return isinstance(callee, (Function, ClassValue)) and callee.scope is scope

    @functools.cached_property
    def _by_name(self) -> dict[str, list[tuple[ast.Call, Scope]]]:
        found: dict[str, list[tuple[ast.Call, Scope]]] = {}
        for call, place in self.calls:
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
            if name is not None:
                found.setdefault(name, []).append((call, place))
        return found

    @functools.cached_property
    def _aliases(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for node, _ in self.nodes(ast.ImportFrom):
            for alias in node.names if isinstance(node, ast.ImportFrom) else ():
                if alias.asname:
                    found.setdefault(alias.name, set()).add(alias.asname)
        return found

    def _evaluate(self, expr: ast.expr, scope: Scope) -> Value | None:
        match expr:
            case ast.Constant(value=str() as text):
                return Text(text)
            case ast.Name():
                return self._agreed(self.bound(one) for one in _real(scope.find(expr.id)))
            case ast.Attribute():
                return self._member(expr, scope)
            case ast.Call():
                return self._called(expr, scope)
            case ast.Await() | ast.NamedExpr() | ast.Starred():
                return self.value(expr.value, scope)
            case ast.IfExp():
                return self._agreed(self.value(part, scope) for part in (expr.body, expr.orelse) if not _is_none(part))
            case ast.BoolOp():
                return self._agreed(self.value(part, scope) for part in expr.values)
            case ast.JoinedStr() | ast.FormattedValue() | ast.BinOp(op=ast.Add()):
                return self._joined(expr, scope)
            case ast.Subscript():
                return self._subscript(expr, scope)
        return Display(expr, scope) if isinstance(expr, _DISPLAYS) else None

    def _agreed(self, values: Iterator[Value | None]) -> Value | None:
        found = list(values)
        return found[0] if found and all(one == found[0] for one in found) else None

    def _member(self, expr: ast.Attribute, scope: Scope) -> Value | None:
        owner = self.value(expr.value, scope)
        match owner:
            case External():
                return External(_canonical(f"{owner.name}.{expr.attr}"))
            case ModuleValue():
                return self._of_module(owner.module, expr.attr)
            case Thing():
                return Client() if expr.attr == "client" else Method(owner.site, expr.attr)
            case ClassValue() | Instance():
                return self._of_object(owner, expr.attr)
            case Text() if expr.attr == "value":  # of an enumeration's member
                return owner
        return None

    def _of_object(self, owner: ClassValue | Instance, name: str) -> Value | None:
        bindings = _real(self.attribute(owner.scope, name))
        found = self._agreed(self.bound(one) for one in bindings)
        if isinstance(found, Function) and self._is_property(found.scope):
            return self.returned(found.scope)
        return found

    def _is_property(self, scope: Scope) -> bool:
        node = scope.node
        decorators = getattr(node, "decorator_list", [])
        names = [self.external(one, scope.parent or scope) or getattr(one, "id", "") for one in decorators]
        return any(name in _PROPERTIES for name in names)

    def _of_module(self, module: Module, name: str) -> Value | None:
        if name in module.scope.bindings:
            if (module, name) in self._asking:  # modules that import from each other
                self._cycles += 1
                return None
            self._asking.add((module, name))
            try:
                return self._agreed(self.bound(one) for one in _real(module.scope.bindings[name]))
            finally:
                self._asking.discard((module, name))
        inner = self._index.get((*module.parts, name), []) if module.is_package else []
        return ModuleValue(inner[0]) if inner else None

    def _imported(self, target: str, importer: Module) -> Value | None:
        origin, _, name = target.partition(":")
        module = self._find_module(origin, importer)
        if not name:
            return ModuleValue(module) if module else External(_canonical(origin))
        if module is None:
            return External(_canonical(f"{origin}.{name}"))
        return self._of_module(module, name)

    def _find_module(self, origin: str, importer: Module) -> Module | None:
        level = len(origin) - len(origin.lstrip("."))
        names = tuple(part for part in origin.lstrip(".").split(".") if part)
        if not level and not names:
            return None
        if level:
            package = importer.parts if importer.is_package else importer.parts[:-1]
            names = package[: len(package) - level + 1] + names
        found = self._index.get(names, [])
        return max(found, key=lambda module: _shared(module.parts, importer.parts), default=None)

    def _called(self, call: ast.Call, scope: Scope) -> Value | None:
        callee = self.value(call.func, scope)
        first = call.args[0] if call.args else None
        match callee:
            case External(name) if name in _SITES:
                return Thing(self._site(_SITES[name], call, scope))
            case External("bullmq.Job.fromId"):
                return JobValue("snapshot")
            case External("functools.partial"):
                inner = self.value(first, scope)
                names = frozenset(one.arg for one in call.keywords if one.arg is not None)
                plain = isinstance(inner, Function) and not inner.partial
                return Function(inner.scope, True, len(call.args) - 1, names) if plain else None  # type: ignore[union-attr]
            case External(name) if name.endswith(".Depends"):  # FastAPI's: what the function gives
                given = self.value(first, scope)
                return self.returned(given.scope) if isinstance(given, Function) else None
            case External(name) if name in _PASSED_ON:
                return self.value(first, scope)
            case Function():
                return self.returned(callee.scope)
            case ClassValue():
                return Instance(callee.scope)
            case Method():
                return _made_by(callee)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "run_until_complete":
            return self.value(first, scope)
        return None

    def returned(self, function: Scope) -> Value | None:
        """What a function always returns. An async one counts as awaited."""
        body = function.node
        if isinstance(body, ast.Lambda):
            return self.value(body.body, function)
        returns = function.module.returns.get(function, [])
        values = [
            self.value(one.value, function) for one in returns if one.value is not None and not _is_none(one.value)
        ]
        return self._agreed(iter(values))

    def _site(self, kind: SiteKind, call: ast.Call, scope: Scope) -> Site:
        if call not in self._sites:
            site = self._sites[call] = Site(kind, call, scope)
            names = {"queue": ("name", "opts"), "worker": ("name", "processor", "opts")}.get(kind, ("name", "opts"))
            given = arguments(call, names)
            site.name_node, site.options = given.get("name"), given.get("opts")
            site.name = self.text(site.name_node, scope)
        return self._sites[call]

    def _parameter(self, binding: Binding) -> Value | None:
        node = binding.node
        assert isinstance(node, ast.arg)
        if node in self.job_parameters:
            return self.job_parameters[node]
        owner = _self_of(node, binding.scope)
        if owner is not None:
            return Instance(owner)
        found = self.annotated(node.annotation, binding.scope)
        if found is not None and found != Stranger():
            return found
        return self._passed(node, binding) or found

    def _passed(self, node: ast.arg, binding: Binding) -> Value | None:
        """The queue that all calls in the tree give for a parameter."""
        function = binding.scope.module.owner_of.get(node)
        if function is None:
            return None
        given = [self.argument(call, function, node.arg) for call, _ in self._calls_with(function)]
        scopes = [place for _, place in self._calls_with(function)]
        values = [self.value(one, place) for one, place in zip(given, scopes, strict=True) if one is not None]
        if (len(values) < len(given) or not given) and binding.value is not None:
            values.append(self.value(binding.value, binding.scope))
        found = self._agreed(iter(values))
        return found if isinstance(found, Thing) else None

    def _calls_with(self, function: Scope) -> list[tuple[ast.Call, Scope]]:
        owner = function.parent
        if function.name == "__init__" and owner is not None and owner.kind == "class":
            return self.calls_of(owner)
        return self.calls_of(function)

    def argument(self, call: ast.Call, function: Scope, name: str) -> ast.expr | None:
        """What a call gives for a parameter of the function, by position or by name."""
        named = next((one.value for one in call.keywords if one.arg == name), None)
        node = function.node
        if named is not None or not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return named
        positional = [one.arg for one in (*node.args.posonlyargs, *node.args.args)]
        if function.is_method and not _is_static(node):
            positional = positional[1:]
        place = positional.index(name) if name in positional else len(call.args)
        return call.args[place] if place < len(call.args) else None

    def _item(self, binding: Binding) -> Value | None:
        source = self.value(binding.value, binding.scope)
        if isinstance(source, Jobs):
            return JobValue("added")
        if isinstance(source, Display) and isinstance(source.node, (ast.List, ast.Tuple)):
            return self._agreed(self.value(one, source.scope) for one in source.node.elts)
        return None

    def _subscript(self, expr: ast.Subscript, scope: Scope) -> Value | None:
        owner = self.value(expr.value, scope)
        if isinstance(owner, Jobs):
            return JobValue("added")
        wanted = self.text(expr.slice, scope)
        if isinstance(owner, Display) and isinstance(owner.node, ast.Dict) and wanted is not None:
            for key, value in zip(owner.node.keys, owner.node.values, strict=True):
                if self.text(key, owner.scope) == wanted:
                    return self.value(value, owner.scope)
        return None

    def _joined(self, expr: ast.expr, scope: Scope) -> Value | None:
        match expr:
            case ast.JoinedStr():
                parts = expr.values
            case ast.FormattedValue(conversion=-1, format_spec=None):
                return self.value(expr.value, scope)
            case ast.BinOp():
                parts = [expr.left, expr.right]
            case _:
                return None
        texts = [self.text(part, scope) for part in parts]
        return None if None in texts else Text("".join(text for text in texts if text is not None))

    def find_job_parameters(self, staying: Sequence[Site] = ()) -> None:
        """Finds the parameters that are jobs: processors' first, and those of functions that a job is passed to.

        Args:
            staying: workers that stay, whose jobs remain BullMQ's.
        """
        self.job_parameters.clear()
        for site in sorted(self.sites("worker"), key=lambda one: one in staying):
            processor = self.value(arguments(site.call, ("name", "processor", "opts")).get("processor"), site.scope)
            if isinstance(processor, Function):
                for parameter in open_parameters(processor)[:1]:
                    self.job_parameters[parameter] = JobValue("kept" if site in staying else "handler")
        while True:
            self._known.clear()
            self._calls.clear()
            found: dict[ast.arg, JobValue] = {}
            for one, value in self._jobs_passed_on():
                if _KEPT not in (found.get(one), self.job_parameters.get(one)):
                    found[one] = value
            if found.items() <= self.job_parameters.items():
                return
            self.job_parameters.update(found)

    def _jobs_passed_on(self) -> Iterator[tuple[ast.arg, JobValue]]:
        for call, scope in self.calls:
            for function in self._functions(call.func, scope):
                for parameter in own_parameters(function):
                    value = self.value(self.argument(call, function, parameter.arg), scope)
                    if isinstance(value, JobValue):
                        yield parameter, value

    def _functions(self, expr: ast.expr, scope: Scope, *, is_variable: bool = True) -> list[Scope]:
        """The functions that a call may call: one, or those of a table that it looks in, perhaps by a variable."""
        callee = self.value(expr, scope)
        if isinstance(callee, Function):
            return [] if callee.partial or isinstance(callee.scope.node, ast.Lambda) else [callee.scope]
        match expr:
            case ast.Name() if is_variable:
                bound = scope.find(expr.id)
                given = bound[0].value if len(bound) == 1 and bound[0].kind == "value" else None
                return self._functions(given, bound[0].scope, is_variable=False) if given is not None else []
            case ast.Subscript(value=table) | ast.Call(func=ast.Attribute(value=table, attr="get")):
                found = self.value(table, scope)
                values = found.node.values if isinstance(found, Display) and isinstance(found.node, ast.Dict) else []
                functions = [self.value(value, found.scope) for value in values if isinstance(found, Display)]
                return [one.scope for one in functions if isinstance(one, Function) and not one.partial]
        return []


def arguments(call: ast.Call, names: Sequence[str]) -> dict[str, ast.expr]:
    """A call's arguments by these parameters' names; without what is starred."""
    plain = [one for one in call.args if not isinstance(one, ast.Starred)]
    found = dict(zip(names, plain if len(plain) == len(call.args) else [], strict=False))
    return {**found, **{one.arg: one.value for one in call.keywords if one.arg is not None}}


def own_parameters(function: Scope) -> list[ast.arg]:
    """A function's parameters, without a method's first."""
    node = function.node
    skipped = function.is_method and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not _is_static(node)
    return function.parameters[1:] if skipped else function.parameters


def open_parameters(function: Function) -> list[ast.arg]:
    """The parameters that a caller has still to give: of a processor the job, its token and a signal."""
    left = own_parameters(function.scope)[function.given :]
    return [one for one in left if one.arg not in function.given_names]


def _is_static(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in node.decorator_list)


def _self_of(parameter: ast.arg, scope: Scope) -> Scope | None:
    """The class of whose object a method's first parameter is."""
    if scope.kind != "class":
        return None
    function = scope.module.owner_of.get(parameter)
    if function is None or function.parameters[0] is not parameter:
        return None
    node = function.node
    return scope if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not _is_static(node) else None


def _made_by(method: Method) -> Value | None:
    if method.site.kind != "queue":
        return None
    made: dict[str, Value] = {"add": JobValue("added"), "addBulk": Jobs(), "getJob": JobValue("snapshot")}
    return made.get(method.name)


def _real(bindings: list[Binding]) -> list[Binding]:
    """Without placeholders: `queue = None`, and annotations alone where a value is given elsewhere."""
    given = [one for one in bindings if not (one.kind == "value" and _is_none(one.value))]
    with_value = [one for one in given if not (one.kind == "value" and one.value is None)]
    return with_value or given


def _is_none(expr: ast.expr | None) -> bool:
    return isinstance(expr, ast.Constant) and expr.value is None


def _canonical(name: str) -> str:
    """bullmq's names without the module that has them."""
    parts = name.split(".")
    if parts[0] != "bullmq" or len(parts) < 3:
        return name
    return f"bullmq.{'.'.join(part for part in parts[1:] if part[:1].isupper() or part == parts[-1])}"


def _shared(left: tuple[str, ...], right: tuple[str, ...]) -> int:
    same = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        same += 1
    return same
