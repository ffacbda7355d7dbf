"""`xpert-mq doctor`: whether the server and the settings are as they should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from xpert_mq.cli.output import json_option, say, say_json, show_pairs, show_table

if TYPE_CHECKING:
    from xpert_mq.cli.examine import Report, Server, Setting

_UNKNOWN = "not told"
_FOUND = ("server", "pools", "keys")


@click.command(short_help="Check the server, the pools, the keys and the settings.")
@click.option("--no-keys", is_flag=True, help="Don't walk through the keys.")
@json_option
@click.pass_context
def doctor(context: click.Context, no_keys: bool, as_json: bool) -> None:
    """Check the server, the execution pools, the keys, and the settings and where each comes from.

    The keys under the prefix are walked through, for 5 s or a million keys at the most, in search of what nobody uses
    or finds any more.

    Exit code 1 with warnings, 2 when Redis can't be reached. It changes nothing, and never shows a password.
    """
    from xpert_mq.cli.examine import examine, resolved, unknown_variables
    from xpert_mq.cli.server_client import connected
    from xpert_mq.errors import QueueUnavailableError
    from xpert_mq.settings import get_settings

    settings = get_settings()
    values = resolved(settings)
    report, error = None, None
    warnings = list(unknown_variables())
    try:
        with connected(settings) as client:
            report = examine(client, settings, with_keys=not no_keys)
        warnings += report.warnings
    except QueueUnavailableError as away:
        error = f"{away}. {_advice(values)}"
    if as_json:
        say_json(_document(report, values, warnings, error))
    else:
        _show(report, values, warnings)
    if error:
        click.echo(f"Error: {error}", err=True)
    context.exit(2 if report is None else int(bool(warnings)))


def _advice(values: Sequence[Setting]) -> str:
    source = next(one.source for one in values if one.name == "XPERT_MQ_REDIS_URL")
    if source == "default":
        return "XPERT_MQ_REDIS_URL is not set, so this is the default; `xpert-mq server` runs a server for development"
    return f"The URL is XPERT_MQ_REDIS_URL of the {source}"


def _document(
    report: Report | None, values: Sequence[Setting], warnings: Sequence[str], error: str | None
) -> dict[str, object]:
    found = {name: getattr(report, name, None) for name in _FOUND}
    return {**found, "settings": values, "warnings": warnings, "error": error}


def _show(report: Report | None, values: Sequence[Setting], warnings: Sequence[str]) -> None:
    if report:
        show_pairs(_server_lines(report.server), title="Server")
        say()
        _show_pools(report)
        say()
    show_table(
        "Settings",
        ("name", "value", "from"),
        [(one.name, one.value, one.source) for one in values],
        whole=("name", "from"),
    )
    if report or warnings:
        say()
        _show_warnings(warnings)


def _server_lines(server: Server) -> Iterator[tuple[str, object]]:
    kind = {"redis": "Redis", "valkey": "Valkey"}.get(server.kind or "", server.kind)
    yield "url", server.url
    yield "server", f"{kind} {server.version}, {server.role}" if server.version else _UNKNOWN
    yield "memory", _memory(server)
    yield "persistence", _persistence(server)
    yield "round trip", f"{server.ping_min_ms:.2f} ms at best, {server.ping_median_ms:.2f} ms median"
    yield "clock", f"{server.clock_difference_ms:+.0f} ms from this machine's"


def _memory(server: Server) -> str:
    if server.memory_used is None:
        return _UNKNOWN
    limit = f"of {_mib(server.memory_limit)}" if server.memory_limit else "used, without a limit"
    return f"{_mib(server.memory_used)} {limit}; maxmemory-policy {server.maxmemory_policy or _UNKNOWN}"


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


def _persistence(server: Server) -> str:
    if server.append_only is None:
        return _UNKNOWN
    file = f"append-only file, fsync {server.append_fsync or _UNKNOWN}" if server.append_only else "no append-only file"
    snapshots = _UNKNOWN if server.snapshots is None else server.snapshots or "none"
    return f"{file}; snapshots: {snapshots}"


def _show_pools(report: Report) -> None:
    columns = ("pool", "queue", "workers", "messages", "waiting", "delayed")
    sizes = [(one.workers, one.messages, one.waiting, one.delayed) for one in report.pools]
    rows = [
        (pool.name, pool.queue, *("?" if size is None else size for size in row))
        for pool, row in zip(report.pools, sizes, strict=True)
    ]
    show_table("Execution pools", columns, rows, right=columns[2:], whole=columns[2:])
    if any((pool.messages or 0) > (pool.waiting or 0) for pool in report.pools):
        say("Messages beyond the waiting jobs are left over from cancelled ones. They do no harm: a worker drops them.")
    if keys := report.keys:
        walked = f"All {keys.total}" if keys.complete else f"About {keys.passed} of {keys.total}"
        limit = "" if keys.complete else "; then the time for it was over"
        say(f"{walked} keys of the database were passed, {keys.own} of them under the prefix{limit}.")


def _show_warnings(warnings: Sequence[str]) -> None:
    if not warnings:
        say("No warnings.")
        return
    say("Warnings")
    for warning in warnings:
        say(f"- {warning}")
