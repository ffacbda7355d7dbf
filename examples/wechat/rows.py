"""The plugin's own records: what is to be sent, what came in, and what is paused. They say what jobs have to do.

A change of status names the statuses that it may follow, so that of two changes that race one wins.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from .database import OWN, Database, Transaction, now_ms
from .messages import PENDING, WAITING, InboundRow, Message, OutboundRow, Row
from .settings import Integration

_COLUMNS = "seq, integration, account, contact, message_id, id, text, status, round, reason"
_OUTBOUND = f"{_COLUMNS}, due_ms"
_ACCOUNT = f"{OWN} AND integration = :integration AND account = :account"
#: Of a pause: an empty contact means the whole account.
_PAUSED = f"{_ACCOUNT} AND (:contact = '' OR contact = :contact)"


class Rows(Database):
    """The tables, for the tenant and the organization of the current context."""

    # --- Integrations -------------------------------------------------------------------------------------------------

    def save_integration(self, integration: Integration) -> None:
        self.run(
            "INSERT OR REPLACE INTO integration VALUES (:tenant, :organization, :id, :options)",
            id=integration.id,
            options=integration.model_dump_json(),
        )

    def integration(self, id_: str) -> Integration:
        """LookupError if there is none (any more)."""
        found = self.run(f"SELECT options FROM integration WHERE {OWN} AND id = :id", id=id_)
        if not found:
            raise LookupError(f"there is no integration {id_!r}")
        return Integration.model_validate_json(found[0]["options"])

    # --- Pauses -------------------------------------------------------------------------------------------------------

    def paused(self, message: Message | Row) -> str | None:
        """Why the message's account or contact is paused."""
        found = self.run(f"SELECT reason FROM pause WHERE {_ACCOUNT} AND contact IN ('', :contact)", **_whose(message))
        return str(found[0]["reason"]) if found else None

    def pause(self, integration: str, account: str, contact: str, reason: str) -> list[OutboundRow]:
        """Gives the rows that waited, and are paused now. One that is being sent is left alone: it ends by itself."""
        whose = {"integration": integration, "account": account, "contact": contact, "reason": reason}
        with self.transaction() as transaction:
            transaction.run(
                "INSERT OR REPLACE INTO pause"
                " VALUES (:tenant, :organization, :integration, :account, :contact, :reason)",
                **whose,
            )
            rows = transaction.run(
                "UPDATE outbound SET status = 'paused', reason = :reason, updated_ms = :now"
                f" WHERE {_PAUSED} AND status IN {WAITING} RETURNING {_OUTBOUND}",
                **whose,
            )
        return _outbound(rows)

    def pause_with_others(self, row: OutboundRow) -> bool:
        """Pauses a waiting row whose account or contact is paused. One statement, so that no `resume` comes between:
        a row that is paused after it would wait for ever.
        """
        pause = f"FROM pause WHERE {_ACCOUNT} AND contact IN ('', :contact)"
        found = self.run(
            f"UPDATE outbound SET status = 'paused', reason = (SELECT reason {pause} LIMIT 1), updated_ms = :now"
            f" WHERE {OWN} AND id = :id AND round = :round AND status IN {WAITING} AND EXISTS (SELECT 1 {pause})"
            " RETURNING id",
            **_whose(row),
            id=row.id,
            round=row.round,
        )
        return bool(found)

    def resume(self, integration: str, account: str, contact: str, limit: int) -> list[OutboundRow]:
        """Ends a pause; gives the rows that wait again, in a new round: the oldest, and not more than `limit`."""
        whose = {"integration": integration, "account": account, "contact": contact}
        with self.transaction() as transaction:
            transaction.run(f"DELETE FROM pause WHERE {_ACCOUNT} AND contact = :contact", **whose)
            rows = transaction.run(
                "UPDATE outbound SET status = 'queued', reason = NULL, round = round + 1, updated_ms = :now"
                f" WHERE seq IN (SELECT seq FROM outbound WHERE {_PAUSED} AND status = 'paused'"
                # What another pause still holds stays where it is.
                f" AND NOT EXISTS (SELECT 1 FROM pause WHERE {_ACCOUNT} AND pause.contact IN ('', outbound.contact))"
                f" ORDER BY seq LIMIT :limit) RETURNING {_OUTBOUND}",
                **whose,
                limit=limit,
            )
        return _outbound(rows)

    # --- Outbound -----------------------------------------------------------------------------------------------------

    def add_outbound(self, message: Message, due_ms: int) -> OutboundRow:
        """The message's row; the one that is there if its id is known."""
        with self.transaction() as transaction:
            return _outbound(_add(transaction, "outbound", _OUTBOUND, message, due_ms=due_ms))[0]

    def find_outbound(self, message: Message) -> OutboundRow | None:
        found = self.run(
            f"SELECT {_OUTBOUND} FROM outbound WHERE {OWN} AND integration = :integration AND message_id = :message_id",
            integration=message.integration,
            message_id=message.message_id,
        )
        return _outbound(found)[0] if found else None

    def outbound(self, id_: str) -> OutboundRow | None:
        found = self.run(f"SELECT {_OUTBOUND} FROM outbound WHERE {OWN} AND id = :id", id=id_)
        return _outbound(found)[0] if found else None

    def open_outbound(self, older_than_ms: int) -> list[OutboundRow]:
        """Rows still to be sent that nobody has touched for so long; oldest first."""
        return _outbound(
            self.run(
                f"SELECT {_OUTBOUND} FROM outbound WHERE {OWN} AND status IN {PENDING} AND updated_ms <= :before",
                before=now_ms() - older_than_ms,
            )
        )

    def backlog(self, message: Message) -> tuple[int, int]:
        """How many messages are still to be sent by the account, and of these to the contact."""
        return self._counts(f"status IN {(*PENDING, 'paused')}", **_whose(message))

    def ahead(self, row: OutboundRow) -> tuple[int, int]:
        """How many deferred messages of the account, and of these to the contact, are older than this one."""
        return self._counts("status = 'deferred' AND seq < :seq", **_whose(row), seq=row.seq)

    def move(
        self,
        row: OutboundRow,
        status: str,
        *,
        after: Sequence[str],
        reason: str | None = None,
        due_ms: int | None = None,
        next_round: bool = False,
    ) -> OutboundRow | None:
        """Gives the row another status, if it has one of `after` and is in the same round still; else gives None."""
        found = self.run(
            "UPDATE outbound SET status = :status, reason = :reason, due_ms = coalesce(:due_ms, due_ms),"
            " round = round + :more, updated_ms = :now"
            f" WHERE {OWN} AND id = :id AND round = :round AND instr(:after, '|' || status || '|')"
            f" RETURNING {_OUTBOUND}",
            id=row.id,
            round=row.round,
            status=status,
            after=f"|{'|'.join(after)}|",
            reason=reason,
            due_ms=due_ms,
            more=int(next_round),
        )
        return _outbound(found)[0] if found else None

    def sent(self, row: OutboundRow) -> None:
        """The service has it: that holds in whatever round, and whatever has been planned for the row meanwhile."""
        self.run(
            f"UPDATE outbound SET status = 'sent', reason = NULL, updated_ms = :now WHERE {OWN} AND id = :id", id=row.id
        )

    def _counts(self, condition: str, **values: Any) -> tuple[int, int]:
        found = self.run(
            "SELECT count(*) AS account, count(*) FILTER (WHERE contact = :contact) AS contact FROM outbound"
            f" WHERE {_ACCOUNT} AND {condition}",
            **values,
        )[0]
        return found["account"], found["contact"]

    # --- Inbound ------------------------------------------------------------------------------------------------------

    def add_inbound(self, message: Message) -> InboundRow:
        """The message's row; the one that is there if its id is known."""
        with self.transaction() as transaction:
            return _inbound(_add(transaction, "inbound", _COLUMNS, message))[0]

    def inbound(self, id_: str) -> InboundRow | None:
        found = self.run(f"SELECT {_COLUMNS} FROM inbound WHERE {OWN} AND id = :id", id=id_)
        return _inbound(found)[0] if found else None

    def received_with(self, row: InboundRow) -> list[InboundRow]:
        """The row's conversation, as far as it is not dispatched; oldest first."""
        return _inbound(
            self.run(
                f"SELECT {_COLUMNS} FROM inbound WHERE {_ACCOUNT} AND contact = :contact AND status = 'received'",
                **_whose(row),
            )
        )

    def end_inbound(self, ids: Iterable[str], status: str, reason: str | None = None) -> None:
        """The received among these rows are dispatched, or failed."""
        with self.transaction() as transaction:
            for id_ in ids:
                transaction.run(
                    "UPDATE inbound SET status = :status, reason = :reason, updated_ms = :now"
                    f" WHERE {OWN} AND id = :id AND status = 'received'",
                    id=id_,
                    status=status,
                    reason=reason,
                )

    def next_round_inbound(self, older_than_ms: int) -> list[InboundRow]:
        """The rows that came in so long ago and are not dispatched, in a new round; oldest first."""
        return _inbound(
            self.run(
                "UPDATE inbound SET round = round + 1, updated_ms = :now"
                f" WHERE {OWN} AND status = 'received' AND updated_ms <= :before RETURNING {_COLUMNS}",
                before=now_ms() - older_than_ms,
            )
        )


def _add(transaction: Transaction, table: str, columns: str, message: Message, **more: int) -> list[sqlite3.Row]:
    values = {
        "integration": message.integration,
        "account": message.account,
        "contact": message.contact,
        "message_id": message.message_id,
        "text": message.text,
        "id": uuid.uuid4().hex,
        **more,
    }
    transaction.run(
        f"INSERT OR IGNORE INTO {table} (tenant, organization, updated_ms, {', '.join(values)})"
        f" VALUES (:tenant, :organization, :now, :{', :'.join(values)})",
        **values,
    )
    return transaction.run(
        f"SELECT {columns} FROM {table} WHERE {OWN} AND integration = :integration AND message_id = :message_id",
        **values,
    )


def _whose(message: Message | Row) -> dict[str, str]:
    return {"integration": message.integration, "account": message.account, "contact": message.contact}


def _outbound(rows: Iterable[sqlite3.Row]) -> list[OutboundRow]:
    return sorted((OutboundRow(**row) for row in rows), key=lambda row: row.seq)


def _inbound(rows: Iterable[sqlite3.Row]) -> list[InboundRow]:
    return sorted((InboundRow(**row) for row in rows), key=lambda row: row.seq)
