"""Jobs in lists: which are wanted, and what a list says of each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Literal, get_args

from xpert_mq.models import Envelope, JobOptions, JobState
from xpert_mq.store.keys import group_name, logical_name, split_group, split_logical, split_token, tenant_part

#: Plugin, queue and job name.
Names = tuple[str, str, str]

STATES: Final[tuple[JobState, ...]] = get_args(JobState)


class Tenants(Enum):
    """In place of a tenant: the jobs of all of them."""

    ALL = "all"


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are meant. What is None does not narrow it; only a tenant of None means the jobs without one.

    Attributes:
        at_least_ms, at_most_ms: since when a job is in its state.
    """

    tenant_id: str | Tenants | None = Tenants.ALL
    states: tuple[JobState, ...] = STATES
    plugin_name: str | None = None
    queue_name: str | None = None
    job_name: str | None = None
    at_least_ms: int | None = None
    at_most_ms: int | None = None

    @property
    def names(self) -> tuple[str | None, str | None, str | None]:
        """Plugin, queue and job name, where they are wanted."""
        return self.plugin_name, self.queue_name, self.job_name

    def groups_prefix(self) -> str:
        """What the names of all matching groups begin with."""
        if isinstance(self.tenant_id, Tenants):
            return ""
        if None not in self.names:
            return group_name(self.tenant_id, logical_name(*(name or "" for name in self.names)))
        return f"{tenant_part(self.tenant_id)}:"

    def wants(self, names: Names) -> bool:
        """Whether jobs of these names may match."""
        return all(wanted in (None, name) for wanted, name in zip(self.names, names, strict=True))


@dataclass(frozen=True, slots=True)
class Group:
    """A logical job of a tenant; `name` is how Redis has it."""

    name: str
    tenant_id: str | None
    names: Names


@dataclass(frozen=True, slots=True)
class Count:
    """The jobs of a group by state; `oldest`: since when (ms) the first of the waiting waits."""

    states: dict[JobState, int]
    oldest: int | None


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: the next one goes on behind it."""

    time: str
    token: str


@dataclass(frozen=True, slots=True)
class ListedJob:
    """A job as a list shows it: all but its payload, result and stacks. Times are milliseconds of the server's clock.

    Attributes:
        since: when it came into its state.
        due_at: when it is to start, if it is delayed.
        failed_reason: the beginning of the latest failed try's message.
    """

    id: str
    state: JobState
    envelope: Envelope
    opts: JobOptions
    since: int
    timestamp: int
    attempts_made: int
    processed_on: int | None
    finished_on: int | None
    due_at: int | None
    failed_reason: str | None
    position: Position


#: What is counted per minute.
Event = Literal["added", "completed", "failed", "retried", "cancelled"]


@dataclass(frozen=True, slots=True)
class Tallies:
    """Counts of events by minute, the present one first, and by names; `over_ms`: how much of the
    present minute is over.
    """

    over_ms: int
    minutes: list[dict[Names, dict[Event, int]]]


def parse_groups(reply: Sequence[bytes]) -> list[Group]:
    """The reply of the script `groups`."""
    return [_group(name.decode()) for name in reply]


def _group(name: str) -> Group:
    tenant_id, logical = split_group(name)
    return Group(name, tenant_id, split_logical(logical))


def parse_counts(reply: Sequence[Sequence[Any]]) -> list[Count]:
    """The reply of the script `count`."""
    return [
        Count(dict(zip(STATES, sizes, strict=True)), None if oldest is None else int(float(oldest)))
        for *sizes, oldest in reply
    ]


def parse_jobs(reply: Sequence[Sequence[Any]]) -> list[ListedJob]:
    """The reply of the script `list`."""
    return [_job(*row) for row in reply]


def _job(
    token: bytes,
    time: bytes,
    state: Any,
    text: bytes,
    made: bytes | None,
    processed_on: bytes | None,
    finished_on: bytes | None,
    failed_reason: bytes | None,
    due: bytes | None,
) -> ListedJob:
    data = json.loads(text)
    envelope = Envelope.load(data)
    return ListedJob(
        id=split_token(token.decode())[1],
        state=state.decode(),
        envelope=envelope,
        opts=JobOptions.load(data["opts"]),
        since=int(float(time)),
        timestamp=envelope.enqueued_at or 0,
        attempts_made=int(made or 0),
        processed_on=_number(processed_on),
        finished_on=_number(finished_on),
        due_at=_number(due),
        failed_reason=None if failed_reason is None else failed_reason.decode("utf-8", "ignore"),
        position=Position(time.decode(), token.decode()),
    )


def parse_tallies(reply: Sequence[Any]) -> Tallies:
    """The reply of the script `tallies`."""
    over_ms, *minutes = reply
    return Tallies(over_ms, [_minute(fields) for fields in minutes])


def _minute(fields: Sequence[bytes]) -> dict[Names, dict[Event, int]]:
    found: dict[Names, dict[Event, int]] = {}
    for field, count in zip(fields[::2], fields[1::2], strict=True):
        event: Any
        event, _, logical = field.decode().partition(":")
        found.setdefault(split_logical(logical), {})[event] = int(count)
    return found


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(float(value))
