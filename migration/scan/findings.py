"""What the inventory finds, and what each kind of it means for the migration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .texts import Json

#: The steps of the platform's page, in its order.
STEPS = {
    1: "Remove BullMQ imports and module registration",
    2: "Replace `queue.add()` with `enqueue()`",
    3: "Replace direct job removal with `cancel()`",
    4: "Replace processors with `plugin_job_processor` handlers",
    5: "Move Redis state and locks to platform Redis",
    6: "Include tenant, organization and integration in all keys",
    7: "Ensure that the handler runs without a request",
    8: "Drain the old queues before deployment",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of finding: its step, what to do, and whether `migrate rewrite` does it in Python code."""

    step: int
    hint: str
    rewritten: bool = False


KINDS = {
    "dependency": Kind(1, "Remove it from the manifest when nothing of it is used any more."),
    "import": Kind(1, "Remove the import; handlers and producers import from xpert_mq.", rewritten=True),
    "queue": Kind(
        1,
        "Remove it: `managed_queue` needs no object per queue. Its default job options go into each enqueue.",
        rewritten=True,
    ),
    "registration": Kind(1, "Remove it from the module; providers stay. Default job options go into each enqueue."),
    "close": Kind(1, "Remove it: the platform opens and closes what it needs.", rewritten=True),
    "injection": Kind(2, "Remove the argument, and resolve `MANAGED_QUEUE_SERVICE_TOKEN` from the plugin context."),
    "producer": Kind(2, "Enqueue with plugin, queue and job name, payload, tenant and organization.", rewritten=True),
    "bulk-producer": Kind(2, "Enqueue all with `enqueue_many`.", rewritten=True),
    "flow": Kind(2, "No equivalent: let the last child enqueue the parent, or keep the state in your own rows."),
    "queue-method": Kind(2, "Replace it by what the managed queue offers, or drop it."),
    "unknown-queue": Kind(2, "Look at this: it is called like a queue, but what it is can't be seen in the code."),
    "removal": Kind(3, "Cancel by the id that `enqueue` returned: `cancel(job_id)`.", rewritten=True),
    "bulk-removal": Kind(3, "No equivalent for a whole queue: cancel each job by its id, or let retention remove it."),
    "processor": Kind(4, "Declare a handler for each job name with `plugin_job_processor`.", rewritten=True),
    "listener": Kind(
        4, "No events: do it in the handler, or read the state with `get_job`; the platform logs failures."
    ),
    "job-method": Kind(4, "No equivalent on the job: see the method."),
    "redis-client": Kind(5, "Use `managed_queue.get_redis()`; the platform owns the connection."),
    "queue-client": Kind(5, "Use `managed_queue.get_redis()`.", rewritten=True),
    "redis-key": Kind(6, "Look at this: build the key with `redis_key(…)`, or add tenant and organization to it."),
    "request": Kind(7, "Take it from the payload or from `current_context()`, which the platform restores."),
    "own-context": Kind(7, "Remove it: the platform restores tenant, organization and user before the handler."),
    "old-queue": Kind(8, "Drain it with `migrate drain` before the switch."),
}


@dataclass(slots=True)
class Finding:
    """Something to migrate.

    `by` is `rewrite` or `drain` where that command does it, else `person`. Texts that are computed are in `options`
    as `{"computed": code}` or `{"pattern": text}`.
    """

    kind: str
    file: str
    line: int
    column: int
    what: str
    by: str
    hint: str
    queue: Json = None
    jobs: list[Json] = field(default_factory=list)
    options: dict[str, Json] = field(default_factory=dict)
    default_options: dict[str, Json] = field(default_factory=dict)

    @property
    def step(self) -> int:
        """The step of the page's list."""
        return KINDS[self.kind].step
