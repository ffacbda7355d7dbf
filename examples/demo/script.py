"""Plays a tenant's part of the plan, as requests of its users and of the chat service would."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from xpert_mq import ManagedQueueService, request_context

from ..wechat.inbound import Inbound
from ..wechat.messages import Message
from ..wechat.outbound import Outbound, PausedError
from ..wechat.rows import Rows
from .plan import ORGANIZATION, Action, Cancel, Pause, Receive, Resume, Retry, Send, TenantPlan

_FAILED_WITHIN = 15
_LOOK_SECONDS = 0.05


@dataclass
class Paused:
    """A pause: when it stood, until when, and the rows that were being sent at its start. Seconds, as in the log."""

    integration: str
    account: str
    begin: float
    sending: frozenset[str]
    end: float = float("inf")


@dataclass
class Told:
    """What the plugin said.

    Attributes:
        due: of each message that it keeps, the moment before which it must not be sent. Seconds, as in the log.
        refused: what it did not keep.
        received: when each inbound message was handed in.
        cancelled: whether it said so.
    """

    due: dict[Message, float] = field(default_factory=dict)
    refused: set[Message] = field(default_factory=set)
    received: dict[Message, float] = field(default_factory=dict)
    cancelled: dict[Message, bool] = field(default_factory=dict)
    pauses: list[Paused] = field(default_factory=list)


class Script:
    """One tenant's part.

    Attributes:
        told: grows while the script plays.
    """

    def __init__(self, plan: TenantPlan, queue: ManagedQueueService, rows: Rows, stop: threading.Event) -> None:
        self._plan = plan
        self._outbound = Outbound(queue, rows)
        self._inbound = Inbound(queue, rows)
        self._rows = rows
        self._stop = stop
        self.told = Told()

    def play(self, url: str, begin: float) -> None:
        """Does each step in its time, from `begin` on, or until `stop` is set."""
        with request_context(tenant_id=self._plan.tenant, organization_id=ORGANIZATION):
            for id_ in self._plan.integrations:
                self._rows.save_integration(self._plan.integration(id_, url))
            for at_ms, action in self._plan.steps:
                if self._stop.wait(max(0, begin + at_ms / 1000 - time.monotonic())):
                    return
                self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Send():
                self._send(action)
            case Receive(message):
                self.told.received[message] = time.monotonic()
                self._inbound.receive(message)
            case Cancel(message):
                self.told.cancelled[message] = self._outbound.cancel(self._row_id(message))
            case Retry(message):
                self._retry(message)
            case Pause():
                self._pause(action)
            case Resume(integration, account):
                pauses = self.told.pauses
                (pause,) = (one for one in pauses if (one.integration, one.account) == (integration, account))
                pause.end = time.monotonic()
                while self._outbound.resume(integration, account):
                    pass

    def _send(self, action: Send) -> None:
        due = time.monotonic() + action.delay_ms / 1000
        try:
            self._outbound.send(action.message, action.delay_ms)
            self.told.due[action.message] = due
        except PausedError:
            self.told.refused.add(action.message)

    def _pause(self, action: Pause) -> None:
        self._outbound.pause(action.integration, action.account)
        # What is being sent now may still reach the service, and all that has been sent has reached it before `begin`.
        open_rows = self._rows.open_outbound(older_than_ms=0)
        sending = frozenset(row.id for row in open_rows if row.status == "sending")
        self.told.pauses.append(Paused(action.integration, action.account, time.monotonic(), sending))

    def _retry(self, message: Message) -> None:
        row_id, deadline = self._row_id(message), time.monotonic() + _FAILED_WITHIN
        while not self._outbound.retry(row_id) and time.monotonic() < deadline:
            if self._stop.wait(_LOOK_SECONDS):
                return

    def _row_id(self, message: Message) -> str:
        row = self._rows.find_outbound(message)
        if row is None:
            raise LookupError(f"there is no row of {message}")
        return row.id
