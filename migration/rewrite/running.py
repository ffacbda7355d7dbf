"""One run: reads, rewrites, writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..codemods.rewriting import Rewritten, placed, rewrite
from .projects import Projects
from .report import Report, diff
from .sources import Skipped, Source, read_tree
from .writing import ChangedError
from .writing import write as write_file


def run(paths: Sequence[Path], *, write: bool, plugin_name: str | None, max_bytes: int) -> Report:
    """Rewrites what is under the paths; on disk only if `write`."""
    tree = read_tree(paths, max_bytes)
    projects = Projects(plugin_name)
    results = rewrite([one.module for one in tree.sources], lambda module: projects.of(module.path))
    sources = {one.path: one for one in tree.sources}
    report = Report(write, skipped=list(tree.skipped))
    for result in results:
        _add(report, result, sources[result.module.path])
    return report


def _add(report: Report, result: Rewritten, source: Source) -> None:
    path = source.path
    if result.error is not None:
        report.skipped.append(Skipped(path, result.error))
    if result.changed and not _write(report, result, source):
        result = Rewritten(result.module, result.module.text, result.findings)
    if result.changed:
        report.diffs[path] = diff(path, result.module.text, result.text)
    report.findings += [(path, one) for one in (placed(result) if report.written else result.findings)]


def _write(report: Report, result: Rewritten, source: Source) -> bool:
    """Whether the change is to be shown: it is on disk, or would be."""
    if not report.written:
        return True
    try:
        write_file(source, result.text)
    except (OSError, UnicodeEncodeError, ChangedError) as error:
        report.skipped.append(Skipped(source.path, f"not written: {error}"))
        return False
    return True
