"""What processes jobs: workers, `queue.process`, and processors of NestJS."""

from __future__ import annotations

from ..methods import WORKER_HINTS
from ..modules import Bound
from ..resolver import Thing
from ..scanner import Handler, Scanner, inside, scope_of, shown
from ..syntax import (
    Binary,
    Call,
    Class,
    Foreign,
    Function,
    Item,
    Mapping,
    Match,
    Member,
    Node,
    Parameter,
    Sequence,
    argument,
)
from ..texts import Json

_DEPTH = 4
_EACH = frozenset({"map", "forEach", "filter", "flatMap", "some", "every", "find"})


def processed(scanner: Scanner, place: Bound) -> None:
    """`new Worker(NAME, process, options)`, and Bull's `queue.process(name, concurrency, process)`."""
    node, scope = place
    if not isinstance(node, Call):
        return
    thing = scanner.resolver.thing(node, scope, "worker")
    if thing is not None and thing.made is not None and thing.made.node is node:
        _worker(scanner, place, node, thing)
    elif isinstance(node.function, Member) and node.function.name == "process":
        queue = scanner.resolver.thing(node.function.of, scope, "queue")
        if queue is not None:
            _process(scanner, place, node, queue)


def _worker(scanner: Scanner, place: Bound, node: Call, thing: Thing) -> None:
    queue, options = scanner.queue_of(thing), scanner.options_of(thing.options)
    processor = argument(node, 1, "processor")
    _note(scanner, place, thing, queue, [], options, processor)


def _process(scanner: Scanner, place: Bound, node: Call, thing: Thing) -> None:
    """Bull 4: any of name and concurrency may be left out."""
    names: list[Json] = []
    options: dict[str, Json] = {}
    for given in node.arguments[:-1]:
        value = scanner.texts.json(given, place.scope)
        if isinstance(value, int | float):
            options["concurrency"] = value
        elif isinstance(value, str) or (isinstance(value, dict) and "pattern" in value):
            names.append(value)
        elif given is not node.arguments[0]:
            options["concurrency"] = value
        elif len(node.arguments) > 2:
            names.append(value)
        else:
            options["name or concurrency"] = value
    processor = node.arguments[-1] if node.arguments else None
    _note(scanner, place, thing, scanner.queue_of(thing), names, options, processor)


def _note(
    scanner: Scanner,
    place: Bound,
    thing: Thing,
    queue: Json,
    names: list[Json],
    options: dict[str, Json],
    processor: Node | None,
) -> None:
    function, outside = _function(scanner, place, processor)
    if function is not None:
        job = Thing("job", thing.module, name=thing.name)
        told = _handles(scanner, function, job, place)
        names = names or told
    by = "person" if function is None or not isinstance(queue, str) else ""
    _note_processor(scanner, place, queue, names, options, outside, by)


def _note_processor(
    scanner: Scanner, place: Bound, queue: Json, names: list[Json], options: dict[str, Json], outside: str, by: str
) -> None:
    options = {name: value for name, value in options.items() if name != "connection"}
    trouble = [f"`{name}`: {WORKER_HINTS[name]}." for name in options if name in WORKER_HINTS]
    if not names:
        trouble.append("It does not tell job names apart: a handler is declared for each name that producers add.")
    scanner.note(
        "processor",
        place,
        f"processes {', '.join(map(_shown_job, names)) or 'all jobs'} of queue {shown(queue)}{outside}",
        " ".join(trouble),
        "person" if any(name in WORKER_HINTS for name in options) else by,
        queue=queue,
        jobs=names,
        options=options,
    )


def _shown_job(name: Json) -> str:
    return "jobs of any name" if name in (None, "*") else shown(name)


