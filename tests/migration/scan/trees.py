"""Trees that tests write, and what `scan` finds in them."""

from __future__ import annotations

from pathlib import Path

from migration.scan.findings import Finding
from migration.scan.inventory import Inventory, take


def scanned(folder: Path, files: dict[str, str]) -> Inventory:
    """The inventory of a folder with these files."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return take([folder])


def found(folder: Path, files: dict[str, str] | str, *kinds: str) -> list[Finding]:
    """The findings of some kinds in a folder with these files; a text is the one file `a.ts`."""
    inventory = scanned(folder, {"a.ts": files} if isinstance(files, str) else files)
    return [one for one in inventory.findings if one.kind in kinds]


def only(folder: Path, files: dict[str, str] | str, kind: str) -> Finding:
    """The one finding of a kind."""
    listed = found(folder, files, kind)
    assert len(listed) == 1, [f"{one.line}: {one.what}" for one in listed]
    return listed[0]
