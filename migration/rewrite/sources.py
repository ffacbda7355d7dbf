"""Python files of a tree: found, read and decoded; and what can't be read is said to be so."""

from __future__ import annotations

import ast
import io
import os
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import libcst as cst

from ..codemods.analysis.scopes import Module

SKIPPED_FOLDERS = {
    ".eggs",
    ".git",
    ".hg",
    ".mypy_cache",
    ".nox",
    ".pytest_cache",
    ".ruff_cache",
    ".tox",
    ".venv",
    "__pycache__",
    "build",
    "dist",
    "node_modules",
    "site-packages",
    "venv",
}
_BOM = "\ufeff"


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was left out; `harmless` if there is nothing wrong with it."""

    path: Path
    reason: str
    harmless: bool = False


@dataclass
class Source:
    """A file that was read, and how to write it again."""

    path: Path
    data: bytes
    encoding: str
    module: Module

    def encoded(self, text: str) -> bytes:
        """A text as the file's bytes. UnicodeEncodeError where its encoding can't hold it."""
        return text.encode(self.encoding)


@dataclass
class Tree:
    """All files of the given paths, and those that were left out."""

    sources: list[Source] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)


def read_tree(paths: Sequence[Path], max_bytes: int) -> Tree:
    """Reads each Python file once.

    Args:
        max_bytes: a longer file is left out.
    """
    tree = Tree()
    seen: set[Path] = set()
    for root in paths:
        for path in _files(root, tree):
            real = path.resolve()
            if real not in seen:
                seen.add(real)
                _read(path, root, max_bytes, tree)
    return tree


def _files(root: Path, tree: Tree) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    for folder, names, files in os.walk(root, onerror=lambda error: _unreadable(error, tree)):
        place = Path(folder)
        for name in sorted(names):
            if (place / name).is_symlink() and name not in SKIPPED_FOLDERS:
                tree.skipped.append(Skipped(place / name, "a symbolic link to a folder, not followed", True))
        names[:] = sorted(one for one in names if one not in SKIPPED_FOLDERS)
        for name in sorted(files):
            if name.endswith(".py") and _is_ours(place / name, root, tree):
                yield place / name


def _unreadable(error: OSError, tree: Tree) -> None:
    tree.skipped.append(Skipped(Path(error.filename), error.strerror or "can't be read"))


def _is_ours(path: Path, root: Path, tree: Tree) -> bool:
    """A link to a file of the tree is met there; others are not touched."""
    if not path.is_symlink():
        return True
    try:
        inside = path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError) as error:  # a loop is a RuntimeError up to Python 3.12
        tree.skipped.append(Skipped(path, f"a symbolic link that leads nowhere: {_said(error)}"))
        return False
    if not inside:
        tree.skipped.append(Skipped(path, "a symbolic link to a file outside of the tree", True))
    return False


def _said(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _read(path: Path, root: Path, max_bytes: int, tree: Tree) -> None:
    try:
        size = path.stat().st_size
        if size > max_bytes:
            tree.skipped.append(Skipped(path, f"{size} bytes, more than {max_bytes} (--max-bytes)"))
            return
        data = path.read_bytes()
        encoding, text = _decoded(data)
        module = Module(path, _parts(path, root), text, ast.parse(text), path.name == "__init__.py")
        if "bullmq" in text:
            _check_kept(text)
    except OSError as error:
        tree.skipped.append(Skipped(path, _said(error)))
    except (UnicodeDecodeError, LookupError) as error:
        tree.skipped.append(Skipped(path, f"not in its encoding: {error}"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        tree.skipped.append(Skipped(path, f"not parsed: {_first_line(error)}"))
    else:
        tree.sources.append(Source(path, data, encoding, module))


def _first_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.msg}, line {error.lineno}"
    return str(error).partition("\n")[0] or type(error).__name__


def _decoded(data: bytes) -> tuple[str, str]:
    """The encoding by cookie or byte-order mark (kept as `utf-8-sig`), and the text."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return encoding, data.decode(encoding).removeprefix(_BOM)


def _check_kept(text: str) -> None:
    """ValueError for a file that would not come back as it was."""
    try:
        same = cst.parse_module(text).code == text
    except cst.ParserSyntaxError as error:
        raise ValueError(str(error.message)) from error
    if not same:
        raise ValueError("its line ends can't be kept")


def _parts(path: Path, root: Path) -> tuple[str, ...]:
    """The dotted name: from the outermost package around the file, else from the folder that was given."""
    top = path.parent
    while (top / "__init__.py").is_file() and top.parent != top:
        top = top.parent
    folder = root if root.is_dir() else root.parent
    if top == path.parent and path.is_relative_to(folder):
        top = folder
    parts = path.relative_to(top).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts
