"""What the plugin keeps and calls: rows of messages, and a chat service that may fail."""

from dataclasses import dataclass, field

effects: list = []


@dataclass
class Row:
    id: str
    tenant_id: str
    organization_id: str
    account: str
    text: str
    status: str = "queued"
    tries: list = field(default_factory=list)


rows: dict[str, Row] = {}
refuses = {"bad": 99, "shaky": 1}


def send(row: Row) -> None:
    if refuses.get(row.text, 0) > 0:
        refuses[row.text] -= 1
        raise ConnectionError(f"{row.text}: no answer")
    effects.append(["sent", row.id, row.text])
