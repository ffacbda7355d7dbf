"""`migrate scan`: what of a tree is to be moved to the managed queue."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from .inventory import Inventory

_EPILOG = """\b
Exit codes:
  0  nothing to migrate
  1  something was found
  2  not done: wrong usage
"""


@click.command("scan", epilog=_EPILOG)
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--json", "form", flag_value="json", help="Print JSON, for machines.")
@click.option("--markdown", "form", flag_value="markdown", help="Print a checklist in Markdown, grouped by step.")
@click.option("--all", "everything", is_flag=True, help="Read folders like node_modules, .venv and dist too.")
@click.option(
    "--max-size", default=1024, show_default=True, type=click.IntRange(1), help="Skip files above that many KiB."
)
@click.pass_context
def command(context: click.Context, paths: tuple[Path, ...], form: str | None, everything: bool, max_size: int) -> None:
    """List what is to be moved to the managed queue.

    Reads Python, TypeScript and JavaScript under the PATHS, and lists per plugin queues, producers, processors, Redis
    clients and keys, and dependencies to drop, each with the step of the migration that it belongs to. It only reads.
    """
    from .inventory import take

    inventory = take(list(paths), everything, max_size * 1024)
    _print(inventory, form)
    context.exit(1 if inventory.findings else 0)


def _print(inventory: Inventory, form: str | None) -> None:
    from .report import json_report, markdown_report, print_table

    if form == "json":
        click.echo(json_report(inventory))
    elif form == "markdown":
        click.echo(markdown_report(inventory), nl=False)
    else:
        print_table(inventory)
