"""Who sends what when, what goes wrong, and how it must end. The same seed gives the same plan."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..wechat.messages import Message
from ..wechat.server import Fault
from ..wechat.settings import Integration, Window

#: Tenants, their integrations, and what their ids are made from: two of them have all ids in common.
TENANTS = (("acme", ("main", "shop"), "same"), ("globex", ("main", "shop"), "same"), ("initech", ("desk",), "own"))
ORGANIZATION = "hq"

#: As in production, but some ten times as fast.
_LIMITS: Mapping[str, Any] = {
    "interval_ms": 10,
    "account_interval_ms": 80,
    "contact_interval_ms": 150,
    "windows": (
        Window(name="burst", of="account", window_ms=1500, limit=13),
        Window(name="burst", of="contact", window_ms=2000, limit=7),
    ),
    "account_backlog": 1000,
    "contact_backlog": 1000,
    "attempts": 4,
    "backoff_ms": 150,
    "lock_retry_ms": 50,
    "debounce_ms": 500,
    "dispatch_backoff_ms": 150,
}
#: What the chat service takes of one token, and how long it thinks.
SERVICE: Mapping[str, int] = {"throttle": 5, "throttle_ms": 300, "delay_ms": 5}

_ACCOUNTS = {"main": ("alice", "bob"), "shop": ("carol",), "desk": ("dave", "erin")}
#: Messages of an account in the first burst, and in both.
_BURSTS = (14, 22)
_PACE_MS = 45
_CONTACTS = ("c1", "c2", "c3", "c4")
_PHRASES = ("your order is on its way", "see you tomorrow", "the invoice is attached", "thank you for waiting")
_FAULTS: tuple[tuple[Fault, ...], ...] = (("failed",), ("failed", "failed"), ("lost",), ("failed", "lost"))
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Send:
    message: Message
    delay_ms: int = 0


@dataclass(frozen=True, slots=True)
class Cancel:
    message: Message


@dataclass(frozen=True, slots=True)
class Retry:
    """By hand, once it has failed for good."""

    message: Message


@dataclass(frozen=True, slots=True)
class Pause:
    integration: str
    account: str


@dataclass(frozen=True, slots=True)
class Resume:
    integration: str
    account: str


@dataclass(frozen=True, slots=True)
class Receive:
    message: Message


Action = Send | Cancel | Retry | Pause | Resume | Receive

#: `open`: as its cancel said, which comes while others are being sent. `refused`: by a pause, and not even kept.
Fate = Literal["sent", "failed", "cancelled", "open", "refused"]


@dataclass
class TenantPlan:
    """A tenant's part.

    Attributes:
        steps: milliseconds from the start, and what to do then.
        fates: what must become of each outbound message.
        inbound: the inbound messages in order.
        faults: by text, what goes wrong at the service.
    """

    tenant: str
    integrations: Sequence[str]
    steps: list[tuple[int, Action]] = field(default_factory=list)
    fates: dict[Message, Fate] = field(default_factory=dict)
    inbound: list[Message] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=dict)

    def token(self, integration: str) -> str:
        return f"{self.tenant}-{integration}-token"

    def integration(self, id_: str, url: str = "http://127.0.0.1") -> Integration:
        """Who only asks for its limits needs no address."""
        return Integration(id=id_, url=url, token=self.token(id_), **_LIMITS)

    @property
    def messages(self) -> int:
        return len(self.fates) + len(self.inbound)


def make_plan(seed: int) -> list[TenantPlan]:
    """The plan of all tenants."""
    return [
        # Ids, contacts and times are the same where the ids are; what goes wrong is each tenant's own.
        _Planner(tenant, integrations, random.Random(f"{seed} {ids}"), random.Random(f"{seed} {tenant}")).plan()
        for tenant, integrations, ids in TENANTS
    ]


class _Planner:
    def __init__(self, tenant: str, integrations: Sequence[str], shape: random.Random, trouble: random.Random) -> None:
        self._plan = TenantPlan(tenant, integrations)
        self._shape = shape
        self._trouble = trouble

    def plan(self) -> TenantPlan:
        for integration in self._plan.integrations:
            for account in _ACCOUNTS[integration]:
                self._bursts(integration, account)
                self._delays(integration, account)
            self._pause(integration, _ACCOUNTS[integration][0])
            for contact in _CONTACTS[:3]:
                self._conversation(integration, _ACCOUNTS[integration][-1], contact)
        self._plan.steps.sort(key=lambda step: step[0])
        return self._plan

    def _bursts(self, integration: str, account: str) -> None:
        """Two bursts, some of whose messages fail, and some of which are cancelled while others are being sent."""
        messages = [self._message(integration, account, f"{account}-{number}") for number in range(_BURSTS[1])]
        for number, message in enumerate(messages):
            self._send((0 if number < _BURSTS[0] else 3300) + _PACE_MS * number, message, "sent")
        for message in self._shape.sample(messages[: _BURSTS[0]], 2):
            self._step(680, Cancel(message))
            self._plan.fates[message] = "open"
        sure = [message for message in messages if self._plan.fates[message] == "sent"]
        *again, retried = self._trouble.sample(sure, 4)
        for message in again:
            self._plan.faults[message.text] = list(self._trouble.choice(_FAULTS))
        # After the pause, which gives a message all its tries again.
        given_up = self._trouble.choice([one for one in messages[_BURSTS[0] :] if one not in (*again, retried)])
        self._plan.faults[given_up.text] = ["failed"] * _LIMITS["attempts"]
        self._plan.fates[given_up] = "failed"
        self._plan.faults[retried.text] = ["refused"]
        self._step(5500, Retry(retried))

    def _delays(self, integration: str, account: str) -> None:
        for number in range(2):
            late = self._message(integration, account, f"{account}-late-{number}")
            self._send(50, late, "sent", delay_ms=self._shape.randrange(600, 3000))
            never = self._message(integration, account, f"{account}-never-{number}")
            self._send(60, never, "cancelled", delay_ms=_HOUR_MS)
            self._step(3000, Cancel(never))

    def _pause(self, integration: str, account: str) -> None:
        """In the middle of the first burst: what waits is kept, and what comes is refused."""
        self._step(700, Pause(integration, account))
        for number in range(2):
            self._send(1000, self._message(integration, account, f"{account}-refused-{number}"), "refused")
        self._step(1900, Resume(integration, account))

    def _conversation(self, integration: str, account: str, contact: str) -> None:
        """Three times some messages in a row; one time something goes wrong when they are dispatched."""
        bursts = [list(self._burst(f"{account}-{contact}", number)) for number in range(3)]
        begin = self._shape.randrange(700, 1300)
        for number, ids in enumerate(bursts):
            for place, id_ in enumerate(ids):
                message = self._message(integration, account, id_, contact)
                self._plan.inbound.append(message)
                self._step(begin + 1900 * number + 30 * place, Receive(message))
        if self._trouble.random() < 0.5:
            self._plan.faults[self._trouble.choice(self._plan.inbound[-6:]).text] = list(self._trouble.choice(_FAULTS))

    def _burst(self, name: str, number: int) -> Iterator[str]:
        for place in range(self._shape.randint(2, 5)):
            yield f"{name}-{number}-{place}"

    def _message(self, integration: str, account: str, id_: str, contact: str = "") -> Message:
        said = f"{self._plan.tenant}/{integration} {id_}: {self._shape.choice(_PHRASES)}"
        return Message(integration, account, contact or self._shape.choice(_CONTACTS), id_, said)

    def _send(self, at_ms: int, message: Message, fate: Fate, delay_ms: int = 0) -> None:
        self._plan.fates[message] = fate
        self._step(at_ms, Send(message, delay_ms))

    def _step(self, at_ms: int, action: Action) -> None:
        self._plan.steps.append((at_ms, action))
