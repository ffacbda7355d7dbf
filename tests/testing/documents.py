"""The blocks of the documentation, in their order."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(document: str, language: str) -> list[str]:
    """The fenced blocks of a language in `docs/<document>`."""
    return [text for kind, text in _BLOCK.findall((DOCS / document).read_text()) if kind == language]


def files(document: str) -> dict[str, str]:
    """The blocks that begin with a file's name, by its module's name."""
    named = ((re.match(r"# (\w+)\.py\n", text), text) for text in blocks(document, "python"))
    return {found[1]: text for found, text in named if found}


def broken_links(document: str) -> list[str]:
    """The links to files that are not there."""
    targets = re.findall(r"\]\(([^)#:]+)\)", (DOCS / document).read_text())
    return [target for target in targets if not (DOCS / target).exists()]
