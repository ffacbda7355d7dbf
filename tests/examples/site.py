"""The wechat plugin on a platform of its own, as a test sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

from examples.wechat import keys
from examples.wechat.inbound import Inbound
from examples.wechat.messages import InboundRow, Message, OutboundRow
from examples.wechat.outbound import Outbound
from examples.wechat.rows import Rows
from examples.wechat.server import ChatServer, Entry
from examples.wechat.settings import Integration
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for
from xpert_mq import JobSnapshot
from xpert_mq.embedded import EmbeddedServer

#: As in production, but a hundred times as fast.
FAST: dict[str, Any] = {
    "account_interval_ms": 5,
    "contact_interval_ms": 10,
    "lock_retry_ms": 10,
    "lock_ttl_ms": 1000,
    "backoff_ms": 50,
    "debounce_ms": 250,
    "dispatch_backoff_ms": 100,
    "windows": (),
}


class Site:
    """A platform with the plugin, and the plugin's verbs for the tenant of the current context."""

    def __init__(self, server: EmbeddedServer, folder: Path, **env: str) -> None:
        database = folder / "wechat.sqlite3"
        self.deployment = Deployment(
            server,
            folder,
            XPERT_MQ_PLUGINS="examples.wechat",
            MANAGED_QUEUE_CONCURRENCY="6",
            WECHAT_DATABASE=str(database),
            **env,
        )
        self.queue = self.deployment.service
        self.rows = Rows(database)
        self.outbound = Outbound(self.queue, self.rows)
        self.inbound = Inbound(self.queue, self.rows)

    def connect(self, chat: ChatServer, token: str = "token", **options: Any) -> None:
        """Makes the tenant's integration `main`."""
        self.rows.save_integration(Integration(id="main", url=chat.url, token=token, **{**FAST, **options}))

    def send(self, *ids: str, account: str = "a1", contact: str = "c1", delay_ms: int = 0) -> list[OutboundRow]:
        return [self.outbound.send(message(id_, account, contact), delay_ms) for id_ in ids]

    def receive(self, *ids: str, account: str = "a1", contact: str = "c1") -> list[InboundRow]:
        return [self.inbound.receive(message(id_, account, contact)) for id_ in ids]

    def sent(self, row: OutboundRow) -> OutboundRow:
        """The row as it is now."""
        found = self.rows.outbound(row.id)
        assert found is not None
        return found

    def received(self, row: InboundRow) -> InboundRow:
        found = self.rows.inbound(row.id)
        assert found is not None
        return found

    def job(self, row: OutboundRow) -> JobSnapshot | None:
        return self.queue.get_job(keys.send_id(self.sent(row)))

    def wait_state(self, row: OutboundRow, *states: str | None) -> None:
        """Waits until the row's job is in one of the states; None: there is none."""
        self.wait(lambda: ((job := self.job(row)) and job.state) in states, f"{row} to be {states}")

    def finished(self, row: OutboundRow) -> JobSnapshot:
        """The row's job, when it has ended."""
        job: JobSnapshot = self.wait(
            lambda: (now := self.job(row)) and now.state in ("completed", "failed") and now, f"the end of {row}"
        )
        return job

    def all_are(self, status: str, rows: Iterable[OutboundRow | InboundRow], timeout: float = 15) -> None:
        """Waits until all rows have the status."""
        rows = list(rows)
        self.wait(lambda: self.statuses(rows) == {status: len(rows)}, lambda: str(self.statuses(rows)), timeout)

    def statuses(self, rows: Iterable[OutboundRow | InboundRow]) -> Counter[str]:
        now = (self.sent(row) if isinstance(row, OutboundRow) else self.received(row) for row in rows)
        return Counter(row.status for row in now)

    def wait(self, condition: Callable[[], Any], what: str | Callable[[], str], timeout: float = 15) -> Any:
        try:
            return wait_for(condition, "what was waited for", timeout)
        except AssertionError:
            said = what if isinstance(what, str) else what()
            raise AssertionError(f"not within {timeout:g} s: {said}\n{self.deployment.log_tail()}") from None


def message(id_: str, account: str = "a1", contact: str = "c1") -> Message:
    return Message("main", account, contact, id_, f"text of {id_}")


def outcomes(chat: ChatServer) -> Counter[str]:
    return Counter(entry.outcome for entry in chat.service.log())


def sent_ids(entries: Iterable[Entry]) -> list[str]:
    return [entry.content["message_id"] for entry in entries]


def dispatched_texts(chat: ChatServer, token: str | None = None) -> list[list[str]]:
    return [entry.content["texts"] for entry in chat.taken("/dispatches", token)]


def shortest_gap_ms(entries: Iterable[Entry]) -> float:
    return min(((after.at - before.at) * 1000 for before, after in pairwise(entries)), default=float("inf"))
