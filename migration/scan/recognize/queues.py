"""Imports of queue libraries, queues, their registration in modules, and their injection."""

from __future__ import annotations

from ..libraries import NEST_MODULES, QUEUE_MODULES, top_module
from ..methods import CLOSES
from ..modules import Bound
from ..scanner import Scanner, scope_of, shown
from ..syntax import Assign, Call, Class, Constant, Foreign, Function, Import, Member, Name, Node, Parameter, argument
from ..texts import Json

_MADE = {
    "queue": ("queue", "", "queue"),
    "events": ("listener", "No events: do it in the handler, or read the state with `get_job`.", "events of queue"),
    "flow": ("flow", "", "flow producer"),
    "scheduler": ("queue", "Remove it: delays and retries need no object of their own.", "scheduler of queue"),
}
_PER_KEY = (
    "One queue for each key: use one queue for all. Where the order of a key's jobs matters, take a lock for the key, "
    "and `raise Defer(ms)` where another has it."
)
#: Options that say nothing of the queue, or that a report says elsewhere.
_NOT_SHOWN = ("connection", "redis", "defaultJobOptions", "useFactory", "inject", "imports")


def imports(scanner: Scanner, place: Bound) -> None:
    """`import … from 'bullmq'`, `from bullmq import …`, `require('bullmq')`."""
    node, scope = place
    python = scope.module.language == "python"
    if isinstance(node, Import):
        module, names = node.module, ", ".join(_shown_name(*pair) for pair in node.names.items())
    elif isinstance(node, Call):
        given = scanner.resolver.target(node, scope).node if _requires(node) else None
        if not isinstance(given, Foreign) or given.name:
            return
        module, names = given.module, ""
    else:
        return
    if top_module(module, python) in QUEUE_MODULES:
        scanner.note("import", place, f"import of {module}" + (f": {names}" if names else ""))


def _requires(node: Call) -> bool:
    given = node.arguments[0] if len(node.arguments) == 1 else None
    return isinstance(given, Constant) and isinstance(given.value, str) and given.value in QUEUE_MODULES


def _shown_name(local: str, name: str) -> str:
    return local if name in (local, "", ".", "default") else f"{name} as {local}"


def made(scanner: Scanner, place: Bound) -> None:
    """`new Queue(…)`, `Queue(…)`, `new Bull(…)`, `new QueueEvents(…)`, `new FlowProducer(…)`."""
    node, scope = place
    if not isinstance(node, Call):
        return
    thing = scanner.resolver.thing(node, scope)
    if thing is None or thing.kind not in _MADE or thing.made is None or thing.made.node is not node:
        return
    kind, hint, called = _MADE[thing.kind]
    queue = scanner.queue_of(thing)
    options = scanner.options_of(thing.options)
    defaults = scanner.options_of(scanner.entry(thing.options, "defaultJobOptions"))
    options = {name: value for name, value in options.items() if name not in _NOT_SHOWN}
    what = called if thing.kind == "flow" else f"{called}: {shown(queue)}"
    by = "" if thing.kind == "queue" and isinstance(queue, str) else "person"
    if thing.kind == "queue" and isinstance(queue, dict) and "pattern" in queue:
        hint = _PER_KEY
    found = scanner.note(kind, place, what, hint, by, queue=None if thing.kind == "flow" else queue, options=options)
    found.default_options = defaults
    if thing.kind == "queue":
        scanner.register(place, found, queue, thing.options)


def registered(scanner: Scanner, place: Bound) -> None:
    """`BullModule.forRoot(…)`, `registerQueue(…)` and their relatives."""
    node, scope = place
    if not isinstance(node, Call) or not isinstance(node.function, Member):
        return
    package, name = scanner.library_name(place, node.function)
    if package not in NEST_MODULES or scanner.library_name(place, node.function.of)[1] != "BullModule":
        return
    if not name.startswith("registerQueue"):
        given = argument(node, 0)
        options = {} if given is None else scanner.options_of(_configured(scanner, Bound(given, scope)))
        scanner.note("registration", place, f"BullModule.{name}", options=_without_code(options))
        return
    for given in node.arguments:
        _register(scanner, Bound(given, scope), name)


