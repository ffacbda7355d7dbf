"""Plugins: the folders that have a manifest, what they are called, and what they depend on."""

from __future__ import annotations

import configparser
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .files import File, Tree, UnreadableError, lines_of, read_text
from .syntax import Call, Constant, Mapping, Member, Name, Node, Sequence, UnparsableError, argument, descendants

_NAMING = ("package.json", "pyproject.toml", "setup.cfg", "setup.py")
_NODE_GROUPS = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies", "bundledDependencies")


@dataclass(frozen=True, slots=True)
class Dependency:
    """A dependency that a manifest names."""

    file: File
    line: int
    column: int
    name: str
    group: str
    node: bool


@dataclass(slots=True, eq=False)
class Package:
    """A plugin: a folder with a manifest, or the folder that was asked for."""

    folder: str
    shown: str
    name: str = ""
    main: str = ""
    dependencies: list[Dependency] = field(default_factory=list)
    paths: dict[str, list[str]] = field(default_factory=dict)

    def aliases(self, module: str) -> Iterator[str]:
        """The files that tsconfig's `paths` lead a module name to."""
        for pattern, places in self.paths.items():
            before, star, after = pattern.partition("*")
            if star and module.startswith(before) and module.endswith(after):
                inner = module[len(before) : len(module) - len(after)]
                yield from (os.path.normpath(os.path.join(self.folder, one.replace("*", inner))) for one in places)
            elif module == pattern:
                yield from (os.path.normpath(os.path.join(self.folder, one)) for one in places)


def find_packages(tree: Tree, paths: list[Path], limit: int) -> list[Package]:
    """The plugins of a tree, in the order of their folders. What can't be read of a manifest is noted as skipped."""
    packages: dict[str, Package] = {}
    for path in paths:
        folder = path if path.is_dir() else path.parent
        real = os.path.abspath(folder)
        packages[real] = Package(real, folder.as_posix(), "")
    for file in tree.manifests:
        folder = file.path.parent
        real = os.path.abspath(folder)
        if file.path.name in _NAMING and real not in packages:
            packages[real] = Package(real, folder.as_posix())
    for file in tree.manifests:
        _read(tree, file, packages, limit)
    for package in packages.values():
        package.name = package.name or os.path.basename(package.folder)
    return sorted(packages.values(), key=lambda one: one.folder)


def _read(tree: Tree, file: File, packages: dict[str, Package], limit: int) -> None:
    folder = os.path.abspath(file.path.parent)
    while folder not in packages:
        folder = os.path.dirname(folder)
    package = packages[folder]
    try:
        text = read_text(file.path, limit)
        reader = _READERS.get(file.path.name, _requirements)
        reader(package, file, text)
    except UnreadableError as error:
        tree.skip(file.shown, error.reason, error.detail)
    except (UnparsableError, tomllib.TOMLDecodeError, configparser.Error) as error:
        tree.skip(file.shown, "syntax", " ".join(str(error).split()))


# --- JavaScript's


def _json(text: str) -> Mapping:
    from .javascript_syntax import parse_javascript

    tree, broken = parse_javascript(f"({text}\n)")  # JSON, comments allowed, is an expression
    first = tree.parts[0] if len(tree.parts) == 1 else None
    if broken is not None or not isinstance(first, Mapping):
        raise UnparsableError("no JSON object")
    return first


def _entries(node: Node | None) -> Iterator[tuple[Constant, Node]]:
    for key, value in node.items if isinstance(node, Mapping) else ():
        if isinstance(key, Constant):
            yield key, value


def _entry(node: Node, name: str) -> Node | None:
    return next((value for key, value in _entries(node) if key.value == name), None)


def _text(node: Node | None) -> str:
    return node.value if isinstance(node, Constant) and isinstance(node.value, str) else ""


def _package_json(package: Package, file: File, text: str) -> None:
    manifest = _json(text)
    package.name = _text(_entry(manifest, "name")) or package.name
    package.main = _text(_entry(manifest, "main"))
    for group in _NODE_GROUPS:
        for key, _ in _entries(_entry(manifest, group)):
            line, column = _place(text, key.start - 1)
            package.dependencies.append(Dependency(file, line, column, str(key.value), group, True))


