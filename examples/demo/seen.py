"""What became of the plan: from the plugin's rows, the service's log, the platform's jobs, and the workers' tries."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from xpert_mq import JobSnapshot, ManagedQueueService, request_context

from ..wechat import keys
from ..wechat.database import OWN
from ..wechat.messages import InboundRow, OutboundRow
from ..wechat.rows import Rows
from ..wechat.server import Entry
from .plan import ORGANIZATION
from .tries import Try, read_tries

_SETTLED_WITHIN = 15
_LOOK_SECONDS = 0.1

#: Tenant and job id.
Key = tuple[str, str]

R = TypeVar("R", OutboundRow, InboundRow)


@dataclass
class Seen:
    """All of it. `jobs` has None where a job's record is gone: it was cancelled."""

    log: Sequence[Entry] = ()
    outbound: dict[str, list[OutboundRow]] = field(default_factory=dict)
    inbound: dict[str, list[InboundRow]] = field(default_factory=dict)
    jobs: dict[Key, JobSnapshot | None] = field(default_factory=dict)
    tries: Sequence[Try] = ()


class Observer:
    """Looks from outside: at the database, the service and the platform."""

    def __init__(self, queue: ManagedQueueService, rows: Rows, url: str, tries: Path) -> None:
        self._queue = queue
        self._rows = rows
        self._url = url
        self._tries = tries

    def statuses(self, tenant: str) -> Counter[str]:
        """The tenant's rows by status."""
        with request_context(tenant_id=tenant, organization_id=ORGANIZATION):
            found = self._rows.run(
                f"SELECT status, count(*) AS number FROM outbound WHERE {OWN} GROUP BY status"
                f" UNION ALL SELECT status, count(*) FROM inbound WHERE {OWN} GROUP BY status"
            )
        return Counter({row["status"]: row["number"] for row in found})

    def look(self, tenants: Sequence[str]) -> Seen:
        """Everything, once all jobs have ended and their tries are noted; or what there is after a while."""
        deadline = time.monotonic() + _SETTLED_WITHIN
        while True:
            seen = self._look(tenants)
            if _is_settled(seen) or time.monotonic() > deadline:
                return seen
            time.sleep(_LOOK_SECONDS)

    def _look(self, tenants: Sequence[str]) -> Seen:
        seen = Seen(log=self._log(), tries=read_tries(self._tries))
        for tenant in tenants:
            with request_context(tenant_id=tenant, organization_id=ORGANIZATION):
                seen.outbound[tenant] = self._all(OutboundRow, "outbound")
                seen.inbound[tenant] = self._all(InboundRow, "inbound")
                for job_id in _job_ids(seen, tenant):
                    seen.jobs[tenant, job_id] = self._queue.get_job(job_id)
        return seen

    def _all(self, kind: type[R], table: str) -> list[R]:
        columns = ", ".join(column.name for column in fields(kind))
        return [kind(**row) for row in self._rows.run(f"SELECT {columns} FROM {table} WHERE {OWN} ORDER BY seq")]

    def _log(self) -> list[Entry]:
        with urllib.request.urlopen(f"{self._url}/log") as response:
            return [Entry(**entry) for entry in json.loads(response.read())["log"]]


def behave(url: str, how: Mapping[str, Any]) -> None:
    """Tells the service what to do wrong."""
    urllib.request.urlopen(f"{url}/behaviour", data=json.dumps(how).encode()).close()


def _job_ids(seen: Seen, tenant: str) -> Iterator[str]:
    """All jobs that the tenant has had: one per row and round, and one per version of a batch."""
    for outbound in seen.outbound[tenant]:
        yield from (keys.send_id(replace(outbound, round=number + 1)) for number in range(outbound.round))
    for inbound in seen.inbound[tenant]:
        yield from (keys.aggregate_id(replace(inbound, round=number + 1)) for number in range(inbound.round))
    for one in seen.tries:
        if one.tenant == tenant and one.logical.endswith(f"/{keys.FLUSH}"):
            _, batch, version, round_ = one.job_id.split(":")
            yield from (keys.flush_id(batch, number + 1, int(round_)) for number in range(int(version)))


def _is_settled(seen: Seen) -> bool:
    """Whether all jobs have ended, and their tries are noted: a worker does that a moment later."""
    ended = Counter((one.tenant, one.job_id) for one in seen.tries if not one.deferred)
    return all(
        job is None or (job.state in ("completed", "failed") and ended[key] >= job.attempts_made)
        for key, job in seen.jobs.items()
    )
