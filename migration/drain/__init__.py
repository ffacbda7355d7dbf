"""Draining an old queue of BullMQ or Bull: `drain URL --queue NAME status | wait | mapping | forward | verify`.

As in the platform's own command line, a command's modules are imported when it runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from xpert_mq.cli import Commands
from xpert_mq.cli.filters import Seconds, interval_option
from xpert_mq.cli.output import json_option

if TYPE_CHECKING:
    from .old_queue import OldQueue

_PER_SECONDS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True, slots=True)
class _Named:
    """The queue that the command line names."""

    url: str
    name: str
    prefix: str

    @contextmanager
    def open(self) -> Iterator[OldQueue]:
        from .old_queue import OldQueue
        from .server import old_server

        with old_server(self.url) as client:
            yield OldQueue(client, self.name, self.prefix)


class _Rate(click.ParamType[float]):
    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number, _, unit = str(value).partition("/")
        try:
            per_second = float(number) / _PER_SECONDS[unit or "s"]
        except (ValueError, KeyError):
            self.fail(f"{value!r} is no rate such as 100/s or 30/min", param, ctx)
        if not 0.001 <= per_second <= 1e6:
            self.fail(f"{value!r} is not between 0.001/s and 1000000/s", param, ctx)
        return per_second


class _Drain(Commands):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the options, which may stand behind the URL too."""
        if args and not args[0].startswith("-"):
            end = 1
            while end < len(args) and args[end].startswith("-"):
                end += 1 if "=" in args[end] or args[end] in ctx.help_option_names else 2
            args = [*args[1:end], args[0], *args[end:]]
        return super().parse_args(ctx, args)


@click.group(cls=_Drain, name="drain", short_help="Empty an old queue in Redis, or move its jobs.")
@click.argument("url", metavar="URL")
@click.option("--queue", "name", metavar="NAME", required=True, help="The old queue, as BullMQ or Bull calls it.")
@click.option("--prefix", metavar="PREFIX", default="bull", show_default=True, help="What its keys begin with.")
@click.pass_context
def command(context: click.Context, url: str, name: str, prefix: str) -> None:
    """Look at, wait for, move or check a queue of BullMQ 5 or 6, or Bull 4, in the Redis at URL.

    URL is that of the old queue, as redis://host:6379/0. Jobs are moved into the managed queue of XPERT_MQ_REDIS_URL
    and MANAGED_QUEUE_PREFIX.
    """
    context.obj = _Named(url, name, prefix)


@command.command()
@click.option("--watch", is_flag=True, help="Show it anew at every interval, until Ctrl-C.")
@interval_option
@json_option
@click.pass_obj
def status(named: _Named, watch: bool, interval: float, as_json: bool) -> None:
    """Count the jobs by state and name, and tell who serves the queue."""
    from xpert_mq.cli.output import say_json
    from xpert_mq.cli.watch import keep_looking

    from .status import Status

    with named.open() as queue:
        seen = Status(queue)
        if watch:
            keep_looking(seen, interval, as_json)
        elif as_json:
            say_json(seen.document())
        else:
            seen.show()


@command.command()
@click.option("--timeout", type=Seconds(min=0), metavar="SECONDS", help="Give up after it. [default: never]")
@interval_option
@json_option
@click.pass_context
def wait(context: click.Context, timeout: float | None, interval: float, as_json: bool) -> None:
    """Wait until the old workers have emptied the queue.

    Exit code 0 when it is empty: nothing waits, is delayed or runs, and nothing is in flight. 1 when the time is up.
    """
    from .waiting import Waiting

    with context.obj.open() as queue:
        waiting = Waiting(queue, timeout, interval)
        emptied = waiting.run()
        waiting.end(emptied=emptied, as_json=as_json)
    context.exit(0 if emptied else 1)


@command.command()
@click.pass_obj
def mapping(named: _Named) -> None:
    """Print a mapping file to begin with, from the jobs in the queue."""
    from xpert_mq.cli.output import say

    from .starting import starting_mapping

    with named.open() as queue:
        say(starting_mapping(queue).rstrip())


@command.command()
@click.argument("mapping_file", metavar="MAPPING", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--write", is_flag=True, help="Do it. Without it nothing is changed.")
@click.option("--failed", is_flag=True, help="Move failed jobs too, with all their attempts.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most so many jobs.")
@click.option("--rate", type=_Rate(), metavar="N/s", help="At most so fast, as 100/s or 30/min.")
@click.option("--batch", type=click.IntRange(1, 1000), default=250, show_default=True, help="Jobs in flight at a time.")
@click.option(
    "--lease",
    type=Seconds(0.1, 600),
    default=10,
    show_default=True,
    help="Seconds for which a run that was killed keeps the next one waiting.",
)
@click.option("--any-version", is_flag=True, help="Also if the version of BullMQ is not known.")
@json_option
@click.pass_context
def forward(
    context: click.Context,
    mapping_file: Path,
    write: bool,
    failed: bool,
    limit: int | None,
    rate: float | None,
    batch: int,
    lease: float,
    any_version: bool,
    as_json: bool,
) -> None:
    """Move waiting, prioritized and delayed jobs into the managed queue, as the file MAPPING says.

    Each job runs once: here, or there. What a worker has taken is left to it, and jobs that don't map stay where they
    are. A run that was killed at any point is taken up by the next one.

    Exit code 0 if all jobs can be moved, or were; 1 if some stay.
    """
    from xpert_mq import managed_queue
    from xpert_mq.cli.endings import Interrupted

    from .forwarding import Forward

    with context.obj.open() as queue:
        run = Forward(
            queue,
            managed_queue,
            mapping_file,
            batch=batch,
            with_failed=failed,
            lease_seconds=lease,
            any_version=any_version,
        )
        report = run.move(limit, rate) if write else run.rehearse(limit)
        run.tell(report, written=write, as_json=as_json)
    if run.was_interrupted:
        raise Interrupted("Interrupted; the same command goes on with the rest.")
    context.exit(1 if report.reasons else 0)


@command.command()
@click.option(
    "--for",
    "seconds",
    type=Seconds(0, 3600),
    default=5,
    show_default=True,
    metavar="SECONDS",
    help="How long to watch for somebody who feeds it.",
)
@json_option
@click.pass_context
def verify(context: click.Context, seconds: float, as_json: bool) -> None:
    """Check that the queue is empty, and that nothing consumes or feeds it.

    Exit code 0 if so; then the notes of what was forwarded are removed, and the queue may be deleted. 1 if not. A
    producer that adds nothing while it is watched can't be seen.
    """
    from xpert_mq import managed_queue

    from .verifying import Verification, forget

    with context.obj.open() as queue:
        verification = Verification(queue, seconds)
        forgotten = forget(queue, managed_queue) if verification.passed else None
        verification.tell(forgotten, as_json=as_json)
    context.exit(0 if verification.passed else 1)