def _place(text: str, offset: int) -> tuple[int, int]:
    """Line and column of a byte, both from 1."""
    before = text.encode()[:offset].decode(errors="replace")
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _tsconfig(package: Package, file: File, text: str) -> None:
    options = _entry(_json(text), "compilerOptions")
    if options is None:
        return
    base = os.path.relpath(os.path.join(file.path.parent, _text(_entry(options, "baseUrl")) or "."), package.folder)
    for key, value in _entries(_entry(options, "paths")):
        places = value.items if isinstance(value, Sequence) else []
        package.paths[str(key.value)] = [os.path.join(base, _text(one)) for one in places if _text(one)]


# --- Python's


def _requirement(package: Package, file: File, line: int, column: int, text: str, group: str) -> None:
    name = _name_of(text)
    if name:
        package.dependencies.append(Dependency(file, line, column, name, group, False))


def _name_of(requirement: str) -> str:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(requirement).name.lower().replace("_", "-")
    except InvalidRequirement:
        return ""


def _requirements(package: Package, file: File, text: str) -> None:
    for number, line in lines_of(text):
        written = line.split(" #")[0].split(" --")[0].strip().removesuffix("\\").strip()
        if written and written[0] not in "#-":
            column = len(line) - len(line.lstrip()) + 1
            _requirement(package, file, number, column, written, file.path.name)


def _pyproject(package: Package, file: File, text: str) -> None:
    document = tomllib.loads(text)
    project = _table(document, "project")
    poetry = _table(document, "tool", "poetry")
    package.name = package.name or str(project.get("name") or poetry.get("name") or "")
    groups = {"dependencies": project.get("dependencies"), **_table(project, "optional-dependencies")}
    groups |= _table(document, "dependency-groups")
    for group, listed in groups.items():
        for written in listed if isinstance(listed, list) else []:
            if isinstance(written, str):
                _requirement(package, file, *_line_of(text, written), written, group)
    tables = {"dependencies": _table(poetry, "dependencies"), "dev": _table(poetry, "dev-dependencies")}
    tables |= {name: _table(poetry, "group", name, "dependencies") for name in _table(poetry, "group")}
    _named(package, file, text, tables)


def _pipfile(package: Package, file: File, text: str) -> None:
    document = tomllib.loads(text)
    _named(package, file, text, {one: _table(document, one) for one in ("packages", "dev-packages")})


def _named(package: Package, file: File, text: str, tables: dict[str, dict[str, Any]]) -> None:
    for group, table in tables.items():
        for name in table:
            _requirement(package, file, *_line_of(text, name, key=True), name, group)


def _table(document: Any, *names: str) -> dict[str, Any]:
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document if isinstance(document, dict) else {}


def _line_of(text: str, written: str, key: bool = False) -> tuple[int, int]:
    """Where a value stands in a file whose parser does not tell: the first line that has it, or line 1."""
    for number, line in lines_of(text):
        bare = line.strip().lstrip("\"'")
        if bare.startswith(written) if key else written in line and not bare.startswith("#"):
            return number, line.index(written) + 1
    return 1, 1


def _setup_cfg(package: Package, file: File, text: str) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    package.name = package.name or parser.get("metadata", "name", fallback="")
    listed = {"install_requires": parser.get("options", "install_requires", fallback="")}
    if parser.has_section("options.extras_require"):
        listed |= dict(parser.items("options.extras_require"))
    for group, written in listed.items():
        for one in filter(None, map(str.strip, written.replace(";\n", "\n").splitlines())):
            _requirement(package, file, *_line_of(text, one), one, group)


def _setup_py(package: Package, file: File, text: str) -> None:
    from .python_syntax import parse_python

    for node in descendants(parse_python(text)):
        if isinstance(node, Call) and _called(node.function) == "setup":
            package.name = package.name or _text(argument(node, 99, "name"))
            for group in ("install_requires", "extras_require", "tests_require"):
                listed = argument(node, 99, group)
                for one in descendants(listed) if listed is not None else ():
                    _requirement(package, file, *_place(text, one.start), _text(one), group)


def _called(node: Node) -> str:
    return node.id if isinstance(node, Name) else node.name if isinstance(node, Member) else ""


_READERS = {
    "package.json": _package_json,
    "tsconfig.json": _tsconfig,
    "pyproject.toml": _pyproject,
    "Pipfile": _pipfile,
    "setup.cfg": _setup_cfg,
    "setup.py": _setup_py,
}
