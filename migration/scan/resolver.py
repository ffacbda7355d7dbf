"""What a piece of code stands for: which constant, which text, which queue. What can't be known stays unknown."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Protocol

from .libraries import PLATFORM_REDIS, RESULTS, kind_of
from .modules import Bound, Module, Scope
from .syntax import (
    Call,
    Choice,
    Class,
    Constant,
    Foreign,
    Function,
    Item,
    Mapping,
    Member,
    Name,
    Node,
    Parameter,
    Sequence,
    Typed,
    argument,
)

_STEPS = 40
_DEPTH = 60
#: How deep calls are followed, and how much is looked at for one answer. Code that calls itself has no end else.
_CALLS = 4
_BUDGET = 3000
_WRAPPERS = frozenset({"Promise", "Optional", "Awaitable", "Annotated", "Readonly", "NonNullable", "Final", "ClassVar"})
_CONTAINERS = frozenset(
    {"Map", "Record", "Array", "ReadonlyArray", "Set", "dict", "list", "set", "tuple", "Dict", "List", "defaultdict"}
)
_ELEMENT = frozenset({"get", "pop", "find", "at", "shift", "setdefault", "__getitem__"})
_ELEMENTS = frozenset({"values", "filter", "slice", "reverse", "sort", "from"})


@dataclass(frozen=True, slots=True, eq=False)
class Thing:
    """An object of a queue or Redis library, as far as it is known: where it is made, or what its type says."""

    kind: str
    module: str
    made: Bound | None = None
    name: Bound | None = None
    options: Bound | None = None
    many: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """An object of a class of the tree."""

    scope: Scope
    many: bool = False


class Modules(Protocol):
    """Where modules of the tree are found."""

    def find(self, name: str, seen_from: Module) -> Module | None:
        """The module of that name, or None if it is not of the tree."""
        ...


class Resolver:
    """Answers what code means. Answers are kept."""

    def __init__(self, modules: Modules) -> None:
        self.modules = modules
        #: Parameters that are jobs, because their functions are processors.
        self.jobs: dict[int, Thing] = {}
        self._known: dict[int, dict[tuple[int, int], tuple[Bound, Thing | Instance | None]]] = defaultdict(dict)
        self._depth = 0
        self._left = _BUDGET
        self._entered: set[int] = set()

    # --- where code leads to

    def target(self, node: Node, scope: Scope) -> Bound:
        """The code that a name, a member or a call stands for in the end; itself, where that is not known."""
        bound = Bound(node, scope)
        for _ in range(_STEPS):
            following = self._step(bound)
            if following is None:
                break
            bound = following
        return bound

    def _step(self, bound: Bound) -> Bound | None:
        if self._depth > _DEPTH:
            return None
        self._depth += 1
        try:
            node, scope = bound
            if isinstance(node, Name):
                bound_to = scope.lookup(node.id)
                return self._only(bound_to) if bound_to else self._starred(node, scope)
            if isinstance(node, Member):
                return self._member(node, scope)
            if isinstance(node, Call):
                return self._called(node, scope)
            return self._other(node, scope)
        finally:
            self._depth -= 1

    def _starred(self, node: Name, scope: Scope) -> Bound | None:
        """What a name is that no scope has, but perhaps a module whose names are all imported."""
        for star in scope.module.stars if scope.module.language == "python" else []:
            module = self.modules.find(star, scope.module)
            found = None if module is None else self._exported(module, node.id, set())
            if found is None and module is None and kind_of(star, node.id, python=True) is not None:
                found = Bound(Foreign(node.start, node.end, star, node.id), scope)
            if found is not None:
                return found
        return None

    def _other(self, node: Node, scope: Scope) -> Bound | None:
        if isinstance(node, Foreign):
            return self._imported(node, scope)
        if isinstance(node, Typed):
            return Bound(node.value, scope)
        if isinstance(node, Choice):
            return self._only([Bound(one, scope) for one in node.options])
        if isinstance(node, Item) and isinstance(node.key, Constant):
            return self._item(node, node.key, scope)
        return None

    @staticmethod
    def _only(candidates: list[Bound]) -> Bound | None:
        real = [one for one in candidates if not _is_none(one.node)]
        return real[0] if len(real) == 1 else None

    def _imported(self, node: Foreign, scope: Scope) -> Bound | None:
        module = self.modules.find(node.module, scope.module)
        if module is None:
            if scope.module.language != "python" or not node.name:
                return None
            module = self.modules.find(_joined(node.module, node.name), scope.module)
            return None if module is None else Bound(module.tree, module.scope)
        if not node.name:
            replaced = module.exports.get("=")  # by `module.exports = …`
            return replaced[-1] if replaced else Bound(module.tree, module.scope)
        return self._exported(module, node.name, set())

    def _exported(self, module: Module, name: str, seen: set[int]) -> Bound | None:
        """What a module gives away under a name."""
        if id(module) in seen:
            return None
        seen.add(id(module))
        python = module.language == "python"
        found = module.scope.names.get(name) if python else module.exports.get(name)
        if found:
            return self._only(found) or found[0]
        for star in module.stars:
            other = self.modules.find(star, module)
            given = None if other is None else self._exported(other, name, seen)
            if given is not None:
                return given
        if python:
            inner = self.modules.find(f".{name}", module)
            return None if inner is None else Bound(inner.tree, inner.scope)
        return self._exported(module, "default", seen) if name == "" else None

    def _member(self, node: Member, scope: Scope) -> Bound | None:
        if isinstance(node.of, Name) and node.of.id == scope.self_name and scope.owner is not None:
            return self._only(self.members(scope.owner, node.name))
        of = self.target(node.of, scope)
        if isinstance(of.node, Foreign):
            name = f"{of.node.name}.{node.name}" if of.node.name else node.name
            return Bound(Foreign(node.start, node.end, of.node.module, name), of.scope)
        if of.node is of.scope.module.tree:
            return self._exported(of.scope.module, node.name, set())
        if isinstance(of.node, Mapping):
            return self._value(of, node.name)
        if isinstance(of.node, Class):
            return self._only(self.members(of.scope.module.scopes[id(of.node)], node.name))
        if isinstance(of.node, Constant) and node.name == "value":  # of a member of an Enum
            return of
        owner = self.what(node.of, scope)
        if isinstance(owner, Thing) and owner.kind == "queue" and node.name == "name":
            return owner.name
        return self._only(self.members(owner.scope, node.name)) if isinstance(owner, Instance) else None

    def members(self, owner: Scope, name: str, depth: int = 0) -> list[Bound]:
        """What a member of a class is bound to, in the class or the nearest base that has it."""
        if name in owner.names:
            return owner.names[name]
        for base in self.bases(owner) if depth < 10 else []:
            if isinstance(base.node, Class):
                found = self.members(base.scope.module.scopes[id(base.node)], name, depth + 1)
                if found:
                    return found
        return []

    def bases(self, owner: Scope) -> list[Bound]:
        """The bases of a class."""
        if not isinstance(owner.node, Class) or owner.parent is None:
            return []
        return [self.target(base.of if isinstance(base, Item) else base, owner.parent) for base in owner.node.bases]

    def _item(self, node: Item, key: Constant, scope: Scope) -> Bound | None:
        of = self.target(node.of, scope)
        if isinstance(of.node, Mapping):
            return self._value(of, str(key.value))
        if isinstance(of.node, Sequence) and not of.node.loops and isinstance(key.value, int):
            items = of.node.items
            return Bound(items[key.value], of.scope) if 0 <= key.value < len(items) else None
        return None

    def _value(self, mapping: Bound, name: str) -> Bound | None:
        found = self.entries(mapping.node, mapping.scope)
        return found.get(name)

    def entries(self, node: Node, scope: Scope) -> dict[str, Bound]:
        """The values of a mapping by their keys, with those of mappings spread into it."""
        mapping = self.target(node, scope)
        found: dict[str, Bound] = {}
        if not isinstance(mapping.node, Mapping) or self._depth > _DEPTH:
            return found
        self._depth += 1
        for key, value in mapping.node.items:
            if key is None:
                found |= self.entries(value, mapping.scope)
                continue
            named = self.target(key, mapping.scope).node
            if isinstance(named, Constant):
                found[str(named.value)] = Bound(value, mapping.scope)
        self._depth -= 1
        return found

    def _called(self, node: Call, scope: Scope) -> Bound | None:
        required = self._required(node, scope)
        if required is not None:
            return required
        if isinstance(node.function, Member) and node.function.name in ("freeze", "seal") and node.arguments:
            return Bound(node.arguments[0], scope)
        made = self.target(node.function, scope)
        if not isinstance(made.node, Function):
            return None
        inside = made.scope.module.scopes[id(made.node)]
        if len(inside.returns) != 1 or scope.calls >= _CALLS:
            return None
        return Bound(inside.returns[0], self._filled(made.node, inside, node, scope))

    def _required(self, node: Call, scope: Scope) -> Bound | None:
        """The module that `require`, `import()` and `import_module` give."""
        given = node.arguments[0] if node.arguments else None
        if not isinstance(given, Constant) or not isinstance(given.value, str):
            return None
        function = node.function
        plain = (
            isinstance(function, Name) and function.id in ("require", "__import__") and not scope.lookup(function.id)
        )
        if not plain and isinstance(function, Name | Member) and _name_of(function) == "import_module":
            made = self.target(function, scope).node
            plain = isinstance(made, Foreign) and _joined(made.module, made.name) == "importlib.import_module"
        return Bound(Foreign(node.start, node.end, given.value, ""), scope) if plain else None

    @staticmethod
    def _filled(function: Function, inside: Scope, call: Call, scope: Scope) -> Scope:
        """The scope of a function with its parameters bound to what a call gives."""
        view = Scope(inside.module, inside, inside.node, inside.owner, inside.self_name, calls=scope.calls + 1)
        method = bool(inside.self_name) and inside.parent is inside.owner and inside.module.language == "python"
        for place, parameter in enumerate(function.parameters[1:] if method else function.parameters):
            given = argument(call, place, parameter.name)
            if given is not None:
                view.names[parameter.name] = [Bound(given, scope)]
            elif parameter.default is not None:
                view.names[parameter.name] = [Bound(parameter.default, inside)]
        return view

    def callees(self, node: Call, scope: Scope) -> list[Bound]:
        """The functions of the tree that a call may enter; where a mapping is asked for one, all of its functions."""
        function = node.function
        found = self.target(function, scope)
        if isinstance(found.node, Call) and isinstance(found.node.function, Member):
            function = found.node.function.of if found.node.function.name == "get" else function
        elif isinstance(found.node, Item):
            function = found.node.of
        elif isinstance(found.node, Function):
            return [found]
        given = [self.target(*one) for one in self.entries(function, found.scope).values()]
        return [one for one in given if isinstance(one.node, Function)]

    # --- what an object is

    def what(self, node: Node, scope: Scope) -> Thing | Instance | None:
        """The object of a library or of a class of the tree that the code gives, if it is known to give one."""
        key, known = (id(node), id(scope)), self._known[id(scope.module)]
        kept = known.get(key)
        if kept is not None:
            return kept[1]
        self._left = _BUDGET if self._depth == 0 else self._left - 1
        if self._depth > _DEPTH or self._left < 0:
            return None
        known[key] = (Bound(node, scope), None)  # the answer to who asks again on the way
        self._depth += 1
        try:
            found = self._what(Bound(node, scope))
        finally:
            self._depth -= 1
        self._known[id(scope.module)][key] = (Bound(node, scope), found)
        return found

    def thing(self, node: Node, scope: Scope, kind: str = "") -> Thing | None:
        """The same, if it is one object of a library, of that kind."""
        found = self.what(node, scope)
        fits = isinstance(found, Thing) and not found.many and (not kind or found.kind == kind)
        return found if fits and isinstance(found, Thing) else None

    def _what(self, bound: Bound) -> Thing | Instance | None:
        node, scope = bound
        if isinstance(node, Typed):
            return self.what(node.value, scope) or self.typed(node.annotation, scope)
        if isinstance(node, Parameter):
            return self._parameter(node, scope)
        following = self._step(bound)
        if following is not None:
            found = self.what(*following)
            return found or (self._declared(node, scope) if isinstance(node, Call) else None)
        if isinstance(node, Call):
            return self._made(node, scope)
        return self._unstepped(node, scope)

    def _unstepped(self, node: Node, scope: Scope) -> Thing | Instance | None:
        if isinstance(node, Name):
            return self._first(scope.lookup(node.id))
        if isinstance(node, Member):
            return self._member_thing(node, scope)
        if isinstance(node, Choice):
            return self._first([Bound(one, scope) for one in node.options])
        if isinstance(node, Item):
            return self._element(node.of, scope)
        return None

    def _first(self, candidates: list[Bound]) -> Thing | Instance | None:
        """What the candidates may be; one whose name is known tells more than one whose type is."""
        found = [one for candidate in candidates if (one := self.what(*candidate)) is not None]
        named = (one for one in found if isinstance(one, Thing) and one.name is not None)
        return next(named, found[0] if found else None)

    def _member_thing(self, node: Member, scope: Scope) -> Thing | Instance | None:
        if isinstance(node.of, Name) and node.of.id == scope.self_name and scope.owner is not None:
            return self._first(self.members(scope.owner, node.name))
        of = self.what(node.of, scope)
        if isinstance(of, Instance):
            return self._first(self.members(of.scope, node.name))
        if isinstance(of, Thing) and of.kind in ("queue", "worker", "events") and node.name in ("client", "redis"):
            return Thing("redis", "queue client", Bound(node, scope))
        if isinstance(of, Thing) and of.kind == "job" and node.name == "queue":
            return Thing("queue", of.module, name=of.name)
        return None

    def _parameter(self, node: Parameter, scope: Scope) -> Thing | Instance | None:
        known = self.jobs.get(id(node))
        if known is not None:
            return known
        for decorator in node.decorators:
            injected = self.injected(decorator, scope)
            if injected is not None:
                return injected
        return None if node.annotation is None else self.typed(node.annotation, scope)

    def injected(self, decorator: Node, scope: Scope) -> Thing | None:
        """The queue that `@InjectQueue(NAME)` or `@Inject(getQueueToken(NAME))` asks for, or a Redis client."""
        if not isinstance(decorator, Call):
            return None
        name = self.foreign_name(decorator.function, scope)
        given = argument(decorator, 0)
        named = None if given is None else Bound(given, scope)
        kind = {"InjectQueue": "queue", "InjectFlowProducer": "flow", "InjectRedis": "redis"}.get(name)
        if kind is not None:
            return Thing(kind, self.foreign_module(decorator.function, scope), name=named)
        return self._token(given, scope) if name == "Inject" and given is not None else None

    def _token(self, node: Node, scope: Scope) -> Thing | None:
        if isinstance(node, Call) and self.foreign_name(node.function, scope) == "getQueueToken":
            given = argument(node, 0)
            module = self.foreign_module(node.function, scope)
            return Thing("queue", module, name=None if given is None else Bound(given, scope))
        return None

    def foreign_name(self, node: Node, scope: Scope) -> str:
        """The last name of something of a library; empty for what is of the tree or not known."""
        made = self.target(node, scope).node
        return made.name.split(".")[-1] if isinstance(made, Foreign) else ""

    def foreign_module(self, node: Node, scope: Scope) -> str:
        """The module that something of a library comes from."""
        made = self.target(node, scope).node
        return made.module if isinstance(made, Foreign) else ""

    def mark_job(self, parameter: Parameter, module: Module, job: Thing) -> None:
        """Notes that a parameter is a job; what was found in its module without that is forgotten."""
        self.jobs[id(parameter)] = job
        self._known.pop(id(module), None)

    def typed(self, annotation: Node, scope: Scope) -> Thing | Instance | None:
        """The object that a type stands for."""
        if isinstance(annotation, Choice):
            return next((found for one in annotation.options if (found := self.typed(one, scope))), None)
        if isinstance(annotation, Item):
            return self._generic(annotation, scope)
        made = self.target(annotation, scope)
        if isinstance(made.node, Class):
            return self._object_of(made, None)
        if isinstance(made.node, Foreign):
            kind = kind_of(made.node.module, made.node.name, made.scope.module.language == "python")
            return None if kind is None else Thing(kind, made.node.module)
        return None

    def _generic(self, annotation: Item, scope: Scope) -> Thing | Instance | None:
        of = annotation.of
        name = of.id if isinstance(of, Name) else of.name if isinstance(of, Member) else ""
        key = annotation.key
        inner = key.items if isinstance(key, Sequence) else [key] if key is not None else []
        if name in _WRAPPERS and inner:
            return self.typed(inner[0], scope)
        if name in _CONTAINERS and inner:
            return _many(self.typed(inner[-1], scope))
        return self.typed(of, scope)

    def _declared(self, node: Call, scope: Scope) -> Thing | Instance | None:
        made = self.target(node.function, scope)
        if not isinstance(made.node, Function) or scope.calls >= _CALLS or id(made.node) in self._entered:
            return None
        self._entered.add(id(made.node))
        try:
            return self._returned(made.node, made.scope, node, scope)
        finally:
            self._entered.discard(id(made.node))

    def _returned(self, function: Function, outside: Scope, node: Call, scope: Scope) -> Thing | Instance | None:
        inside = outside.module.scopes[id(function)]
        view = self._filled(function, inside, node, scope)
        found = self._first([Bound(one, view) for one in inside.returns]) if len(inside.returns) > 1 else None
        return found or (None if function.returns is None else self.typed(function.returns, outside))

    def _made(self, node: Call, scope: Scope) -> Thing | Instance | None:
        if isinstance(node.function, Member) and node.function.name in PLATFORM_REDIS:
            return Thing("redis", "platform", Bound(node, scope))
        made = self.target(node.function, scope)
        if isinstance(made.node, Foreign):
            return self._of_library(made, node, scope)
        if isinstance(made.node, Class):
            return self._object_of(made, Bound(node, scope))
        if isinstance(made.node, Function):
            return self._declared(node, scope)
        return self._of_method(node, node.function, scope) if isinstance(node.function, Member) else None

    def _of_library(self, made: Bound, node: Call, scope: Scope) -> Thing | None:
        foreign = made.node
        assert isinstance(foreign, Foreign)
        if foreign.name.split(".")[-1] in ("fromId", "fromJSON") and "Job" in foreign.name:
            return Thing("job", foreign.module)
        kind = kind_of(foreign.module, foreign.name, made.scope.module.language == "python")
        return None if kind is None else self._thing(kind, foreign.module, node, scope, Bound(node, scope))

    @staticmethod
    def _thing(kind: str, module: str, call: Call, scope: Scope, made: Bound) -> Thing:
        place = 2 if kind == "worker" else 1
        name, options = argument(call, 0, "name"), argument(call, place, "opts")
        if module == "bull" and len(call.arguments) > 2:
            options = call.arguments[2]
        named = None if name is None else Bound(name, scope)
        return Thing(kind, module, made, named, None if options is None else Bound(options, scope))

    def _object_of(self, made: Bound, call: Bound | None, depth: int = 0) -> Thing | Instance | None:
        """An object of a class of the tree; one that derives from a library's class is the library's thing."""
        owner = made.scope.module.scopes[id(made.node)]
        for base in self.bases(owner) if depth < 10 else []:
            if isinstance(base.node, Foreign):
                kind = kind_of(base.node.module, base.node.name, made.scope.module.language == "python")
                if kind is not None:
                    return self._derived(kind, base.node.module, owner, call)
            elif isinstance(base.node, Class):
                found = self._object_of(base, call, depth + 1)
                if isinstance(found, Thing):
                    return found
        return Instance(owner)

    def _derived(self, kind: str, module: str, owner: Scope, call: Bound | None) -> Thing:
        above = self._super_call(owner)
        source = above or call
        if source is None or not isinstance(source.node, Call):
            return Thing(kind, module, call)
        return self._thing(kind, module, source.node, source.scope, call or source)

    @staticmethod
    def _super_call(owner: Scope) -> Bound | None:
        for place in owner.module.places:
            if isinstance(place.node, Call) and place.scope.owner is owner and _calls_super(place.node):
                return place
        return None

    def _of_method(self, node: Call, function: Member, scope: Scope) -> Thing | Instance | None:
        if function.name in ("get", "resolve") and node.arguments:
            token = self._token(node.arguments[0], scope)
            if token is not None:
                return token
        if function.name in _ELEMENTS:
            return _many(self._element(function.of, scope))
        of = self.what(function.of, scope)
        if isinstance(of, Thing) and not of.many:
            kind, many = RESULTS.get((of.kind, function.name), ("", False))
            return Thing(kind, of.module, name=of.name, many=many) if kind else None
        return self._element(function.of, scope) if function.name in _ELEMENT else None

    def _element(self, container: Node, scope: Scope) -> Thing | Instance | None:
        """An element of a container."""
        of = self.what(container, scope)
        if of is not None and of.many:
            return _many(of, False)
        found: list[Bound] = []
        if isinstance(container, Name):
            found = scope.lookup(f"{container.id}[]")
        elif isinstance(container, Member):
            found = self._member_elements(container, scope)
        sequence = self.target(container, scope)
        if isinstance(sequence.node, Sequence | Mapping):
            values = sequence.node.items
            listed = [one[1] if isinstance(one, tuple) else one for one in values]
            found = [*found, *(Bound(one, sequence.scope) for one in listed)]
        return self._first(found)

    def _member_elements(self, container: Member, scope: Scope) -> list[Bound]:
        own = isinstance(container.of, Name) and container.of.id == scope.self_name
        owner = scope.owner if own else None
        if owner is None:
            instance = self.what(container.of, scope)
            owner = instance.scope if isinstance(instance, Instance) else None
        return [] if owner is None else self.members(owner, f"{container.name}[]")


def _many(found: Thing | Instance | None, many: bool = True) -> Thing | Instance | None:
    if isinstance(found, Thing):
        return Thing(found.kind, found.module, found.made, found.name, found.options, many)
    return None if found is None else Instance(found.scope, many)


def _calls_super(node: Call) -> bool:
    function = node.function
    if isinstance(function, Name):
        return function.id == "super" and bool(node.arguments)
    return (
        isinstance(function, Member)
        and function.name == "__init__"
        and isinstance(function.of, Call)
        and isinstance(function.of.function, Name)
        and function.of.function.id == "super"
    )


def _is_none(node: Node) -> bool:
    return isinstance(node, Constant) and node.value is None


def _name_of(node: Name | Member) -> str:
    return node.id if isinstance(node, Name) else node.name


def _joined(module: str, name: str) -> str:
    return f"{module}.{name}" if module and name and not module.endswith(".") else module + name
