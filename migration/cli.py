"""The commands, as `python -m migration …` and `xpert-mq migrate …`."""

from __future__ import annotations

from typing import Any

import click

from xpert_mq.cli import Commands, escape_what_output_can_t_show

from .drain import command as drain
from .rewrite import command as rewrite
from .scan import command as scan

#: What the extra `migrate` brings.
_EXTRA = ("libcst", "tree_sitter", "tree_sitter_javascript", "tree_sitter_typescript")


class _Commands(Commands):
    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if str(error.name).partition(".")[0] not in _EXTRA:
                raise
            raise click.UsageError(f"this needs {error.name}: pip install 'xpert-mq[migrate]'", ctx) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def migrate() -> None:
    """Move plugins off their own BullMQ or Bull queues: find them, rewrite them, drain them."""
    escape_what_output_can_t_show()


for command in (scan, rewrite, drain):
    migrate.add_command(command)
