"""What is reported of the demo when all is well, made up, to be spoilt."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, TypeVar

from examples.demo import check
from examples.demo.case import Case
from examples.demo.plan import Fate, TenantPlan
from examples.demo.script import Told
from examples.demo.seen import Seen
from examples.demo.tries import Try
from examples.wechat.messages import InboundRow, Message, OutboundRow
from examples.wechat.server import Entry
from xpert_mq import JobSnapshot
from xpert_mq.models import JobOptions, JobState

R = TypeVar("R", OutboundRow, InboundRow)


def said(tenant: str, id_: str, account: str = "a1", contact: str = "c1") -> Message:
    return Message("main", account, contact, id_, f"{tenant}: {id_}")


def small_plan(tenant: str) -> TenantPlan:
    plan = TenantPlan(tenant, ("main",))
    fates: dict[str, Fate] = {
        "m0": "sent", "m1": "sent", "again": "sent", "bad": "failed", "never": "cancelled", "maybe": "open",
        "no": "refused",
    }  # fmt: skip
    plan.fates = {said(tenant, id_): fate for id_, fate in fates.items()}
    plan.fates[said(tenant, "m2", contact="c2")] = "sent"
    plan.fates[said(tenant, "m3", account="a2")] = "sent"
    plan.faults = {f"{tenant}: again": ["failed", "lost"], f"{tenant}: bad": ["failed"] * 4}
    plan.inbound = [said(tenant, id_) for id_ in ("i0", "i1", "i2")] + [said(tenant, "j0", contact="c2")]
    return plan


class Report:
    """Of two tenants with the same ids."""

    def __init__(self) -> None:
        self.plan = [small_plan(tenant) for tenant in ("acme", "globex")]
        self.told = {plan.tenant: Told() for plan in self.plan}
        self.log: list[Entry] = []
        self.tries: list[Try] = []
        self.seen = Seen()
        self._now = 100.0
        for plan in self.plan:
            self._outbound(plan)
            self._inbound(plan)

    def faults(self) -> list[str]:
        self.seen.log = sorted(self.log, key=lambda entry: entry.at)
        self.seen.tries = self.tries
        found = check.faults(Case(self.plan, self.told, self.seen))
        return [fault for faults in found.values() for fault in faults]

    def entry(self, text: str) -> Entry:
        """The request with this text that was taken."""
        (found,) = (
            entry
            for entry in self.log
            if entry.outcome == "accepted" and text in (entry.content.get("text"), *entry.content.get("texts", ()))
        )
        return found

    def change(self, text: str, **fields: Any) -> None:
        entry = self.entry(text)
        self.log[self.log.index(entry)] = replace(entry, **fields)

    def row(self, text: str) -> OutboundRow:
        return next(row for rows in self.seen.outbound.values() for row in rows if row.text == text)

    def set_status(self, text: str, status: str) -> None:
        seen = self.seen
        for tenant in seen.outbound:
            seen.outbound[tenant] = [_with_status(row, text, status) for row in seen.outbound[tenant]]
            seen.inbound[tenant] = [_with_status(row, text, status) for row in seen.inbound[tenant]]

    def send(self, text: str, **fields: Any) -> None:
        """Another message is taken at the service, with this text."""
        like = self.entry("acme: m0")
        self._now += 1
        content = {**like.content, "message_id": text.partition(" ")[2], "text": text}
        self.log.append(replace(like, **{"at": self._now, "content": content, **fields}))

    def _outbound(self, plan: TenantPlan) -> None:
        told, rows = self.told[plan.tenant], self.seen.outbound.setdefault(plan.tenant, [])
        for message, fate in plan.fates.items():
            status = "cancelled" if fate == "open" else fate
            if fate == "refused":
                told.refused.add(message)
                continue
            if status == "cancelled":
                told.cancelled[message] = True
            told.due[message] = self._now
            rows.append(OutboundRow(**fields_of(message, len(rows)), status=status, due_ms=0))
            outcomes: list[Any] = ["accepted" if one == "lost" else one for one in plan.faults.get(message.text, [])]
            if status == "sent":
                outcomes.append("duplicate" if "accepted" in outcomes else "accepted")
            for number, outcome in enumerate(outcomes):
                content = {name: getattr(message, name) for name in ("account", "contact", "message_id", "text")}
                last = number == len(outcomes) - 1
                self._request(plan, message, "/messages", rows[-1].id, content, outcome, f"send:{rows[-1].id}:1", last)
            job = snapshot(plan.tenant, f"send:{rows[-1].id}:1", "failed" if status == "failed" else "completed")
            self.seen.jobs[plan.tenant, job.id] = job if outcomes else None

    def _inbound(self, plan: TenantPlan) -> None:
        rows = self.seen.inbound.setdefault(plan.tenant, [])
        for message in plan.inbound:
            rows.append(InboundRow(**fields_of(message, len(rows)), status="dispatched"))
            self.told[plan.tenant].received[message] = self._now
            self._now += 0.02
            self._try(plan.tenant, f"aggregate:{rows[-1].id}:1", self._now)
        for ids in (("i0", "i1"), ("i2",), ("j0",)):
            messages = [one for one in plan.inbound if one.message_id in ids]
            self._now += 0.5
            key = f"{plan.tenant}-batch-{ids[0]}"
            content = {
                "account": "a1", "contact": messages[0].contact, "texts": [one.text for one in messages]
            }  # fmt: skip
            if ids == ("i2",):
                # It came after the batch before it was gone.
                self.told[plan.tenant].received[messages[0]] = self._now
                self.move_try(f"aggregate:{plan.tenant}-i2:1", self._now + 0.01)
                self._now += 0.5
            self._request(plan, messages[0], "/dispatches", key, content, "accepted", f"flush:{key}:1:1", True)

    def _request(
        self,
        plan: TenantPlan,
        message: Message,
        path: str,
        key: str,
        content: dict[str, Any],
        outcome: Any,
        job_id: str,
        last: bool,
    ) -> None:
        self._now += 0.3
        self.log.append(Entry(self._now, path, plan.token(message.integration), key, content, outcome))
        self._try(plan.tenant, job_id, self._now, again_ms=None if last else 150.0)

    def _try(self, tenant: str, job_id: str, at: float, again_ms: float | None = None) -> None:
        name = {"send": "send-message", "aggregate": "aggregate", "flush": "flush"}[job_id.partition(":")[0]]
        began, ended = at - 0.01, at + 0.01
        self.tries.append(Try(tenant, job_id, f"p/q/{name}", began * 1000, ended * 1000, began, ended, again_ms, False))

    def move_try(self, job_id: str, at: float) -> None:
        (one,) = (one for one in self.tries if one.job_id == job_id)
        self.tries[self.tries.index(one)] = replace(one, began=at - 0.01, ended=at + 0.01)


def fields_of(message: Message, seq: int) -> dict[str, Any]:
    return {**asdict(message), "seq": seq, "id": row_id(message), "round": 1, "reason": None}


def _with_status(row: R, text: str, status: str) -> R:
    return replace(row, status=status) if row.text == text else row


def row_id(message: Message) -> str:
    return message.text.replace(": ", "-")


def snapshot(tenant: str, job_id: str, state: JobState = "completed") -> JobSnapshot:
    return JobSnapshot(
        id=job_id,
        name="",
        data=None,
        attempts_made=1,
        opts=JobOptions(),
        state=state,
        timestamp=0,
        plugin_name="p",
        queue_name="q",
        tenant_id=tenant,
    )
