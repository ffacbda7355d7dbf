"""`migrate rewrite`: Python on bullmq becomes Python on the managed queue.

Only click is imported here: what the command needs is imported when it runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from .report import Report

_MAX_BYTES = 1024 * 1024

EPILOG = """\b
Exit codes:
  0  nothing is left to decide, and with --check nothing would change
  1  a person must decide something, or --check and something would change
  2  not done: wrong usage, or a file that could not be read, parsed or written
     (the others were)
"""


@click.command("rewrite", epilog=EPILOG)
@click.argument(
    "paths", nargs=-1, required=True, metavar="PATH...", type=click.Path(exists=True, path_type=Path, readable=True)
)
@click.option("--write", is_flag=True, help="Change the files. Without it only a diff is shown.")
@click.option("--check", is_flag=True, help="Show no diff; end with 1 if something would change.")
@click.option("--plugin-name", metavar="NAME", help="Default: the name in the nearest pyproject.toml.")
@click.option(
    "--max-bytes", default=_MAX_BYTES, show_default=True, type=click.IntRange(1), help="Longer files are left out."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
def command(
    paths: tuple[Path, ...], write: bool, check: bool, plugin_name: str | None, max_bytes: int, as_json: bool
) -> None:
    """Rewrite Python on bullmq for the managed queue.

    All files under the given paths are read first, since queues and their workers are often in different ones: give all
    of a plugin at once. What has no equivalent is left as it is, with a comment `# xpert-mq: ...` above it. Running it
    again changes nothing more.
    """
    if write and check:
        raise click.UsageError("--write changes files, and --check does not: give one of them")
    if plugin_name is not None and not plugin_name.strip():
        raise click.UsageError("--plugin-name is blank: give it the name under which the plugin enqueues")
    from .report import show
    from .running import run

    report = run(paths, write=write, plugin_name=plugin_name and plugin_name.strip(), max_bytes=max_bytes)
    changed = bool(report.diffs)
    if check:
        report.diffs = dict.fromkeys(report.diffs, "")
    show(report, as_json=as_json)
    raise SystemExit(_exit_code(report, check and changed))


def _exit_code(report: Report, would_change: bool) -> int:
    if report.failed:
        return 2
    return 1 if report.to_decide or would_change else 0
