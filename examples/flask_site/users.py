"""Who may sign in. A site of one's own has a table, and no passwords in the code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import session


@dataclass(frozen=True, slots=True)
class User:
    """A user of one tenant."""

    id: str
    name: str
    tenant_id: str
    organization_id: str = "hq"


USERS = {user.id: user for user in (User("alice", "Alice", "acme"), User("bob", "Bob", "globex"))}


def find_user(_: Any) -> User | None:
    """Who is signed in; the queue's context of the request comes from this."""
    return USERS.get(session.get("user", ""))