def _function(scanner: Scanner, place: Bound, processor: Node | None) -> tuple[Bound | None, str]:
    """The function of a processor; else what the report says instead."""
    if processor is None:
        return None, ", processor: not known here"
    found = scanner.resolver.target(processor, place.scope)
    if isinstance(found.node, Call):  # partial(process, …), process.bind(this)
        function = found.node.function
        bound = isinstance(function, Member) and function.name == "bind"
        partial = scanner.resolver.foreign_name(function, found.scope) == "partial"
        inner = function.of if bound and isinstance(function, Member) else None
        inner = found.node.arguments[0] if partial and found.node.arguments else inner
        found = found if inner is None else scanner.resolver.target(inner, found.scope)
    if isinstance(found.node, Function):
        return found, ""
    file = scanner.texts.text(processor, place.scope)
    if file.known is not None:
        return _exported(scanner, place, file.known), f", in the file {file.known}"
    return None, f", processor: computed ({place.scope.module.excerpt(processor)})"


def _exported(scanner: Scanner, place: Bound, file: str) -> Bound | None:
    module = scanner.project.find(file if file.startswith(".") else f"./{file}", place.scope.module)
    if module is None:
        return None
    found = scanner.resolver.target(Foreign(0, 0, f"./{module.file.path.name}", "default"), module.scope)
    return found if isinstance(found.node, Function) else None


def _handles(scanner: Scanner, function: Bound, job: Thing, decorated: Bound) -> list[Json]:
    """Notes a function as a handler, and gives the job names that it tells apart."""
    scanner.handlers.append(Handler(function, decorated))
    names: list[Json] = []
    _follow(scanner, function, job, 0, names, set())
    return names


def _follow(
    scanner: Scanner, function: Bound, job: Thing, place: int, names: list[Json], seen: set[int], depth: int = 0
) -> None:
    """Marks a parameter as the job, there and in the functions that it is given to."""
    node = function.node
    if not isinstance(node, Function) or id(node) in seen or depth > _DEPTH:
        return
    seen.add(id(node))
    parameters = own_parameters(function)
    if place >= len(parameters):
        return
    module = function.scope.module
    scanner.resolver.mark_job(parameters[place], module, job)
    for found in inside(module, node):
        for name in _told_apart(scanner, found):
            if name not in names:
                names.append(name)
        if isinstance(found.node, Call):
            _pass_on(scanner, found, found.node, job, names, seen, depth)


def _pass_on(
    scanner: Scanner, place: Bound, node: Call, job: Thing, names: list[Json], seen: set[int], depth: int
) -> None:
    for number, given in enumerate(node.arguments):
        found = scanner.resolver.thing(given, place.scope, "job")
        if found is not None:
            for callee in scanner.resolver.callees(node, place.scope):
                _follow(scanner, callee, job, number, names, seen, depth + 1)


def own_parameters(function: Bound) -> list[Parameter]:
    """The parameters of a function that a caller gives."""
    node = function.node
    if not isinstance(node, Function):
        return []
    inner = scope_of(function)
    method = inner.module.language == "python" and inner.owner is not None and inner.parent is inner.owner
    static = any(getattr(one, "id", "") == "staticmethod" for one in node.decorators)
    return node.parameters[1:] if method and not static else node.parameters


def _told_apart(scanner: Scanner, place: Bound) -> list[Json]:
    """The job names of `job.name === NAME`, a `switch`, and a mapping that is asked for the name."""
    node, scope = place
    if isinstance(node, Match) and _is_name(scanner, node.subject, place):
        return [scanner.texts.text(one, scope).json() for one in node.cases]
    if isinstance(node, Binary) and node.operator in ("==", "!=", "in"):
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if _is_name(scanner, one, place):
                return _listed(scanner, Bound(other, scope))
    if isinstance(node, Item) and node.key is not None and _is_name(scanner, node.key, place):
        return _keys(scanner, Bound(node.of, scope))
    if isinstance(node, Call) and isinstance(node.function, Member) and node.function.name == "get":
        name = argument(node, 0)
        if name is not None and _is_name(scanner, name, place):
            return _keys(scanner, Bound(node.function.of, scope))
    return []


def _listed(scanner: Scanner, bound: Bound) -> list[Json]:
    end = scanner.resolver.target(*bound)
    values = [Bound(one, end.scope) for one in end.node.items] if isinstance(end.node, Sequence) else [bound]
    return [scanner.texts.text(*one).json() for one in values]


