"""Which jobs there are, and how each must end: the truth that the demo holds against what the system says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from examples.demo import plugin

#: Two of them use the same ids.
TENANTS = ("acme", "globex", "initech")
ID_PREFIX = {"initech": "initech-"}

_DAY_MS = 24 * 3600 * 1000

Kind = Literal[
    "plain", "delayed", "deferred", "retried", "failed", "checkpointed", "duplicated", "cancelled", "cancelled in time"
]
Outcome = Literal["completed", "failed", "cancelled", "any"]
Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One job and what must become of it."""

    tenant: str
    kind: Kind
    logical: tuple[str, str, str]
    job_id: str
    payload: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    #: "any": its cancel races with a worker, so it is either cancelled or completed.
    outcome: Outcome = "completed"
    #: Ended tries, and calls of the handler (None: as many as it takes).
    tries: int = 1
    starts: int | None = 1
    #: Milliseconds from its enqueueing before which its last try can't start.
    not_before_ms: int = 0
    #: How often it is enqueued by the producer; 0: a handler does it.
    copies: int = 1

    @property
    def key(self) -> Key:
        """Tenant and id, which name a job."""
        return self.tenant, self.job_id

    def request(self) -> dict[str, Any]:
        """What `enqueue` takes. The tenant is not said: it comes from the context."""
        plugin_name, queue_name, job_name = self.logical
        return {
            "plugin_name": plugin_name,
            "queue_name": queue_name,
            "job_name": job_name,
            "job_id": self.job_id,
            "payload": {"tenant": self.tenant, **self.payload},
            **self.options,
        }


def make_plan() -> list[Planned]:
    """All jobs of the demo."""
    return [job for tenant in TENANTS for job in _of_tenant(tenant, ID_PREFIX.get(tenant, ""))]


def organization_of(tenant: str) -> str:
    """The one organization of a tenant."""
    return f"{tenant}-headquarters"


def _of_tenant(tenant: str, prefix: str) -> Iterator[Planned]:
    for number, job in enumerate((*_texts(), *_transcripts(), *_videos(), *_exports(), *_clean_ups()), 1):
        job_id = f"{prefix}{job['logical'][2]}-{number}"
        payload = job.pop("payload", {})
        if job["logical"] == plugin.STORY_SUBMIT:
            payload = {**payload, "poll_id": f"{prefix}poll-{number}"}
            yield _poll_of(tenant, payload)
        yield Planned(tenant=tenant, job_id=job_id, payload=payload, **job)


def _texts() -> Iterator[dict[str, Any]]:
    for number in range(40):
        yield {"kind": "plain", "logical": plugin.WECHAT, "payload": {"contact": f"contact-{number}"}}
    for number in range(12):
        delay_ms = 400 + 150 * number
        yield {
            "kind": "delayed",
            "logical": plugin.WECHAT,
            "payload": {"contact": f"late-{number}"},
            "options": {"delay_ms": delay_ms},
            "not_before_ms": delay_ms,
        }
    for _ in range(8):
        yield {"kind": "deferred", "logical": plugin.WECHAT, "payload": {"contact": "busy"}, "starts": None}


def _transcripts() -> Iterator[dict[str, Any]]:
    options = {"attempts": 3, "backoff_ms": {"type": "exponential", "delay": 200}}
    waits = 200 + 400
    for _ in range(10):
        yield {"kind": "plain", "logical": plugin.CUT, "payload": {"bad_tries": 0}, "options": options}
    for _ in range(8):
        yield {
            "kind": "retried",
            "logical": plugin.CUT,
            "payload": {"bad_tries": 2},
            "options": options,
            "tries": 3,
            "starts": 3,
            "not_before_ms": waits,
        }
    for _ in range(3):
        yield {
            "kind": "failed",
            "logical": plugin.CUT,
            "payload": {"bad_tries": 3},
            "options": options,
            "outcome": "failed",
            "tries": 3,
            "starts": 3,
            "not_before_ms": waits,
        }
    for _ in range(3):
        payload = {"bad_tries": 0, "damaged": True}
        yield {"kind": "failed", "logical": plugin.CUT, "payload": payload, "options": options, "outcome": "failed"}


def _videos() -> Iterator[dict[str, Any]]:
    for _ in range(6):
        yield {
            "kind": "checkpointed",
            "logical": plugin.KLING,
            "payload": {"phase": "created"},
            "options": {"attempts": 3, "backoff_ms": 250},
            "tries": 2,
            "starts": 2,
            "not_before_ms": 250,
        }
    for _ in range(5):
        yield {"kind": "plain", "logical": plugin.STORY_SUBMIT, "payload": {"polls": 3}}


def _poll_of(tenant: str, payload: dict[str, Any]) -> Planned:
    """The job that the handler of `submit` enqueues."""
    return Planned(
        tenant=tenant,
        kind="deferred",
        logical=plugin.STORY_POLL,
        job_id=payload["poll_id"],
        payload=payload,
        starts=payload["polls"] + 1,
        not_before_ms=payload["polls"] * plugin.POLL_INTERVAL_MS,
        copies=0,
    )


def _exports() -> Iterator[dict[str, Any]]:
    options = {"execution_pool": "sandbox-browser"}
    for _ in range(5):
        yield {"kind": "duplicated", "logical": plugin.PRESENTATION, "options": options, "copies": 3}
    for _ in range(4):
        yield {"kind": "cancelled in time", "logical": plugin.PRESENTATION, "options": options, "outcome": "any"}


def _clean_ups() -> Iterator[dict[str, Any]]:
    for _ in range(4):
        options = {"delay_ms": _DAY_MS}
        yield {"kind": "cancelled", "logical": plugin.LARK, "options": options, "outcome": "cancelled"}
