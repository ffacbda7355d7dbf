"""The command line `xpert-mq`.

Every command's module is imported for `--help`, so none of them imports more than click at its top: what a command
needs, it imports when it runs.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from xpert_mq.cli.demo import demo
from xpert_mq.cli.doctor import doctor
from xpert_mq.cli.endings import in_order
from xpert_mq.cli.health import health
from xpert_mq.cli.jobs import jobs
from xpert_mq.cli.migrate import migrate
from xpert_mq.cli.plugins import plugins
from xpert_mq.cli.queues import queues
from xpert_mq.cli.server import server
from xpert_mq.cli.worker import worker

EPILOG = """\b
Settings come from the environment and a .env file; `xpert-mq doctor` shows them.
NO_COLOR=1 turns colours off, and so does a pipe.

\b
Exit codes:
  0  done, and all is well
  1  done, and the answer is no: a job that is not there or not in the right
     state, a plugin that failed to load, a pool without a live worker, a
     warning of doctor, or you said no
  2  not done: wrong usage or settings, or Redis can't be reached
  130  interrupted by Ctrl-C; a bulk cancel or retry first finishes the batch
     that it is at, and says what it has done. A list that is watched ends
     with 0
  141  nobody reads the output any more, as after `| head -1`
"""


class Commands(click.Group):
    """A group whose commands end with one sentence for each error that the platform raises on purpose."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        """Reads the options; `--help` prints here."""
        with in_order():
            return super().make_context(*arguments, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        with in_order():
            return super().invoke(ctx)


def escape_what_output_can_t_show() -> None:
    """For a terminal that is not UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _tell_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(version("xpert-mq"))
        except PackageNotFoundError:
            click.echo("unknown: xpert-mq is not installed, only found")
        context.exit()


@click.group(
    cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_tell_version, help="Show the version."
)
def main() -> None:
    """Run and look after managed queues: background jobs of plugins, on Celery and Redis."""
    escape_what_output_can_t_show()


for command in (worker, server, jobs, queues, plugins, health, doctor, demo, migrate):
    main.add_command(command)
