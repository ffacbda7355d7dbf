"""What a `pyproject.toml` says of the files below it: the plugin's name, and how long lines may be."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from ..codemods.rewriting import Project


class Projects:
    """The project of each file.

    Args:
        plugin_name: goes before what any pyproject.toml says.
    """

    def __init__(self, plugin_name: str | None) -> None:
        self._plugin_name = plugin_name
        self._known: dict[Path, Project] = {}

    def of(self, path: Path) -> Project:
        """That of the nearest pyproject.toml above the file."""
        folder = path.resolve().parent
        if folder not in self._known:
            self._known[folder] = self._find(folder)
        return self._known[folder]

    def _find(self, folder: Path) -> Project:
        for place in (folder, *folder.parents):
            document = _read(place / "pyproject.toml")
            if document is not None:
                name = _text(document, "project", "name") or _text(document, "tool", "poetry", "name")
                return Project(self._plugin_name or name, _width(document))
        return Project(self._plugin_name)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None


def _value(document: dict[str, Any], *names: str) -> object:
    found: Any = document
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _text(document: dict[str, Any], *names: str) -> str | None:
    found = _value(document, *names)
    return found.strip() if isinstance(found, str) and found.strip() else None


def _width(document: dict[str, Any]) -> int:
    for tool in ("ruff", "black"):
        found = _value(document, "tool", tool, "line-length")
        if isinstance(found, int) and not isinstance(found, bool):
            return found
    return 88
