"""The modules of a tree: which are parsed, how one names another, and which plugin each belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from .files import DIALECTS, PYTHON, File, Tree, UnreadableError, read_text
from .libraries import has_things
from .modules import Module
from .packages import Package
from .syntax import Call, Constant, Foreign, Import, UnparsableError

#: A file that has none of these, in any case, can't be about queues or Redis by itself.
_MARKS = ("bull", "redis", "queue", "valkey")
#: A file that has one of these may use a queue that another file gives it.
_CALLS = (".add", ".remove", ".process", ".getjob", ".close", ".client", ".set(", ".get(", ".eval(")
_SEPARATED = bytes(one if chr(one).isalnum() or one == 95 or one > 127 else 32 for one in range(256))
_INDEX = ("index", "__init__")


class Project:
    """Finds and parses modules; each is read once."""

    def __init__(self, tree: Tree, packages: list[Package], limit: int) -> None:
        self.tree = tree
        self.packages = packages
        self.limit = limit
        self.files: dict[str, File] = {_path(one): one for one in tree.sources}
        self.modules: dict[str, Module | None] = {}
        self._named = {one.name: one for one in packages}
        self._found: dict[tuple[str, str], str | None] = {}
        self._quiet: dict[str, frozenset[bytes]] = {}

    def load_marked(self) -> list[Module]:
        """The modules that are about queues or Redis, and those that use what these give away."""
        for path, file in self.files.items():
            self._load_if_marked(path, file)
        carriers = {_path(module.file) for module in self.loaded() if _imports_library(module)}
        fresh = self._spread(self.loaded(), carriers) | carriers
        while fresh:
            names = {one for path in fresh for one in self._import_words(path)}
            using = [path for path in self._quiet if self._may_use(path, names)]
            for path in using:
                del self._quiet[path]
            fresh = self._spread([module for path in using if (module := self.load(path)) is not None], carriers)
        return self.loaded()

    def _import_words(self, path: str) -> list[tuple[frozenset[bytes], str]]:
        """What a file under a folder has words of if it uses a module: its name, beside an index what that gives."""
        file, module = self.files[path].path, self.modules.get(path)
        if file.stem not in _INDEX or module is None:
            return [(_words(file.stem, file), "")]
        given = module.scope.names if module.language == "python" else module.exports
        beside = [(_words(name, file), os.path.dirname(path)) for name in given if name.strip("*=")]
        return [(_words(file.parent.name, file), ""), *beside]

    def _may_use(self, path: str, names: set[tuple[frozenset[bytes], str]]) -> bool:
        words = self._quiet[path]
        return any(name <= words and path.startswith(folder) for name, folder in names)

    def _spread(self, modules: list[Module], carriers: set[str]) -> set[str]:
        """Adds to the carriers the modules that import from one: they may give away what they got. Tells which."""
        imported = {_path(module.file): set(self._imported(module)) for module in modules}
        added: set[str] = set()
        while True:
            fresh = {path for path, others in imported.items() if path not in carriers and others & carriers}
            if not fresh:
                return added
            added |= fresh
            carriers |= fresh

    def _imported(self, module: Module) -> Iterator[str]:
        """The files of the tree that a module imports from."""
        names = set(module.stars)
        for place in module.places:
            if isinstance(place.node, Import):
                within = [_submodule(place.node.module, name) for name in place.node.names.values()]
                names |= {place.node.module, *(within if module.language == "python" else [])}
            elif isinstance(place.node, Call) and place.node.arguments:
                names |= {str(one.value) for one in place.node.arguments[:1] if isinstance(one, Constant)}
        for given in module.exports.values():
            names |= {one.node.module for one in given if isinstance(one.node, Foreign)}
        yield from filter(None, (self.path_of(name, module) for name in names))

    def loaded(self) -> list[Module]:
        """The parsed modules, in the order of their files."""
        return [module for path in self.files if (module := self.modules.get(path)) is not None]

    def _load_if_marked(self, path: str, file: File) -> None:
        try:
            text = read_text(file.path, self.limit)
        except UnreadableError as error:
            self.tree.skip(file.shown, error.reason, error.detail)
            self.modules[path] = None
            return
        lower = text.lower()
        if any(mark in lower for mark in _MARKS):
            self.modules[path] = self._parsed(file, text)
        elif any(call in lower for call in _CALLS):
            self._quiet[path] = _words(text, file.path)

    def load(self, path: str) -> Module | None:
        """The module of a file of the tree, or None if it can't be read."""
        if path not in self.modules:
            file = self.files[path]
            try:
                self.modules[path] = self._parsed(file, read_text(file.path, self.limit))
            except UnreadableError as error:
                self.tree.skip(file.shown, error.reason, error.detail)
                self.modules[path] = None
        return self.modules[path]

    def _parsed(self, file: File, text: str) -> Module | None:
        try:
            if file.path.suffix in PYTHON:
                from .python_syntax import parse_python

                return Module(file, "python", text.encode(errors="replace"), parse_python(text))
            return self._javascript(file, text)
        except UnparsableError as error:
            where = "" if error.line is None else f"line {error.line}: "
            self.tree.skip(file.shown, "syntax", f"{where}{error}")
        except RecursionError:
            self.tree.skip(file.shown, "syntax", "nested too deeply")
        return None

    def _javascript(self, file: File, text: str) -> Module:
        from .javascript_syntax import parse_javascript

        dialect = DIALECTS[file.path.suffix]
        made, broken = parse_javascript(text, dialect)
        if broken is not None:
            self.tree.skip(file.shown, "syntax", f"line {broken}: not understood; what stands around it was read")
        return Module(file, "javascript" if dialect == "js" else "typescript", text.encode(errors="replace"), made)

    def package_of(self, file: File) -> Package:
        """The plugin of a file: the package of the nearest folder that has one."""
        folder = os.path.dirname(os.path.abspath(file.path))
        inside = [one for one in self.packages if folder == one.folder or folder.startswith(one.folder + os.sep)]
        return max(inside, key=lambda one: len(one.folder))

    # --- modules by their names

    def find(self, name: str, seen_from: Module) -> Module | None:
        """The module of that name as another one sees it, or None if it is not of the tree."""
        path = self.path_of(name, seen_from)
        return None if path is None else self.load(path)

    def path_of(self, name: str, seen_from: Module) -> str | None:
        """The file of a module, without reading it."""
        path = _path(seen_from.file)
        key = (name, path)
        if key not in self._found:
            folder, python = os.path.dirname(path), seen_from.language == "python"
            paths = self._python_paths(name, folder, seen_from) if python else self._javascript_paths(name, folder)
            self._found[key] = next((one for one in paths if one in self.files), None)
        return self._found[key]

    def _python_paths(self, name: str, folder: str, seen_from: Module) -> Iterable[str]:
        level = len(name) - len(name.lstrip("."))
        inner = name.lstrip(".").replace(".", os.sep)
        if level:
            start = os.path.normpath(os.path.join(folder, *[".."] * (level - 1)))
            yield from _python_files(os.path.join(start, inner) if inner else start)
            return
        root = os.path.abspath(seen_from.file.root)
        if has_things(name, python=True):  # `import redis` in a module that is called redis too means the library
            return
        while inner:
            yield from _python_files(os.path.join(folder, inner))
            yield from _python_files(os.path.join(folder, "src", inner))
            if folder == root or folder == os.path.dirname(folder):
                return
            folder = os.path.dirname(folder)

    def _javascript_paths(self, name: str, folder: str) -> Iterable[str]:
        if name.startswith("."):
            yield from _javascript_files(os.path.normpath(os.path.join(folder, name)))
            return
        package = self._named.get(name)
        if package is not None:
            for inner in (package.main, "src/index", "index", "src"):
                if inner:
                    yield from _javascript_files(os.path.normpath(os.path.join(package.folder, inner)))
        for own in self.packages:
            if folder.startswith(own.folder):
                for aliased in own.aliases(name):
                    yield from _javascript_files(aliased)


