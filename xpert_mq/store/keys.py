"""Every key of the platform in Redis, spelled here and nowhere else.

Parts from outside are length-prefixed (in UTF-8 bytes), so that tenant `a` with id `b:c` is not tenant `a:b` with id
`c`. The scripts get their share of the spelling from `lua_constants`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class PoolKeys:
    """The keys of one execution pool. `queue` is the Celery queue itself: a list in kombu's format."""

    queue: str
    #: Sorted sets of tokens: by admission time, by start of the try, by due time (ms).
    waiting: str
    active: str
    delayed: str
    #: A sorted set with one member while the queue may hold a message: what idle workers block on.
    wake: str


def pool_keys(queue: str) -> PoolKeys:
    """The keys of the pool whose Celery queue is `queue`."""
    return PoolKeys(queue, f"{queue}:waiting", f"{queue}:active", f"{queue}:delayed", f"{queue}:wake")


class Keys:
    """The keys of one prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.jobs = f"{prefix}:job:"
        #: Counter: every hand-out of a job takes the next number.
        self.generation = f"{prefix}:generation"
        #: Short-lived answers to calls that may be sent again.
        self.answers = f"{prefix}:answer:"
        #: Finished jobs, a sorted set by time per tenant, logical job and outcome; and the index of those with an
        #: expiry.
        self.finished = f"{prefix}:finished:"
        self.expiring = f"{prefix}:expiring"
        #: Channel: a delayed job was added that is due before all others.
        self.due = f"{prefix}:due"
        self.unacked = f"{prefix}:unacked"
        self.unacked_index = f"{prefix}:unacked_index"
        self.unacked_mutex = f"{prefix}:unacked_mutex"

    def job(self, token: str) -> str:
        """The record of a job."""
        return self.jobs + token

    def finished_set(self, outcome: str, tenant_id: str | None, logical: str) -> str:
        """The finished jobs of one logical job of a tenant; outcome is `completed` or `failed`."""
        tenant = "-" if tenant_id is None else f"{len(tenant_id.encode())}:{tenant_id}"
        return f"{self.finished}{outcome}:{tenant}:{logical}"

    def lua_constants(self) -> dict[str, str]:
        """What the scripts need to spell the keys of jobs that they come upon."""
        pool = pool_keys("")
        return {
            "JOBS": self.jobs,
            "GENERATION": self.generation,
            "ANSWERS": self.answers,
            "FINISHED": self.finished,
            "EXPIRING": self.expiring,
            "DUE": self.due,
            "QUEUE": f"{self.prefix}:plugin-jobs",
            "WAITING": pool.waiting,
            "ACTIVE": pool.active,
            "DELAYED": pool.delayed,
            "WAKE": pool.wake,
        }
