"""What is wrong: the plan, what the plugin told, and what has been seen, held against each other.

The service's log is the judge. All that it says of a message must be explained by the plan.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from ..wechat.messages import Message, OutboundRow
from ..wechat.server import Entry
from .case import CLOCKS, Case, by
from .plan import TenantPlan
from .script import Told
from .turns import limit_faults


def faults(case: Case) -> dict[str, list[str]]:
    """What is wrong, in words, by what was checked."""
    return {what: list(check(case)) for what, check in CHECKS.items()}


# --- Outbound: once, whole, by its own tenant -------------------------------------------------------------------------


def _sent(case: Case) -> Iterator[str]:
    requests: dict[str, list[Entry]] = defaultdict(list)
    for entry in case.requests("/messages"):
        requests[entry.content["text"]].append(entry)
    for plan in case.plan:
        rows = {row.text: row for row in case.seen.outbound[plan.tenant]}
        for message in plan.fates:
            own = requests.pop(message.text, [])
            for fault in _faults_of(plan, case.told[plan.tenant], message, rows.get(message.text), own):
                yield f"{_named(plan, message)} {fault}"
    for text in requests:
        yield f"the service got {text!r}, which nobody has planned"


def _faults_of(
    plan: TenantPlan, told: Told, message: Message, row: OutboundRow | None, requests: Sequence[Entry]
) -> Iterator[str]:
    status = _status(plan, told, message)
    taken = sum(entry.outcome == "accepted" for entry in requests)
    outcomes = [entry.outcome for entry in requests if entry.outcome != "throttled"]
    if status == "sent" and not taken:
        yield "is lost: the service never took it"
    elif taken > (status == "sent"):
        yield f"was to be {status or 'refused'}, and the service took it {taken} times"
    elif outcomes != (planned := _outcomes(plan, message, status)):
        yield f"was to be {planned} at the service, and was {outcomes}"
    if (row.status if row else None) != status:
        yield f"is {row.status if row else 'unknown'} in the plugin's rows, not {status or 'unknown'}"
    for entry in requests:
        yield from _faults_of_request(plan, told, message, row, entry)


def _status(plan: TenantPlan, told: Told, message: Message) -> str | None:
    """What its row must say; None: there must be none."""
    fate = plan.fates[message]
    if fate == "open":
        return "cancelled" if told.cancelled.get(message) else "sent"
    return None if fate == "refused" else fate


def _outcomes(plan: TenantPlan, message: Message, status: str | None) -> list[str]:
    """What the service must have said, throttling aside."""
    planned = plan.faults.get(message.text, [])
    said = ["accepted" if fault == "lost" else fault for fault in planned]
    if status == "sent":
        said.append("duplicate" if "lost" in planned else "accepted")
    return list(said)


def _faults_of_request(
    plan: TenantPlan, told: Told, message: Message, row: OutboundRow | None, entry: Entry
) -> Iterator[str]:
    if entry.token != plan.token(message.integration):
        yield f"was sent with the token {entry.token!r}"
    if entry.content != _content(message):
        yield f"was sent as {entry.content}"
    if row is None or entry.key != row.id:
        yield f"was sent with the key {entry.key!r}, which is not its row's"
    early = told.due.get(message, 0) - CLOCKS - entry.at
    if early > 0:
        yield f"was sent {early * 1000:.0f} ms too early"


def _content(message: Message) -> dict[str, str]:
    return {
        "account": message.account,
        "contact": message.contact,
        "message_id": message.message_id,
        "text": message.text,
    }


# --- Cancels and pauses -----------------------------------------------------------------------------------------------


def _kept_back(case: Case) -> Iterator[str]:
    for plan in case.plan:
        told = case.told[plan.tenant]
        for message, fate in plan.fates.items():
            if fate == "cancelled" and not told.cancelled.get(message):
                yield f"{_named(plan, message)} could not be cancelled"
            if (fate == "refused") != (message in told.refused):
                yield f"{_named(plan, message)} was {'kept' if fate == 'refused' else 'refused'}"
        for pause in told.pauses:
            for entry in case.requests("/messages"):
                is_its = (entry.token, entry.content["account"]) == (plan.token(pause.integration), pause.account)
                if is_its and pause.begin < entry.at < pause.end and entry.key not in pause.sending:
                    yield f"{plan.tenant}: {entry.content['text']!r} was sent while {pause.account} was paused"


# --- Inbound: whole conversations, in order, once ---------------------------------------------------------------------


def _conversations(case: Case) -> Iterator[str]:
    dispatches = by(
        (entry for entry in case.requests("/dispatches") if entry.outcome == "accepted"),
        lambda entry: (entry.token, entry.content["account"], entry.content["contact"]),
    )
    for plan in case.plan:
        conversations = by(plan.inbound, lambda one: (one.integration, one.account, one.contact))
        for (integration, account, contact), messages in conversations.items():
            own = dispatches.pop((plan.token(integration), account, contact), [])
            for fault in _faults_of_conversation(case, plan, messages, own):
                yield f"{plan.tenant}/{integration}: the conversation of {account} with {contact} {fault}"
        for row in case.seen.inbound[plan.tenant]:
            if row.status != "dispatched":
                yield f"{plan.tenant}: inbound {row.text!r} is {row.status} in the plugin's rows"
    for (token, account, contact), own in dispatches.items():
        yield f"the service got {len(own)} dispatches of {account} and {contact} with {token}, which nobody has planned"


def _faults_of_conversation(
    case: Case, plan: TenantPlan, messages: Sequence[Message], dispatches: Sequence[Entry]
) -> Iterator[str]:
    planned = [message.text for message in messages]
    texts = [text for entry in dispatches for text in entry.content["texts"]]
    number = Counter(texts)
    yield from (f"has {text!r} of another" for text in number if text not in planned)
    yield from (f"was dispatched without {text!r}" for text in planned if not number[text])
    yield from (f"was dispatched with {text!r} {number[text]} times" for text in planned if number[text] > 1)
    if sorted(texts) == sorted(planned):
        if texts != planned:
            yield "was dispatched out of order"
        yield from _faults_of_debounce(case, plan, messages, dispatches)


def _faults_of_debounce(
    case: Case, plan: TenantPlan, messages: Sequence[Message], dispatches: Sequence[Entry]
) -> Iterator[str]:
    """Not before it is quiet, and then with all that had been gathered."""
    told = case.told[plan.tenant]
    quiet = plan.integration(messages[0].integration).debounce_ms / 1000
    received = {message.text: told.received[message] for message in messages}
    for entry in dispatches:
        waited = entry.at - received[entry.content["texts"][-1]]
        if waited < quiet - CLOCKS:
            yield f"was dispatched {waited * 1000:.0f} ms after its last message, not {quiet * 1000:.0f}"
    tries = by(case.seen.tries, lambda one: (one.tenant, one.job_id.split(":")[1]))
    rows = {row.text: row.id for row in case.seen.inbound[plan.tenant]}
    for entry, following in pairwise(dispatches):
        begin = max((one.began for one in tries.get((plan.tenant, entry.key), ()) if one.began < entry.at), default=0.0)
        first = following.content["texts"][0]
        gathered = [one.ended for one in tries.get((plan.tenant, rows.get(first, "")), ()) if one.again_ms is None]
        if any(ended < begin for ended in gathered):
            yield f"was dispatched without {first!r}, which had been gathered"


# --- Jobs -------------------------------------------------------------------------------------------------------------


def _jobs(case: Case) -> Iterator[str]:
    """Each has ended, as its message has, and for its own tenant."""
    for plan in case.plan:
        fail = {row.id for row in case.seen.outbound[plan.tenant] if _fails(plan, row)}
        for (tenant, job_id), job in case.seen.jobs.items():
            if tenant != plan.tenant or job is None:
                continue
            if job.state not in ("completed", "failed"):
                yield f"{tenant}'s job {job_id} has not ended: it is {job.state}"
            elif job.state == "failed" and job_id.split(":")[1] not in fail:
                yield f"{tenant}'s job {job_id} failed: {job.failed_reason}"
            if job.tenant_id != tenant:
                yield f"{tenant}'s job {job_id} belongs to {job.tenant_id}"


def _fails(plan: TenantPlan, row: OutboundRow) -> bool:
    return row.status == "failed" or "refused" in plan.faults.get(row.text, ())


def _named(plan: TenantPlan, message: Message) -> str:
    return f"{plan.tenant}/{message.integration}: message {message.message_id} of {message.account}"


CHECKS: Mapping[str, Callable[[Case], Iterator[str]]] = {
    "Each message was taken once, with its own tenant's token, as planned": _sent,
    "What was cancelled, paused or refused was not sent": _kept_back,
    "Intervals and counters were kept": limit_faults,
    "Conversations went out whole, in order, once, and when it was quiet": _conversations,
    "Every job ended as its message did": _jobs,
}
