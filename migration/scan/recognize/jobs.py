"""Methods of jobs and queues: removals, states, events, and what else has no place in a plugin any more."""

from __future__ import annotations

from ..methods import (
    CLOSES,
    JOB_METHODS,
    LISTENS,
    QUEUE_METHODS,
    QUIET_METHODS,
    REMOVES_JOB,
    REMOVES_MANY,
    REWRITTEN_JOB_METHODS,
)
from ..modules import Bound
from ..resolver import Thing
from ..scanner import Scanner, shown
from ..syntax import Call, Class, Function, Member, argument

_OTHERWISE_KNOWN = frozenset({"add", "addBulk", "process"}) | CLOSES
_EVENTS = ("OnWorkerEvent", "OnQueueEvent", "OnGlobalQueue", "OnQueue", "QueueEventsListener")


def called(scanner: Scanner, place: Bound) -> None:
    """A method of a job, a queue, or of what tells of a queue's events."""
    node, scope = place
    if not isinstance(node, Call) or not isinstance(node.function, Member):
        return
    thing = scanner.resolver.thing(node.function.of, scope)
    if thing is None or thing.kind not in ("job", "queue", "worker", "events"):
        return
    method = node.function.name
    if method in LISTENS and thing.kind != "job":
        _listens(scanner, place, node, thing)
    elif (thing.kind, method) in REMOVES_JOB:
        scanner.note("removal", place, f"{scope.module.excerpt(node)}", queue=scanner.queue_of(thing))
    elif thing.kind == "queue":
        _queue_method(scanner, place, thing, method)
    elif thing.kind == "job" and method in JOB_METHODS:
        python = scope.module.language == "python"
        by = "rewrite" if python and method in REWRITTEN_JOB_METHODS else ""
        scanner.note("job-method", place, _what(place, node), JOB_METHODS[method], by)


def _what(place: Bound, node: Call) -> str:
    return f"{place.scope.module.excerpt(node.function)}(…)"


def _queue_method(scanner: Scanner, place: Bound, thing: Thing, method: str) -> None:
    if method in _OTHERWISE_KNOWN | QUIET_METHODS:
        return
    queue = scanner.queue_of(thing)
    what = f"{place.scope.module.excerpt(place.node)}, queue {shown(queue)}"
    if method in REMOVES_MANY:
        scanner.note("bulk-removal", place, what, queue=queue)
    else:
        scanner.note("queue-method", place, what, QUEUE_METHODS.get(method, ""), queue=queue)


def _listens(scanner: Scanner, place: Bound, node: Call, thing: Thing) -> None:
    event = argument(node, 0)
    name = "?" if event is None else shown(scanner.texts.text(event, place.scope).json())
    queue = scanner.queue_of(thing)
    scanner.note("listener", place, f"listens to {name} of queue {shown(queue)}", queue=queue)


def decorated(scanner: Scanner, place: Bound) -> None:
    """`@OnWorkerEvent('failed')`, `@OnQueueFailed()`, `@QueueEventsListener(NAME)`."""
    node = place.node
    if not isinstance(node, Class | Function):
        return
    for decorator in node.decorators:
        if not isinstance(decorator, Call):
            continue
        name = scanner.library_name(place, decorator.function)[1]
        if name.startswith(_EVENTS):
            given = argument(decorator, 0)
            event = "" if given is None else f" {shown(scanner.texts.text(given, place.scope).json())}"
            scanner.note("listener", Bound(decorator, place.scope), f"@{name}{event} of {node.name}")
