"""The inventory of some paths, put together from what the recognizers find."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .files import DEFAULT_LIMIT, Skipped, find_files
from .findings import Finding
from .modules import Bound
from .packages import Package, find_packages
from .project import Project
from .recognize import dependencies, jobs, processors, producers, queues
from .recognize import redis as redis_clients
from .recognize.requests import Requests
from .scanner import Scanner, shown
from .texts import Json

VERSION = 1
_DEFINES = ("queue", "registration", "processor", "injection", "listener")
_LOOKERS = (
    queues.imports,
    queues.injected,
    queues.closed,
    queues.unknown,
    producers.added,
    jobs.called,
    jobs.decorated,
    redis_clients.clients,
)


@dataclass(slots=True)
class Queue:
    """A queue of a plugin, as all its code tells of it."""

    name: Json
    prefix: Json = None
    jobs: list[Json] = field(default_factory=list)
    producers: int = 0
    processors: int = 0
    concurrency: list[Json] = field(default_factory=list)
    default_options: dict[str, Json] = field(default_factory=dict)
    file: str = ""
    line: int = 0
    column: int = 0


@dataclass(slots=True)
class Plugin:
    """What was found in one plugin."""

    name: str
    path: str
    queues: list[Queue]
    findings: list[Finding]


@dataclass(slots=True)
class Inventory:
    """What was found, and what was not read."""

    paths: list[str]
    plugins: list[Plugin]
    files: int
    skipped: list[Skipped]
    folders: Counter[str]

    @property
    def findings(self) -> list[Finding]:
        """All findings."""
        return [one for plugin in self.plugins for one in plugin.findings]

    def document(self) -> dict[str, Any]:
        """The inventory as JSON; its form is described in README.md and changes with `version`."""
        found = self.findings
        return {
            "version": VERSION,
            "paths": self.paths,
            "plugins": [
                {
                    "name": one.name,
                    "path": one.path,
                    "queues": [asdict(queue) for queue in one.queues],
                    "findings": [{"step": each.step, **asdict(each)} for each in one.findings],
                }
                for one in self.plugins
            ],
            "files": self.files,
            "skipped": [asdict(one) for one in self.skipped],
            "skipped_folders": dict(sorted(self.folders.items())),
            "totals": {
                "findings": len(found),
                "by_step": {str(step): sum(one.step == step for one in found) for step in range(1, 9)},
                "by": dict(sorted(Counter(one.by for one in found).items())),
            },
        }


def take(paths: list[Path], everything: bool = False, limit: int = DEFAULT_LIMIT) -> Inventory:
    """The inventory of the trees under some paths.

    Args:
        paths: files and folders.
        everything: also read folders like `node_modules`.
        limit: the size in bytes up to which a file is read.
    """
    tree = find_files(paths, everything)
    project = Project(tree, find_packages(tree, paths, limit), limit)
    project.load_marked()
    scanner = Scanner(project)
    _look(scanner)
    plugins = [made for one in project.packages if (made := _plugin(scanner, one)) is not None]
    skipped = sorted(set(tree.skipped), key=lambda one: (one.path, one.reason))
    read = len(tree.sources) - sum(module is None for module in project.modules.values())
    return Inventory([path.as_posix() for path in paths], plugins, read, skipped, tree.folders)


def _look(scanner: Scanner) -> None:
    for look in (processors.processed, processors.decorated, processors.listed):  # they tell which parameters are jobs
        for place in _places(scanner):
            look(scanner, place)
    places = _places(scanner)  # with those of modules that were only found to be needed
    for place in places:
        queues.made(scanner, place)
        queues.registered(scanner, place)
    for look in _LOOKERS:
        for place in places:
            look(scanner, place)
    _look_for_keys(scanner, places)
    requests = Requests(scanner)
    for handler in scanner.handlers:
        requests.look(handler)
    dependencies.dropped(scanner)


def _places(scanner: Scanner) -> list[Bound]:
    return [place for module in scanner.project.loaded() for place in module.places]


def _look_for_keys(scanner: Scanner, places: list[Bound]) -> None:
    keys = redis_clients.Keys(scanner)
    for place in places:
        keys.look(place)
    keys.finish()


def _plugin(scanner: Scanner, package: Package) -> Plugin | None:
    found = scanner.findings[package.folder]
    made = _queues(scanner, package, found)
    found += [_old_queue(one) for one in made]
    found.sort(key=lambda one: (one.step, one.file, one.line, one.column, one.kind))
    return Plugin(package.name, package.shown, made, found) if found else None


def _queues(scanner: Scanner, package: Package, found: list[Finding]) -> list[Queue]:
    made: dict[str, Queue] = {}
    order = {kind: number for number, kind in enumerate(_DEFINES)}
    about = [one for one in found if one.queue is not None]
    for one in sorted(about, key=lambda one: (order.get(one.kind, 9), one.file, one.line)):
        queue = made.setdefault(shown(one.queue), Queue(one.queue, file=one.file, line=one.line, column=one.column))
        _add(queue, one)
    for known in scanner.registrations:
        if known.package is package and shown(known.queue) in made:
            queue = made[shown(known.queue)]
            queue.prefix = queue.prefix or known.prefix
            queue.default_options = queue.default_options or known.default_options
    return [made[name] for name in sorted(made)]


def _add(queue: Queue, found: Finding) -> None:
    queue.jobs += [job for job in found.jobs if job not in queue.jobs]
    queue.producers += found.kind in ("producer", "bulk-producer")
    if found.kind == "processor":
        queue.processors += 1
        queue.concurrency += [value for name, value in found.options.items() if name.startswith("concurrency")]


def _old_queue(queue: Queue) -> Finding:
    prefix = queue.prefix if isinstance(queue.prefix, str) else None
    flag = f" --prefix {prefix}" if prefix else ""
    if isinstance(queue.name, str):
        what, by = f"queue {queue.name}", "drain"
        hint = f"`migrate drain REDIS_URL --queue {queue.name}{flag}`"
    else:
        what, by = f"queue {shown(queue.name)}", "person"
        hint = "Its name is made while the code runs: find the queues in Redis (their keys end in `:meta`), drain each."
    if queue.prefix is not None and prefix is None:
        hint += f" The prefix is {shown(queue.prefix)}."
    return Finding("old-queue", queue.file, queue.line, queue.column, what, by, hint, queue=queue.name)