def _register(scanner: Scanner, given: Bound, name: str) -> None:
    named = scanner.entry(given, "name")
    queue = None if named is None else scanner.texts.text(*named).json()
    options = _configured(scanner, given)
    seen = scanner.options_of(options)
    defaults = scanner.options_of(scanner.entry(options, "defaultJobOptions"))
    seen.pop("name", None)
    what = f"BullModule.{name}: {shown(queue)}"
    found = scanner.note("registration", given, what, queue=queue, options=_without_code(seen))
    found.default_options = defaults
    scanner.register(given, found, queue, options)


def _configured(scanner: Scanner, given: Bound) -> Bound:
    """The mapping with the options; that of `registerQueueAsync` is what its factory returns."""
    factory = scanner.entry(given, "useFactory")
    if factory is None:
        return given
    function = scanner.resolver.target(*factory)
    if isinstance(function.node, Function):
        returns = scope_of(function).returns
        if len(returns) == 1:
            return Bound(returns[0], scope_of(function))
    return given


def _without_code(options: dict[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in options.items() if key not in _NOT_SHOWN}


def injected(scanner: Scanner, place: Bound) -> None:
    """`@InjectQueue(NAME)` at a parameter or field, and parameters and fields with a queue's type."""
    node = place.node
    if isinstance(node, Function):
        inner = scope_of(place)
        for parameter in node.parameters:
            _injected(scanner, Bound(parameter, inner), parameter.decorators)
    elif isinstance(node, Class):
        inner = scope_of(place)
        for member in node.body:
            if isinstance(member, Assign) and member.decorators:
                _injected(scanner, Bound(member, inner), member.decorators)


def _injected(scanner: Scanner, place: Bound, decorators: list[Node]) -> None:
    for decorator in decorators:
        thing = scanner.resolver.injected(decorator, place.scope)
        if thing is not None and thing.kind in ("queue", "flow"):
            queue = scanner.queue_of(thing)
            called = "flow producer" if thing.kind == "flow" else "queue"
            scanner.note("injection", place, f"injected {called}: {shown(queue)}", queue=queue)


def closed(scanner: Scanner, place: Bound) -> None:
    """`queue.close()`, `worker.close()`."""
    node, scope = place
    if not isinstance(node, Call) or not isinstance(node.function, Member) or node.function.name not in CLOSES:
        return
    thing = scanner.resolver.thing(node.function.of, scope)
    if thing is not None and thing.kind in ("queue", "worker", "events", "flow", "scheduler"):
        by = "" if thing.kind in ("queue", "worker") and node.function.name == "close" else "person"
        scanner.note("close", place, f"{scope.module.excerpt(node.function)}()", by=by)


def unknown(scanner: Scanner, place: Bound) -> None:
    """A call like a queue's on something that is only called like one."""
    node, scope = place
    if not isinstance(node, Call) or not isinstance(node.function, Member):
        return
    called = node.function.of
    name = called.id if isinstance(called, Name) else called.name if isinstance(called, Member) else ""
    if node.function.name not in ("add", "addBulk", "getJob") or not name.lower().endswith("queue"):
        return
    if scanner.resolver.what(called, scope) is None and _nothing_known(scanner, Bound(called, scope)):
        scanner.note("unknown-queue", place, scope.module.excerpt(node.function) + "(…)")


def _nothing_known(scanner: Scanner, place: Bound) -> bool:
    """Whether the code does not say at all what something is: it is a parameter, or comes from elsewhere."""
    end = scanner.resolver.target(*place).node
    return isinstance(end, Parameter | Member | Name) and not (
        isinstance(end, Parameter) and end.annotation is not None
    )
