"""The inventory of a tree: recognizers look at the code, and what they find is noted here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .files import File
from .findings import KINDS, Finding
from .libraries import QUEUE_MODULES, top_module
from .modules import Bound, Module, Scope
from .packages import Package
from .project import Project
from .resolver import Resolver, Thing
from .syntax import Foreign, Node
from .texts import Json, Texts

UNKNOWN: Json = {"computed": "?"}


@dataclass(slots=True)
class Registration:
    """What the code says of a queue where it makes or registers it."""

    package: Package
    finding: Finding
    queue: Json
    prefix: Json = None
    default_options: dict[str, Json] = field(default_factory=dict)


@dataclass(slots=True)
class Handler:
    """A function that processes jobs."""

    function: Bound
    decorated: Bound


class Scanner:
    """What recognizers ask, and where they leave what they found."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.resolver = Resolver(project)
        self.texts = Texts(self.resolver)
        self.findings: dict[str, list[Finding]] = {one.folder: [] for one in project.packages}
        self.registrations: list[Registration] = []
        self.handlers: list[Handler] = []
        self._at: dict[tuple[str, int, int], Finding] = {}

    def note(self, kind: str, place: Bound, what: str, hint: str = "", by: str = "", **more: Json) -> Finding:
        """Notes a finding at a piece of code, once.

        Args:
            kind: one of `KINDS`.
            place: the code.
            what: one sentence without a full stop.
            hint: what to do, if it is not what the kind says.
            by: who does it, if it is not `rewrite` for Python's bullmq where the kind says so.
            more: `queue`, `jobs`, `options`, `default_options`.
        """
        module = place.scope.module
        key = (kind, id(module), place.node.start)
        if key in self._at:
            return self._at[key]
        line, column = module.position(place.node)
        rewritten = KINDS[kind].rewritten and module.language == "python"
        doer = by or ("rewrite" if rewritten else "person")
        made = Finding(kind, module.file.shown, line, column, what, doer, hint or KINDS[kind].hint)
        for name, value in more.items():
            setattr(made, name, value)
        self._at[key] = made
        self.findings[self.project.package_of(module.file).folder].append(made)
        return made

    def note_in(self, file: File, made: Finding) -> None:
        """Notes a finding in a file that is no code."""
        self.findings[self.project.package_of(file).folder].append(made)

    # --- what code says of queues and jobs

    def queue_of(self, thing: Thing) -> Json:
        """The name of a queue: a text, `{"computed": code}`, `{"pattern": text}`, or None where nothing tells."""
        return None if thing.name is None else self.texts.text(*thing.name).json()

    def options_of(self, bound: Bound | None) -> dict[str, Json]:
        """The options that a mapping gives."""
        return {} if bound is None else self.texts.options(*bound)

    def entry(self, bound: Bound | None, name: str) -> Bound | None:
        """One value of a mapping."""
        return None if bound is None else self.resolver.entries(*bound).get(name)

    def defaults_of(self, thing: Thing) -> dict[str, Json]:
        """The default job options of a queue, from where it is made or registered."""
        own = self.entry(thing.options, "defaultJobOptions")
        if own is not None:
            return self.options_of(own)
        queue = self.queue_of(thing)
        known = [one.default_options for one in self.registrations if one.queue == queue and isinstance(queue, str)]
        return known[0] if len(known) == 1 else {}

    def library_name(self, place: Bound, node: Node) -> tuple[str, str]:
        """The package and the last name of something of a queue library; two empty texts for all else."""
        found = self.resolver.target(node, place.scope)
        if not isinstance(found.node, Foreign):
            return "", ""
        package = top_module(found.node.module, found.scope.module.language == "python")
        parts = [one for one in found.node.name.split(".") if one != "default"]
        return (package, parts[-1] if parts else "") if package in QUEUE_MODULES else ("", "")

    def register(self, place: Bound, finding: Finding, queue: Json, options: Bound | None) -> None:
        """Notes that a queue is made or registered here."""
        prefix = self.entry(options, "prefix")
        made = Registration(self.project.package_of(place.scope.module.file), finding, queue)
        made.prefix = None if prefix is None else self.texts.json(*prefix)
        made.default_options = self.options_of(self.entry(options, "defaultJobOptions"))
        self.registrations.append(made)


def inside(module: Module, function: Node) -> Iterator[Bound]:
    """The places of a module that are in a function."""
    for place in module.places:
        if function.start <= place.node.start and place.node.end <= function.end and place.node is not function:
            yield place


def scope_of(bound: Bound) -> Scope:
    """The scope inside a function or class."""
    return bound.scope.module.scopes[id(bound.node)]


def shown(value: Json) -> str:
    """A name as a report shows it."""
    if isinstance(value, dict):
        if "pattern" in value:
            return f"computed: {value['pattern']}"
        return "not known here" if value == UNKNOWN else f"computed ({value.get('computed')})"
    return "not known here" if value is None else str(value)
