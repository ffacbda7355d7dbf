"""`xpert-mq health`: whether live workers consume the execution pools; for probes."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from xpert_mq.cli.output import age, json_option, say, say_json

if TYPE_CHECKING:
    from xpert_mq.settings import Settings
    from xpert_mq.store.store import NodeState

_LONGEST_SECONDS = 24 * 3600
_ALIVE, _SILENT, _HANGING, _LEAVING = "alive", "silent", "hanging", "taking no jobs"


@dataclass(frozen=True, slots=True)
class Health:
    """The workers of one execution pool. `oldest_beat_ms` is of all that consume it, also of those that are silent."""

    execution_pool: str
    healthy: bool
    worker_count: int
    oldest_beat_ms: int | None
    warning: str | None


@click.command(short_help="Tell by the exit code whether live workers consume the pools.")
@click.option("--pool", "pools", metavar="NAME", multiple=True, help="This pool; repeatable. [default: all declared]")
@click.option("--this-host", is_flag=True, help="Only workers on this host count.")
@click.option(
    "--max-age",
    type=click.FloatRange(max=_LONGEST_SECONDS),
    metavar="SECONDS",
    help="How old a sign of life may be. [default: XPERT_MQ_NODE_TIMEOUT]",
)
@json_option
@click.pass_context
def health(
    context: click.Context, pools: tuple[str, ...], this_host: bool, max_age: float | None, as_json: bool
) -> None:
    """Tell whether live workers consume the execution pools, by their heartbeats.

    A worker is live while it takes jobs, has beaten within the age, and its consumer's loop was seen within it. The
    loop of the pool `solo` is not asked for, since it stands still while a job runs.

    Exit code 0 if each pool has a live worker, 1 if not, 2 if that is not known: Redis can't be reached within
    XPERT_MQ_ENQUEUE_TIMEOUT, or wrong usage. A probe takes both for a failure; to keep a worker while Redis is away:
    sh -c 'xpert-mq health --this-host --pool default; [ $? -ne 1 ]'
    """
    from xpert_mq.service import managed_queue

    settings = managed_queue.settings
    max_age_ms = _milliseconds(max_age, settings)
    queues = {pool: settings.queue_name(pool) for pool in pools or settings.pools}
    nodes = managed_queue.executor.run(managed_queue.store.nodes())
    host = socket.gethostname() if this_host else None
    if host is not None:
        nodes = [node for node in nodes if node.id.rsplit(":", 2)[0] == host]
    found = [examined(pool, queue, nodes, max_age_ms) for pool, queue in queues.items()]
    healthy = all(one.healthy for one in found)
    if as_json:
        say_json({"healthy": healthy, "host": host, "max_age_ms": max_age_ms, "pools": found})
    else:
        for one in found:
            say(_line(one))
    context.exit(0 if healthy else 1)


def _milliseconds(max_age: float | None, settings: Settings) -> int:
    if max_age is None:
        return round(1000 * settings.node_timeout)
    # Also no number at all is refused.
    if not max_age > settings.heartbeat_interval:
        raise click.UsageError(
            f"--max-age must be longer than XPERT_MQ_HEARTBEAT_INTERVAL, which is {settings.heartbeat_interval:g} s; "
            "three times that leaves room for a late beat"
        )
    return round(1000 * max_age)


def examined(pool: str, queue: str, nodes: Sequence[NodeState], max_age_ms: int) -> Health:
    """What the nodes tell of the pool."""
    serving = [node for node in nodes if node.consumes(queue)]
    conditions = Counter(_condition(node, max_age_ms) for node in serving)
    alive = conditions[_ALIVE]
    oldest = max((node.beat_ms for node in serving), default=None)
    return Health(pool, alive > 0, alive, oldest, ", ".join(_warnings(conditions)) or None)


def _condition(node: NodeState, max_age_ms: int) -> str:
    if node.beat_ms > max_age_ms:
        return _SILENT
    if not node.takes_jobs:
        return _LEAVING
    return _ALIVE if node.is_healthy(max_age_ms) else _HANGING


def _warnings(conditions: Counter[str]) -> Iterator[str]:
    if not conditions[_ALIVE]:
        yield "no live worker"
    for condition in (_SILENT, _HANGING, _LEAVING):
        # One that goes is worth a word only where nobody is left.
        if conditions[condition] and not (condition is _LEAVING and conditions[_ALIVE]):
            yield f"{conditions[condition]} {condition}"


def _line(one: Health) -> str:
    workers = f"{one.worker_count} worker{'' if one.worker_count == 1 else 's'}"
    beat = "" if one.oldest_beat_ms is None else f", oldest beat {age(one.oldest_beat_ms)} ago"
    warning = f"; warning: {one.warning}" if one.warning else ""
    return f"{one.execution_pool}: {workers}{beat}{warning}"
