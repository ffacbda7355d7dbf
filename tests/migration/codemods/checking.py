"""Checks a rewrite by the text before and the text after."""

from __future__ import annotations

import ast
from pathlib import Path
from textwrap import dedent

from migration.codemods.analysis.scopes import Module
from migration.codemods.rewriting import Project, Rewritten, rewrite

PLUGIN = "shop"


def rewritten(files: dict[str, str], plugin_name: str | None = PLUGIN, width: int = 100) -> dict[str, Rewritten]:
    """The files of a tree, by their paths, with what became of those that have to do with bullmq."""
    modules = [_module(path, dedent(text).lstrip("\n")) for path, text in files.items()]
    return {str(one.module.path): one for one in rewrite(modules, lambda _: Project(plugin_name, width))}


def _module(path: str, text: str) -> Module:
    parts = Path(path).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    return Module(Path(path), parts[:-1] if is_package else parts, text, ast.parse(text), is_package)


def check(before: str, after: str, *rules: str) -> None:
    """One file becomes another; a second time nothing changes.

    Args:
        rules: of what a person must decide, in the order of lines.
    """
    assert check_all({"mail.py": before}, {"mail.py": after}) == list(rules)


def check_all(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The same of a tree; gives the rules of what a person must decide."""
    files = {path: dedent(text).lstrip("\n") for path, text in before.items()}
    results = rewritten(files)
    files.update({path: one.text for path, one in results.items()})
    assert {path: files[path] for path in after} == {path: dedent(text).lstrip("\n") for path, text in after.items()}
    again = rewritten(files)
    assert {path: one.text for path, one in again.items()} == {path: files[path] for path in again}
    found = [one for path in sorted(results) for one in results[path].findings]
    return [one.reason.rule for one in found if one.level == "decide"]


def decided(before: str) -> list[str]:
    """What a person must decide about a file, as the comments say it; the file is left as it is but for them."""
    text = dedent(before).lstrip("\n")
    result = rewritten({"mail.py": text})["mail.py"]
    kept = [line for line in result.text.split("\n") if not line.lstrip().startswith(("# xpert-mq:", "#   "))]
    assert "\n".join(kept) == text
    return [one.reason.why for one in result.findings if one.level == "decide"]
