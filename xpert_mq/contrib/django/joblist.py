"""The jobs that a member of staff may see."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from xpert_mq.contrib.django.conf import configuration
from xpert_mq.inspector import Inspector
from xpert_mq.service import managed_queue
from xpert_mq.store.listing import STATES, JobFilter, ListedJob, Position, Tenants

FILTERS = ("tenant", "state", "plugin", "queue", "job_name")
PAGE = 50


@dataclass(frozen=True, slots=True)
class Listing:
    """Jobs, newest first, and where the next page begins ('' for the last)."""

    jobs: list[ListedJob]
    after: str


def find(user: Any, wanted: Mapping[str, str], after: str | None) -> Listing:
    """The jobs that match the filters ('' for any), of the tenants that the user may see."""
    state: Any = wanted["state"]
    base = JobFilter(
        states=(state,) if state in STATES else STATES,
        plugin_name=wanted["plugin"] or None,
        queue_name=wanted["queue"] or None,
        job_name=wanted["job_name"] or None,
    )
    position = _position(after)
    inspector = Inspector(managed_queue)
    pages = [
        inspector.page(replace(base, tenant_id=tenant), PAGE, position) for tenant in _tenants(user, wanted["tenant"])
    ]
    found = sorted((job for page in pages for job in page.jobs), key=_place, reverse=True)
    more = len(found) > PAGE or any(page.next for page in pages)
    jobs = found[:PAGE]
    return Listing(jobs, _cursor(jobs[-1].position) if more else "")


def may_see(user: Any, tenant_id: str | None) -> bool:
    """Whether the jobs of this tenant are among them."""
    return bool(user.is_superuser) or tenant_id in tuple(configuration().admin_tenants(user))


def sees_several(user: Any) -> bool:
    """Whether these are of more than one tenant, so that it matters whose a job is."""
    return bool(user.is_superuser) or len(set(configuration().admin_tenants(user))) > 1


def _tenants(user: Any, wanted: str) -> Sequence[str | Tenants | None]:
    if user.is_superuser:
        return [wanted or Tenants.ALL]
    return [tenant for tenant in dict.fromkeys(configuration().admin_tenants(user)) if wanted in ("", tenant)]


def _place(job: ListedJob) -> tuple[float, bytes]:
    return float(job.position.time), job.position.token.encode()


def _cursor(position: Position) -> str:
    return base64.urlsafe_b64encode(json.dumps([position.time, position.token]).encode()).decode()


def _position(cursor: str | None) -> Position | None:
    """None for what is no cursor, too: a list begins anew then."""
    if not cursor:
        return None
    try:
        time, token = json.loads(base64.urlsafe_b64decode(cursor))
        float(time)
    except (ValueError, TypeError):
        return None
    return Position(time, token)