def _path(file: File) -> str:
    return os.path.abspath(file.path)


def _submodule(module: str, name: str) -> str:
    return f"{module}{name}" if module.endswith(".") else f"{module}.{name}"


def _words(text: str, path: Path) -> frozenset[bytes]:
    """What stands between anything but letters, digits and underscores; and the language, as a word of its own."""
    language = b"#python" if path.suffix in PYTHON else b"#javascript"
    return frozenset([language, *text.encode(errors="replace").translate(_SEPARATED).split()])


def _imports_library(module: Module) -> bool:
    """Whether a module imports a queue or Redis library, so that it may give away what it makes with it."""
    python = module.language == "python"
    given = (one.node.arguments[:1] for one in module.places if isinstance(one.node, Call))
    names = [str(one.value) for first in given for one in first if isinstance(one, Constant)]
    names += [one.node.module for one in module.places if isinstance(one.node, Import)]
    return any(has_things(name, python) for name in names)


def _python_files(base: str) -> list[str]:
    return [base + ".py", os.path.join(base, "__init__.py")]


def _javascript_files(base: str) -> list[str]:
    stem, suffix = os.path.splitext(base)
    written = {".js": (".ts", ".tsx"), ".mjs": (".mts",), ".cjs": (".cts",), ".jsx": (".tsx",)}.get(suffix, ())
    return [
        base,
        *(stem + other for other in written),
        *(base + one for one in DIALECTS),
        *(os.path.join(base, "index" + one) for one in DIALECTS),
    ]
