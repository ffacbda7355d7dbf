"""`manage.py xpert_mq_worker`: a worker with this project's settings and handlers."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from xpert_mq.cli.worker import worker_command
from xpert_mq.errors import ManagedQueueError
from xpert_mq.service import managed_queue


class Command(BaseCommand):
    """Becomes Celery's worker, and passes on the options that are not its own."""

    help = (
        "Run a worker of managed jobs until it is ended: SIGTERM or Ctrl-C lets it finish what it runs. Takes the "
        "other options of Celery's worker, too, such as -n NAME, -l INFO and -E."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Django's; options that it does not know are Celery's."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)

        def parse_args(args: Any = None, namespace: Any = None) -> Any:
            options, others = parser.parse_known_args(args, namespace)
            options.celery_options = others
            return options

        parser.parse_args = parse_args
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        """Django's."""
        parser.add_argument(
            "--execution-pool", action="append", default=[], metavar="NAME", help="Take this pool's jobs; repeatable."
        )
        parser.add_argument("--concurrency", type=int, metavar="N", help="Jobs at a time.")
        parser.add_argument("--pool", help="How it runs them: prefork (default), threads, asyncio, gevent or solo.")

    def handle(self, *_: Any, **options: Any) -> None:
        """Becomes the worker. Raises CommandError for wrong options and settings."""
        command = _command(options)
        # manage.py has named the settings in the environment. It may lie elsewhere than where it is called.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        self.stdout.flush()
        os.execv(command[0], command)


def _command(options: dict[str, Any]) -> list[str]:
    pools, concurrency, others = options["execution_pool"], options["concurrency"], options["celery_options"]
    if concurrency is not None and concurrency < 1:
        raise CommandError("--concurrency must be at least 1")
    if pools and any(word.startswith(("-Q", "--queues")) for word in others):
        raise CommandError("--execution-pool and -Q both say which jobs to take: give one of them")
    try:
        queues = [managed_queue.settings.queue_name(name) for name in pools]
    except ManagedQueueError as error:
        raise CommandError(str(error)) from error
    return worker_command(queues, concurrency, options["pool"], others)
