"""What was, or would be, rewritten: diffs, and what a person has to know."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from ..codemods.analysis.findings import Finding
from .sources import Skipped

VERSION = 1
_PIPE_WIDTH = 140
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass
class Report:
    """The outcome of a run.

    Attributes:
        diffs: by path, of what changed or would change.
        findings: with their lines in the files as they are on disk now.
        written: whether the changes are on disk.
    """

    written: bool
    diffs: dict[Path, str] = field(default_factory=dict)
    findings: list[tuple[Path, Finding]] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether a file could not be dealt with. Links that are not followed are no failure, but loops are."""
        return any(not one.harmless for one in self.skipped)

    @property
    def to_decide(self) -> int:
        return sum(finding.level == "decide" for _, finding in self.findings)


def diff(path: Path, before: str, after: str) -> str:
    """The change as a unified diff."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{path}", f"b/{path}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def as_document(report: Report) -> dict[str, Any]:
    """The report for machines."""
    return {
        "version": VERSION,
        "written": report.written,
        "files": [{"path": str(path), "diff": text} for path, text in report.diffs.items()],
        "findings": [_finding(path, one) for path, one in report.findings],
        "skipped": [{"path": str(one.path), "reason": one.reason} for one in report.skipped],
    }


def _finding(path: Path, finding: Finding) -> dict[str, Any]:
    return {
        "path": str(path),
        "line": finding.line,
        "column": finding.column,
        "level": finding.level,
        "rule": finding.reason.rule,
        "why": finding.reason.why,
        "what_to_do": finding.reason.what_to_do,
    }


def show(report: Report, *, as_json: bool) -> None:
    """Prints the report."""
    if as_json:
        click.echo(json.dumps(as_document(report), ensure_ascii=True))
        return
    for text in report.diffs.values():
        _show_diff(text)
    _show_findings("To decide", [one for one in report.findings if one[1].level == "decide"])
    _show_findings("To know", [one for one in report.findings if one[1].level == "note"])
    _show_table("Left out", ("File", "Why"), [(str(one.path), one.reason) for one in report.skipped])
    click.echo(_summary(report))


def _summary(report: Report) -> str:
    files = f"{len(report.diffs)} file{'' if len(report.diffs) == 1 else 's'}"
    verb = "rewritten" if report.written else "would be rewritten"
    parts = [f"{files} {verb}", f"{report.to_decide} to decide", f"{len(report.skipped)} left out"]
    hint = "" if report.written or not report.diffs else " Run it with --write to do it."
    return f"{', '.join(parts)}.{hint}"


def _safe(text: str) -> str:
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _is_plain() -> bool:
    return not sys.stdout.isatty() or bool(os.environ.get("NO_COLOR"))


_COLORS = {"+": "green", "-": "red", "@": "cyan"}


def _show_diff(text: str) -> None:
    for line in text.replace("\r", "").split("\n")[:-1]:
        color = None if _is_plain() or line[:3] in ("+++", "---") else _COLORS.get(line[:1])
        click.echo(click.style(_safe(line), fg=color) if color else _safe(line))


def _show_findings(title: str, findings: Sequence[tuple[Path, Finding]]) -> None:
    rows = [(f"{path}:{one.line}", one.reason.why, one.reason.what_to_do) for path, one in findings]
    _show_table(title, ("Where", "Why", "What to do"), rows)


def _show_table(title: str, columns: Iterable[str], rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    made.padding = (0, 1, 0, 0)
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(_safe(cell)) for cell in row))
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else _PIPE_WIDTH
    console = Console(color_system=None if _is_plain() else "auto", width=width, highlight=False)
    console.print(made)
    console.print()
