"""`manage.py managed_jobs`: the commands of `xpert-mq jobs`, with this project's settings."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from xpert_mq.cli import Commands
from xpert_mq.cli.jobs import jobs


class Command(BaseCommand):
    """Passes its words on, and ends with their exit code."""

    help = "List jobs, look at them, cancel them, run them again. `managed_jobs COMMAND --help` tells more of each."
    # It must work where the project is out of order.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Django's."""
        known = ", ".join(sorted(jobs.commands))
        parser.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND ...", help=f"One of {known}.")

    def handle(self, *_: Any, words: list[str], **__: Any) -> None:
        """Runs the command. Raises SystemExit, as click does."""
        group = Commands("managed_jobs", commands=jobs.commands, help=jobs.help)
        group.main(_without_django_s(words) or ["--help"], prog_name="manage.py managed_jobs")


def _without_django_s(words: list[str]) -> list[str]:
    """The words without the options that manage.py takes at any place, and has read."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--settings")
    parser.add_argument("--pythonpath")
    return parser.parse_known_args(words)[1]
