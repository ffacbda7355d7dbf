"""The scripts that run in the old queue's Redis; each file's head says what it does."""

from __future__ import annotations

from importlib import resources
from typing import Any

import redis


class Scripts:
    """Each is called with keys and arguments. No script needs more than Redis 3.2."""

    def __init__(self, client: redis.Redis) -> None:
        self.peek = _script(client, "peek")
        self.names = _script(client, "names")
        self.claim = _script(client, "claim")
        self.settle = _script(client, "settle")
        self.lease = _script(client, "lease")


def _script(client: redis.Redis, name: str) -> Any:
    source = resources.files(__package__).joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
    return client.register_script(source)
