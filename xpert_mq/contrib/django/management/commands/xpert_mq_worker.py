"""`manage.py xpert_mq_worker`: a worker with this project's settings and handlers."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandParser, handle_default_options

from xpert_mq.cli.worker import worker_command
from xpert_mq.service import managed_queue


class Command(BaseCommand):
    """Becomes Celery's worker, and passes on the options that are not its own."""

    help = (
        "Run a worker of managed jobs until it is ended: SIGTERM or Ctrl-C lets it finish what it runs. Takes the "
        "other options of Celery's worker, too, such as -n NAME, -l INFO and -E."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Django's."""
        parser.add_argument(
            "--execution-pool", action="append", default=[], metavar="NAME", help="Take this pool's jobs; repeatable."
        )
        parser.add_argument("--concurrency", type=int, metavar="N", help="Jobs at a time.")
        parser.add_argument("--pool", help="How it runs them: prefork (default), threads, gevent or solo.")

    def run_from_argv(self, argv: list[str]) -> None:
        """Django's, which knows no options of others."""
        options, others = self.create_parser(argv[0], argv[1]).parse_known_args(argv[2:])
        handle_default_options(options)
        self.run_checks_and_become(_command(vars(options), others))

    def handle(self, *_: Any, **options: Any) -> None:
        """For `call_command`."""
        self._become(_command(options, ()))

    def run_checks_and_become(self, command: list[str]) -> None:
        """Ends with an error where the project has some."""
        self.check()
        self._become(command)

    def _become(self, command: list[str]) -> None:
        # manage.py has named the settings in the environment. It may lie elsewhere than where it is called.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self.stdout.flush()
        os.execv(command[0], command)


def _command(options: dict[str, Any], others: Sequence[str]) -> list[str]:
    queues = [managed_queue.settings.queue_name(name) for name in options["execution_pool"]]
    return worker_command(queues, options["concurrency"], options["pool"], others)
