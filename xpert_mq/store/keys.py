"""Every key of the platform in Redis, spelled here and nowhere else.

Parts from outside are length-prefixed (in UTF-8 bytes), so that tenant `a` with id `b:c` is not tenant `a:b` with id
`c`. The scripts get their share of the spelling from `lua_constants`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

#: As this module writes them; so no two texts name the same job.
_NUMBER = re.compile("0|[1-9][0-9]*")


def job_token(tenant_id: str | None, job_id: str) -> str:
    """What names a job within one prefix: the tenant, length-prefixed, then the id as it is."""
    if tenant_id is None:
        return f":{job_id}"
    return f"{len(tenant_id.encode())}:{tenant_id}:{job_id}"


def split_token(token: str) -> tuple[str | None, str]:
    """(tenant, job id) of a token made by `job_token`. Raises ValueError for any other text."""
    head, colon, rest = token.partition(":")
    if colon and not head:
        return None, rest
    raw = rest.encode()
    if not _NUMBER.fullmatch(head) or raw[int(head) : int(head) + 1] != b":":
        raise ValueError(f"not the token of a job: {token!r}")
    return raw[: int(head)].decode(), raw[int(head) + 1 :].decode()


def task_id(token: str, generation: int) -> str:
    """The Celery task id of one hand-out of a job."""
    return f"{token}:{generation}"


def split_task_id(task_id: str) -> tuple[str, int]:
    """(token, generation) of a task id. Raises ValueError for a task id that is not of this platform."""
    token, _, generation = task_id.rpartition(":")
    if not _NUMBER.fullmatch(generation):
        raise ValueError(f"not the task id of a job: {task_id!r}")
    split_token(token)
    return token, int(generation)


def logical_name(plugin_name: str, queue_name: str, job_name: str) -> str:
    """The logical job in one unambiguous text."""
    return "".join(f"{len(part.encode())}:{part}" for part in (plugin_name, queue_name, job_name))


class Named(Protocol):
    """What belongs to a logical job."""

    @property
    def plugin_name(self) -> str: ...
    @property
    def queue_name(self) -> str: ...
    @property
    def job_name(self) -> str: ...


def logical_of(named: Named) -> str:
    """The `logical_name` of an envelope or a handler."""
    return logical_name(named.plugin_name, named.queue_name, named.job_name)


def split_logical(logical: str) -> tuple[str, str, str]:
    """(plugin, queue, job name) of a text made by `logical_name`. Raises ValueError for any other text."""
    names, left = [], logical.encode()
    while left:
        head, _, rest = left.partition(b":")
        if not _NUMBER.fullmatch(head.decode("ascii", "replace")) or len(rest) < int(head):
            break
        names.append(rest[: int(head)].decode())
        left = rest[int(head) :]
    if left or len(names) != 3:
        raise ValueError(f"not the name of a logical job: {logical!r}")
    return names[0], names[1], names[2]


def group_name(tenant_id: str | None, logical: str) -> str:
    """A logical job of a tenant: what jobs are listed by, and retention counts."""
    return f"{tenant_part(tenant_id)}:{logical}"


def tenant_part(tenant_id: str | None) -> str:
    """What the group names of a tenant begin with, up to a colon."""
    return "-" if tenant_id is None else f"{len(tenant_id.encode())}:{tenant_id}"


def handler_limit(scope_key: str | None, logical: str) -> str:
    """What the limit of a handler is called."""
    return f"h:{logical}" if scope_key is None else f"h{len(scope_key.encode())}:{scope_key}:{logical}"


def pool_limit(queue: str) -> str:
    """What the limit of the execution pool with this queue is called."""
    return f"p:{queue}"


def split_group(group: str) -> tuple[str | None, str]:
    """(tenant, logical job) of a group's name. Raises ValueError for any other text."""
    if group.startswith("-:"):
        return None, group[2:]
    return split_token(group)


@dataclass(frozen=True, slots=True)
class PoolKeys:
    """The keys of one execution pool. `queue` is the Celery queue itself: a list in kombu's format."""

    queue: str
    #: Sorted sets of tokens: by admission time, by due time (ms).
    waiting: str
    delayed: str
    #: A sorted set with one member while the queue may hold a message: what idle workers block on.
    wake: str


def pool_keys(queue: str) -> PoolKeys:
    """The keys of the pool whose Celery queue is `queue`."""
    return PoolKeys(queue, f"{queue}:waiting", f"{queue}:delayed", f"{queue}:wake")


class Keys:
    """The keys of one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.jobs = f"{prefix}:job:"
        #: Counter: every hand-out of a job takes the next number.
        self.generation = f"{prefix}:generation"
        #: Short-lived answers to calls that may be sent again.
        self.answers = f"{prefix}:answer:"
        #: Jobs by state and group: sorted sets by the time since when they are in the state.
        self.lists = f"{prefix}:list:"
        #: All groups that have jobs, in the order of their names; and the lists that have jobs with an age.
        self.groups = f"{prefix}:groups"
        self.expiring = f"{prefix}:expiring"
        #: What happened in a minute, counted by event and logical job.
        self.tallies = f"{prefix}:tally:"
        #: Channel: a delayed job was added that is due before all others.
        self.due = f"{prefix}:due"
        #: Nodes that are alive, by their last beat (ms), and those that are gone and hold something.
        self.nodes = f"{prefix}:nodes"
        self.gone = f"{prefix}:nodes:gone"
        #: What a node says of itself; beside it the jobs that it runs (`…:active`) and the messages it holds.
        self.node = f"{prefix}:node:"
        #: What jobs are parked at, by queue and limit; and for each the jobs, by admission time.
        self.parked = f"{prefix}:parked"
        self.parked_at = f"{prefix}:parked:"
        #: Ledgers of what was taken over from other queues: sets of their jobs.
        self.adopted = f"{prefix}:adopted:"
        #: Of kombu, for what is not of the pools' queues.
        self.unacked = f"{prefix}:unacked"
        self.unacked_index = f"{prefix}:unacked_index"
        self.unacked_mutex = f"{prefix}:unacked_mutex"

    def job(self, token: str) -> str:
        """The record of a job."""
        return self.jobs + token

    def list_of(self, state: str, group: str) -> str:
        """The jobs of a group that are in the state. Those of the finished that no rule may remove are beside it, in
        `…:kept`.
        """
        return f"{self.lists}{state}:{group}"

    def unacked_of(self, node: str) -> str:
        """The messages that the node has fetched and not acknowledged, by their tags."""
        return f"{self.node}{node}:unacked"

    def lua_constants(self) -> dict[str, str]:
        """What the scripts need to spell the keys of jobs that they come upon."""
        pool = pool_keys("")
        return {
            "JOBS": self.jobs,
            "GENERATION": self.generation,
            "ANSWERS": self.answers,
            "LISTS": self.lists,
            "GROUPS": self.groups,
            "EXPIRING": self.expiring,
            "TALLIES": self.tallies,
            "NODES": self.nodes,
            "GONE": self.gone,
            "NODE": self.node,
            "PARKED": self.parked,
            "PARKED_AT": self.parked_at,
            "DUE": self.due,
            "QUEUE": f"{self.prefix}:plugin-jobs",
            "WAITING": pool.waiting,
            "DELAYED": pool.delayed,
            "WAKE": pool.wake,
        }
