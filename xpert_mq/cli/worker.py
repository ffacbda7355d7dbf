"""`xpert-mq worker`: Celery's worker, with execution pools by their names."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence

import click

#: No `-h`: click would look for it in every letter of `-Pthreads`. As a word of its own it is found below.
_ANYTHING = {"ignore_unknown_options": True, "help_option_names": ["--help"]}

_KINDS = ("prefork", "threads", "asyncio", "gevent", "solo")

#: How Celery is told of a pool that is not its own: by this variable, and the name `custom`.
_VARIABLE = "CELERY_CUSTOM_WORKER_POOL"
_ASYNCIO = "xpert_mq.worker.asyncio_pool:TaskPool"


@click.command(
    context_settings=_ANYTHING, short_help="Run a worker.", options_metavar="[OPTIONS] [OPTIONS OF CELERY'S WORKER]"
)
@click.option("--execution-pool", "pools", metavar="NAME", multiple=True, help="Take this pool's jobs; repeatable.")
@click.option("--concurrency", type=click.IntRange(1), help="Jobs at a time. [default: MANAGED_QUEUE_CONCURRENCY]")
@click.option(
    "--pool",
    type=click.Choice(_KINDS),
    metavar="KIND",
    help=f"How it runs them: {', '.join(_KINDS)}. [default: prefork]",
)
@click.option("--asyncio", "pool", flag_value="asyncio", help="Short for --pool asyncio.")
@click.argument("celery_options", nargs=-1, type=click.UNPROCESSED, metavar="")
@click.pass_context
def worker(
    context: click.Context,
    pools: tuple[str, ...],
    concurrency: int | None,
    pool: str | None,
    celery_options: tuple[str, ...],
) -> None:
    """Run a worker until it is ended: SIGTERM or Ctrl-C lets it finish what it runs.

    It takes the jobs of all declared execution pools, unless told otherwise. This process becomes Celery's worker, and
    takes its other options too, such as -n (its name), -l INFO or -E; `celery -A xpert_mq worker --help` lists them.
    """
    if "-h" in celery_options:
        click.echo(context.get_help())
        return
    from xpert_mq.settings import get_settings

    settings = get_settings()
    if pools and any(word.startswith(("-Q", "--queues")) for word in celery_options):
        raise click.UsageError("--execution-pool and -Q both say which jobs to take: give one of them")
    queues = [settings.queue_name(name) for name in pools]
    _become(worker_command(queues, concurrency, pool, celery_options))


def worker_command(
    queues: Sequence[str], concurrency: int | None, pool: str | None, others: Sequence[str]
) -> list[str]:
    """The command that this process becomes; `others` are Celery's options as they are.

    Puts the pool `asyncio` into the environment, where Celery looks for it.
    """
    if pool == "asyncio":
        if not _has("greenlet"):
            raise click.UsageError("the pool asyncio needs greenlet: pip install 'xpert-mq[asyncio]'")
        os.environ[_VARIABLE], pool = _ASYNCIO, "custom"
    given = {"-Q": ",".join(queues), "--concurrency": concurrency, "--pool": pool}
    options = [str(word) for option, value in given.items() if value for word in (option, value)]
    return [sys.executable, "-m", "celery", "-A", "xpert_mq", "worker", *options, *others]


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # of one that is hidden
        return False


def _become(command: list[str]) -> None:
    """Not a call of Celery's main function: gevent must come before all other imports, and SIGHUP restarts the command
    of the process.
    """
    sys.stdout.flush()
    os.execv(command[0], command)
