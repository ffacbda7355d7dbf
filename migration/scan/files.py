"""The files of a tree: which are read, and why the others are not."""

from __future__ import annotations

import codecs
import io
import os
import stat
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

#: Folders of what others wrote, or what is made from the sources.
SKIPPED_FOLDERS = frozenset(
    {"node_modules", ".venv", "venv", "dist", "build", ".git", "__pycache__", ".tox", ".nox", ".mypy_cache", ".next"}
)
PYTHON = frozenset({".py", ".pyi", ".pyw"})
DIALECTS = {
    ".ts": "ts",
    ".mts": "ts",
    ".cts": "ts",
    ".tsx": "tsx",
    ".js": "js",
    ".mjs": "js",
    ".cjs": "js",
    ".jsx": "js",
}
_MANIFESTS = frozenset({"package.json", "pyproject.toml", "setup.cfg", "setup.py", "Pipfile", "tsconfig.json"})
DEFAULT_LIMIT = 1024 * 1024


@dataclass(frozen=True, slots=True)
class File:
    """A file to read: where it is, what a report calls it, and the folder that was asked for."""

    path: Path
    shown: str
    root: Path


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file or folder that was not read, or not wholly; `reason` is one word for machines."""

    path: str
    reason: str
    detail: str = ""


class UnreadableError(Exception):
    """Why a file can't be read."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason, self.detail = reason, detail


@dataclass(slots=True)
class Tree:
    """What was found under the paths that were asked for."""

    sources: list[File] = field(default_factory=list)
    manifests: list[File] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    folders: Counter[str] = field(default_factory=Counter)

    def skip(self, path: str, reason: str, detail: str = "") -> None:
        """Notes that something was not read."""
        self.skipped.append(Skipped(path, reason, detail))


def find_files(paths: list[Path], everything: bool = False) -> Tree:
    """Source files and manifests under the paths, each once, in the order of their names.

    Args:
        paths: files and folders.
        everything: also look into folders like `node_modules`.
    """
    tree = Tree()
    seen: set[str] = set()
    for path in paths:
        if path.is_dir():
            _walk(tree, path, everything, seen)
        elif _unseen(path, seen):
            _take(tree, File(path, path.as_posix(), path.parent))
    return tree


def _unseen(path: Path, seen: set[str]) -> bool:
    real = os.path.realpath(path)
    if real in seen:
        return False
    seen.add(real)
    return True


def _walk(tree: Tree, root: Path, everything: bool, seen: set[str]) -> None:
    if not _unseen(root, seen):
        return
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        folders: list[Path] = []
        for entry in _entries(tree, folder):
            path = folder / entry.name
            kind = _kind(tree, entry, root, seen)
            if kind == "folder" and entry.name in SKIPPED_FOLDERS and not everything:
                tree.folders[entry.name] += 1
            elif kind == "folder" and _unseen(path, seen):
                folders.append(path)
            elif kind == "file" and _unseen(path, seen):
                _take(tree, File(path, path.as_posix(), root))
        waiting += reversed(folders)


def _entries(tree: Tree, folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        tree.skip(folder.as_posix(), "unreadable", error.strerror or str(error))
        return []


def _kind(tree: Tree, entry: os.DirEntry[str], root: Path, seen: set[str]) -> str:
    """`folder`, `file`, or nothing. A link is followed to where nobody has been yet, and not out of the tree."""
    if not entry.is_symlink():
        return "folder" if entry.is_dir() else "file" if entry.is_file() else ""
    shown, real = Path(entry.path).as_posix(), os.path.realpath(entry.path)
    if not os.path.exists(real):
        tree.skip(shown, "symlink", "its target does not exist, or it is a loop of links")
    elif not Path(real).is_relative_to(os.path.realpath(root)):
        tree.skip(shown, "symlink", "leads out of the tree")
    elif not os.path.isdir(real):
        return "file" if os.path.isfile(real) else ""
    elif real not in seen:
        return "folder"
    else:
        loop = Path(os.path.realpath(Path(entry.path).parent)).is_relative_to(real)
        tree.skip(shown, "symlink", "a loop: leads to a folder that it is in" if loop else "its target is read already")
    return ""


def _take(tree: Tree, file: File) -> None:
    name, suffix = file.path.name, file.path.suffix
    if name in _MANIFESTS or (name.startswith("requirements") and suffix == ".txt"):
        tree.manifests.append(file)
    if suffix in PYTHON or suffix in DIALECTS:
        tree.sources.append(file)


def read_text(path: Path, limit: int) -> str:
    """The text of a file, with line feeds alone at the ends of its lines.

    Raises:
        UnreadableError: it is too big, binary, in another encoding than it says, or can't be opened.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError("unreadable", "no regular file")
        if status.st_size > limit:
            raise UnreadableError("too-big", f"{status.st_size} bytes; --max-size allows {limit}")
        raw = path.read_bytes()
    except OSError as error:
        raise UnreadableError("unreadable", error.strerror or str(error)) from error
    text = _decoded(raw, _encoding(path, raw))
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _encoding(path: Path, raw: bytes) -> str:
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in raw:
        raise UnreadableError("binary")
    if path.suffix not in PYTHON:
        return "utf-8-sig"
    try:
        return tokenize.detect_encoding(io.BytesIO(raw).readline)[0]
    except SyntaxError as error:
        raise UnreadableError("encoding", error.msg) from error


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UnreadableError("encoding", f"line {line}: not {encoding.removesuffix('-sig')}") from error


def lines_of(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text, numbered from 1."""
    return enumerate(text.split("\n"), 1)
