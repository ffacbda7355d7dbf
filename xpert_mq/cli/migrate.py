"""`xpert-mq migrate`: the commands of the package `migration`, wherever it is."""

from __future__ import annotations

import functools
import importlib
from typing import Any

import click

from xpert_mq.cli.beside import module_beside


class _Migrate(click.Group):
    """Imports them when they are asked for."""

    @functools.cached_property
    def _group(self) -> click.Group:
        group: click.Group = importlib.import_module(module_beside("migration.cli")).migrate
        return group

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, for `--help`."""
        return self._group.list_commands(ctx)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """One of them."""
        return self._group.get_command(ctx, name)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        return self._group.invoke(ctx)


@click.command(cls=_Migrate, short_help="Move plugins off their own BullMQ or Bull queues.")
def migrate() -> None:
    """Move plugins off their own BullMQ or Bull queues: find them, rewrite them, drain them."""
