"""The plugin's database: one SQLite file. Safe with many threads, greenlets and processes.

Every transaction has a connection of its own, so nothing is shared and nothing has to survive a fork. Every statement
may use `:tenant`, `:organization` and `:now`; the first two come from the current context, so that no caller can name
another's.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from xpert_mq import current_context

_BUSY_SECONDS = 15

_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS integration (
    tenant TEXT, organization TEXT, id TEXT, options TEXT NOT NULL,
    PRIMARY KEY (tenant, organization, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS pause (
    tenant TEXT, organization TEXT, integration TEXT, account TEXT, contact TEXT, reason TEXT NOT NULL,
    PRIMARY KEY (tenant, organization, integration, account, contact)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbound (
    seq INTEGER PRIMARY KEY, tenant TEXT NOT NULL, organization TEXT NOT NULL, integration TEXT NOT NULL,
    account TEXT NOT NULL, contact TEXT NOT NULL, message_id TEXT NOT NULL, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'queued', round INTEGER NOT NULL DEFAULT 1, reason TEXT, due_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (tenant, organization, integration, message_id)
);
CREATE INDEX IF NOT EXISTS outbound_by_status ON outbound (tenant, organization, status, integration, account);
CREATE TABLE IF NOT EXISTS inbound (
    seq INTEGER PRIMARY KEY, tenant TEXT NOT NULL, organization TEXT NOT NULL, integration TEXT NOT NULL,
    account TEXT NOT NULL, contact TEXT NOT NULL, message_id TEXT NOT NULL, id TEXT NOT NULL UNIQUE, text TEXT NOT NULL,
    status TEXT NOT NULL DEFAULT 'received', round INTEGER NOT NULL DEFAULT 1, reason TEXT, updated_ms INTEGER NOT NULL,
    UNIQUE (tenant, organization, integration, message_id)
);
CREATE INDEX IF NOT EXISTS inbound_by_status ON inbound (tenant, organization, status);
"""

#: The condition of every statement.
OWN = "tenant = :tenant AND organization = :organization"


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def _owner() -> dict[str, str]:
    context = current_context()
    if context.tenant_id is None:
        raise LookupError("the wechat plugin's rows belong to tenants, and there is none in the current context")
    return {"tenant": context.tenant_id, "organization": context.organization_id or ""}


class Transaction:
    """Runs statements for the tenant of the current context."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._always = {**_owner(), "now": now_ms()}

    def run(self, sql: str, **values: Any) -> list[sqlite3.Row]:
        """What a SELECT or a RETURNING gives."""
        return self._connection.execute(sql, {**self._always, **values}).fetchall()


class Database:
    """One file. It and its tables are made at the first use, if they are not there: loading the plugin changes nothing.

    Attributes:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._has_tables = False

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """A block that happens as a whole or not at all, after and before everybody else's."""
        with self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Transaction(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def run(self, sql: str, **values: Any) -> list[sqlite3.Row]:
        """One statement as a transaction."""
        with self._connection() as connection:
            return Transaction(connection).run(sql, **values)

    def owners(self) -> list[tuple[str, str | None]]:
        """Every tenant and organization that has an integration: the one thing that is asked across tenants."""
        with self._connection() as connection:
            found = connection.execute("SELECT DISTINCT tenant, organization FROM integration").fetchall()
        return [(row["tenant"], row["organization"] or None) for row in found]

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Makes all transactions faster, also those of other processes, while the block runs: who closes a file's last
        connection has to empty its log, which takes longer than most transactions. Don't fork in it.
        """
        with self._connection() as connection:
            # SQLite opens the log at the first look.
            connection.execute("SELECT count(*) FROM integration").fetchone()
            yield

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            # With the write-ahead log, what is committed survives the process; and the machine, up to the last moments.
            connection.execute("PRAGMA synchronous = NORMAL")
            if not self._has_tables:
                _make_tables(connection)
                self._has_tables = True
            yield connection


def _make_tables(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.executescript(_SCHEMA)
            return
        except sqlite3.OperationalError as error:
            # Of several that switch a new file to the write-ahead log, SQLite refuses all but one without waiting.
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
