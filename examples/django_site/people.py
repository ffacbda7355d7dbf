"""Who may sign in to the demo."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Person:
    """A user of one tenant."""

    username: str
    tenant_id: str
    is_staff: bool
    organization_id: str = "hq"


PEOPLE = (Person("alice", "acme", True), Person("bob", "globex", True), Person("carol", "acme", False))