def _keys(scanner: Scanner, bound: Bound) -> list[Json]:
    end = scanner.resolver.target(*bound)
    if not isinstance(end.node, Mapping):
        return []
    return [scanner.texts.text(key, end.scope).json() for key, _ in end.node.items if key is not None]


def _is_name(scanner: Scanner, node: Node, place: Bound) -> bool:
    """Whether it is the name of a job."""
    end = scanner.resolver.target(node, place.scope)
    if not isinstance(end.node, Member) or end.node.name != "name":
        return False
    return scanner.resolver.thing(end.node.of, end.scope, "job") is not None


def listed(scanner: Scanner, place: Bound) -> None:
    """`jobs.map((job) => …)`: marks the parameter as the job that it is."""
    node, scope = place
    if not isinstance(node, Call) or not isinstance(node.function, Member) or node.function.name not in _EACH:
        return
    given = argument(node, 0)
    if not isinstance(given, Function) or not given.parameters:
        return
    jobs = scanner.resolver.what(node.function.of, scope)
    if isinstance(jobs, Thing) and jobs.many and jobs.kind == "job":
        scanner.resolver.mark_job(given.parameters[0], scope.module, Thing("job", jobs.module, name=jobs.name))


# --- NestJS


def decorated(scanner: Scanner, place: Bound) -> None:
    """`@Processor(NAME, {concurrency})` with `process`, or with methods that `@Process(JOB)` decorates."""
    node = place.node
    if not isinstance(node, Class):
        return
    for decorator in node.decorators:
        if isinstance(decorator, Call):
            module, name = scanner.library_name(place, decorator.function)
            if name == "Processor":
                _processor(scanner, place, node, decorator, module)


def _processor(scanner: Scanner, place: Bound, node: Class, decorator: Call, module: str) -> None:
    scope = place.scope
    first, second = argument(decorator, 0), argument(decorator, 1)
    mapping = first is not None and isinstance(scanner.resolver.target(first, scope).node, Mapping)
    given = first if mapping else second
    options = {} if given is None else scanner.options_of(Bound(given, scope))
    named = scanner.entry(Bound(first, scope), "name") if mapping and first is not None else None
    if first is not None and not mapping:
        named = Bound(first, scope)
    options.pop("name", None)
    queue = None if named is None else scanner.texts.text(*named).json()
    job = Thing("job", module, name=named)
    jobs = _method_jobs(scanner, place, node, job, options)
    _note_processor(scanner, Bound(decorator, scope), queue, jobs, options, f", class {node.name}", "person")


def _method_jobs(scanner: Scanner, place: Bound, node: Class, job: Thing, options: dict[str, Json]) -> list[Json]:
    names: list[Json] = []
    inner = scope_of(place)
    for method in node.body:
        if not isinstance(method, Function):
            continue
        process = [one for one in method.decorators if _is_process(scanner, place, one)]
        if not process and method.name != "process":
            continue
        told = _handles(scanner, Bound(method, inner), job, place)
        for one in process:
            name, concurrency = _process_options(scanner, Bound(one, inner))
            told = [name] if name is not None or len(told) == 0 else told
            options |= {} if concurrency is None else {f"concurrency of {shown(name or method.name)}": concurrency}
        names += [one for one in told if one not in names]
    return names


def _is_process(scanner: Scanner, place: Bound, decorator: Node) -> bool:
    return isinstance(decorator, Call) and scanner.library_name(place, decorator.function)[1] == "Process"


def _process_options(scanner: Scanner, decorator: Bound) -> tuple[Json, Json]:
    given = argument(decorator.node, 0) if isinstance(decorator.node, Call) else None
    if given is None:
        return None, None
    value = scanner.texts.json(given, decorator.scope)
    if isinstance(value, dict) and not {"computed", "pattern"} & set(value):
        return value.get("name"), value.get("concurrency")
    return value, None
