"""What adds jobs: `add`, `addBulk`, and flows."""

from __future__ import annotations

from collections.abc import Iterator

from ..methods import JOB_OPTIONS, OTHER_JOB_OPTIONS
from ..modules import Bound
from ..resolver import Thing
from ..scanner import Scanner, scope_of, shown
from ..syntax import Call, Function, Mapping, Member, Sequence, Spread, argument
from ..texts import Json

_BULL = ("bull", "@nestjs/bull")


def added(scanner: Scanner, place: Bound) -> None:
    """`queue.add(…)`."""
    called = _called(scanner, place, ("add", "addBulk"))
    if called is None:
        return
    node, thing, method = called
    if thing.kind == "flow":
        scanner.note("flow", place, f"flow: {place.scope.module.excerpt(node)}")
    elif thing.kind == "queue" and method == "add":
        job, options, hint = _read(scanner, place, node, thing)
        _note(scanner, place, thing, "producer", [job], options, hint)
    elif thing.kind == "queue":
        _bulk(scanner, place, node, thing)


def _called(scanner: Scanner, place: Bound, methods: tuple[str, ...]) -> tuple[Call, Thing, str] | None:
    node = place.node
    if not isinstance(node, Call) or not isinstance(node.function, Member) or node.function.name not in methods:
        return None
    thing = scanner.resolver.thing(node.function.of, place.scope)
    return None if thing is None else (node, thing, node.function.name)


def _read(scanner: Scanner, place: Bound, node: Call, thing: Thing) -> tuple[Json, Bound | None, str]:
    """Job name and options of an `add`, and a hint where the name is missing."""
    scope = place.scope
    if any(isinstance(one, Spread) for one in node.arguments):
        return {"computed": scope.module.excerpt(node)}, None, ""
    if thing.module in _BULL and not _named(scanner, node, place):
        if _may_be_named(scanner, node, place):
            return {"computed": scope.module.excerpt(node.arguments[0])}, None, "Bull takes a job name or data here."
        options = argument(node, 1)
        return None, None if options is None else Bound(options, scope), "The job has no name: invent one."
    name, options = argument(node, 0, "name"), argument(node, 2, "opts")
    job: Json = {"computed": "?"} if name is None else scanner.texts.text(name, scope).json()
    return job, None if options is None else Bound(options, scope), ""


def _named(scanner: Scanner, node: Call, place: Bound) -> bool:
    """Whether Bull takes the first argument for the job's name: it is a text."""
    if len(node.arguments) > 2:
        return True
    return len(node.arguments) == 2 and not scanner.texts.text(node.arguments[0], place.scope).opaque


def _may_be_named(scanner: Scanner, node: Call, place: Bound) -> bool:
    if len(node.arguments) != 2:
        return False
    first, second = (scanner.resolver.target(one, place.scope).node for one in node.arguments)
    if isinstance(first, Mapping):
        return False
    keys = set(scanner.resolver.entries(second, place.scope))
    return not (keys and keys <= JOB_OPTIONS | set(OTHER_JOB_OPTIONS))


def _bulk(scanner: Scanner, place: Bound, node: Call, thing: Thing) -> None:
    jobs: list[Json] = []
    options: dict[str, Json] = {}
    given = argument(node, 0, "jobs")
    found = [] if given is None else list(_elements(scanner, Bound(given, place.scope)))
    for one in found:
        name = scanner.entry(one, "name")
        job: Json = {"computed": "?"} if name is None else scanner.texts.text(*name).json()
        if job not in jobs:
            jobs.append(job)
        options |= scanner.options_of(scanner.entry(one, "opts"))
    _note_read(scanner, place, thing, "bulk-producer", jobs or [{"computed": "?"}], options, "")


def _elements(scanner: Scanner, bound: Bound) -> Iterator[Bound]:
    """The jobs of a bulk: those of a list, a comprehension, or what `.map(…)` makes."""
    end = scanner.resolver.target(*bound)
    if isinstance(end.node, Sequence):
        yield from (Bound(one, end.scope) for one in end.node.items)
    elif isinstance(end.node, Call) and isinstance(end.node.function, Member) and end.node.function.name == "map":
        function = scanner.resolver.target(end.node.arguments[0], end.scope) if end.node.arguments else None
        if function is not None and isinstance(function.node, Function):
            inner = scope_of(function)
            yield from (Bound(one, inner) for one in inner.returns)


def _note(
    scanner: Scanner, place: Bound, thing: Thing, kind: str, jobs: list[Json], options: Bound | None, hint: str
) -> None:
    _note_read(scanner, place, thing, kind, jobs, scanner.options_of(options), hint)


def _note_read(
    scanner: Scanner,
    place: Bound,
    thing: Thing,
    kind: str,
    jobs: list[Json],
    options: dict[str, Json],
    hint: str,
) -> None:
    queue, defaults = scanner.queue_of(thing), scanner.defaults_of(thing)
    trouble = without_equivalent({**defaults, **options})
    names = ", ".join("(no name)" if one is None else shown(one) for one in jobs)
    scanner.note(
        kind,
        place,
        f"adds {names} to queue {shown(queue)}",
        " ".join(filter(None, (hint, *trouble))),
        "person" if trouble or hint else "",
        queue=queue,
        jobs=jobs,
        options=options,
        default_options=defaults,
    )


def without_equivalent(options: dict[str, Json]) -> list[str]:
    """A sentence for each job option that the managed queue has no equivalent for."""
    found = [f"`{name}`: {OTHER_JOB_OPTIONS[name]}." for name in options if name in OTHER_JOB_OPTIONS]
    backoff = options.get("backoff")
    if isinstance(backoff, dict):
        kind = backoff.get("type", "fixed")
        if isinstance(kind, str) and kind not in ("fixed", "exponential"):
            found.append(f"`backoff`: there is no type {kind!r}, only fixed and exponential.")
        if "jitter" in backoff:
            found.append("`backoff`: there is no jitter.")
    if "..." in options:
        found.append("Options come from elsewhere: see what they hold.")
    return found
