"""Which jobs a command is about: the options for it, the filter that they make, and the filter in words."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from xpert_mq.cli.output import duration

if TYPE_CHECKING:
    from xpert_mq.settings import Settings
    from xpert_mq.store.listing import JobFilter, Position

F = TypeVar("F", bound=Callable[..., Any])

#: As in the records; not imported, since the options are made for `--help`.
STATES = ("waiting", "delayed", "active", "completed", "failed")

_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(s|m|h|d)", re.ASCII)
_TIME = re.compile(r"\d{1,20}(\.\d{1,20})?", re.ASCII)
_UNIT_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _span(text: str) -> int:
    """The milliseconds of a text such as `90s` or `1.5h`."""
    found = _SPAN.fullmatch(text.strip())
    if not found:
        raise click.BadParameter(f"{text!r} is no time such as 90s, 10m, 2h, 7d or 1.5h")
    return round(float(found[1]) * _UNIT_MS[found[2]])


def _name(text: str) -> str:
    """The text trimmed, as at an enqueue."""
    if not text.strip():
        raise click.BadParameter("it must not be blank")
    return text.strip()


def position_of(cursor: str) -> Position:
    """What `cursor_of` made a text of."""
    from xpert_mq.store.keys import split_token
    from xpert_mq.store.listing import Position

    try:
        time, token = json.loads(base64.urlsafe_b64decode(f"{cursor}{'=' * (-len(cursor) % 4)}"))
        split_token(token)
        if _TIME.fullmatch(time):
            return Position(time, token)
    except (ValueError, TypeError, AttributeError):
        pass
    raise click.BadParameter(f"{cursor!r} is none; a list that goes on tells it at its end")


def cursor_of(position: Position) -> str:
    """The position as a text that can be copied as one word."""
    return base64.urlsafe_b64encode(json.dumps([position.time, position.token]).encode()).decode().rstrip("=")


def _all_of(*decorators: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


owner_options = _all_of(
    click.option("--tenant", metavar="ID", type=_name, help="Of this tenant."),
    click.option("--no-tenant", is_flag=True, help="Of the jobs without a tenant."),
)

name_options = _all_of(
    click.option("--plugin", metavar="NAME", type=_name, help="Of this plugin."),
    click.option("--queue", metavar="NAME", type=_name, help="Of this queue of a plugin."),
    click.option("--job-name", metavar="NAME", type=_name, help="Of this job name."),
)


def job_options(states: Sequence[str] = STATES) -> Callable[[F], F]:
    """What narrows a list of jobs, and its order. `states`: those that it may have."""
    return _all_of(
        click.option("--state", "states", type=click.Choice(states), multiple=True, help="In this state; repeatable."),
        name_options,
        owner_options,
        click.option(
            "--older-than", type=_span, metavar="SPAN", help="In their state for longer: 90s, 10m, 2h, 7d, 1.5h."
        ),
        click.option("--newer-than", type=_span, metavar="SPAN", help="In their state for less."),
        click.option("--oldest-first", is_flag=True, help="Begin with those that are longest in their state."),
    )


class Seconds(click.FloatRange):
    """A number of seconds. No range by itself keeps `nan` out."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Click's."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number", param, ctx)
        return seconds


interval_option = click.option(
    "--interval",
    type=Seconds(0.1, 86400),
    default=1.0,
    show_default=True,
    help="Seconds between two looks.",
)


def one_owner(tenant: str | None, no_tenant: bool) -> str | None:
    """Whose job it is: ids belong to tenants, so it must be said."""
    if tenant is not None and no_tenant:
        raise click.UsageError("--tenant and --no-tenant exclude each other")
    if tenant is None and not no_tenant:
        raise click.UsageError("say whose job it is: --tenant ID or --no-tenant")
    return tenant


def owner_named(tenant_id: str | None) -> str:
    """A tenant in words, to follow "jobs"."""
    return "without a tenant" if tenant_id is None else f"of tenant {tenant_id!r}"


def job_filter(
    tenant: str | None = None,
    no_tenant: bool = False,
    states: Sequence[str] = (),
    plugin: str | None = None,
    queue: str | None = None,
    job_name: str | None = None,
    older_than: int | None = None,
    newer_than: int | None = None,
    default_states: Sequence[str] = STATES,
) -> JobFilter:
    """The filter that the options of a command make."""
    from xpert_mq.store.listing import STATES as ALL
    from xpert_mq.store.listing import JobFilter, Tenants

    if tenant is not None and no_tenant:
        raise click.UsageError("--tenant and --no-tenant exclude each other; without either it is all tenants")
    if None not in (older_than, newer_than) and (newer_than or 0) <= (older_than or 0):
        raise click.UsageError("nothing is older and newer than that: --newer-than must be the longer time")
    return JobFilter(
        tenant_id=tenant if tenant is not None or no_tenant else Tenants.ALL,
        states=tuple(state for state in ALL if state in (states or default_states)),
        plugin_name=plugin,
        queue_name=queue,
        job_name=job_name,
        at_least_ms=older_than,
        at_most_ms=newer_than,
    )


def in_words(wanted: JobFilter) -> str:
    """The filter as it reads behind "jobs"; empty where it wants all jobs."""
    return ", ".join(_words(wanted))


def _words(wanted: JobFilter) -> Iterator[str]:
    from xpert_mq.store.listing import Tenants

    if len(wanted.states) < len(STATES):
        yield " or ".join(wanted.states)
    for what, name in zip(("plugin", "queue", "job name"), wanted.names, strict=True):
        if name is not None:
            yield f"{what} {name!r}"
    if not isinstance(wanted.tenant_id, Tenants):
        yield owner_named(wanted.tenant_id)
    if wanted.at_least_ms is not None:
        yield f"for more than {duration(wanted.at_least_ms)}"
    if wanted.at_most_ms is not None:
        yield f"for less than {duration(wanted.at_most_ms)}"


def nothing_there(wanted: JobFilter, settings: Settings) -> str:
    """What is said in place of an empty list."""
    words = in_words(wanted)
    where = f"under the prefix {settings.prefix} on {settings.safe_redis_url}"
    return f"No jobs match ({words}) {where}." if words else f"There are no jobs {where}."
