"""What the name of a key under the prefix says: whose it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import astuple

from xpert_mq.settings import DEFAULT_POOL, Settings
from xpert_mq.store.keys import Keys, pool_keys, split_group, split_logical, split_token
from xpert_mq.store.listing import STATES

#: What kombu and Celery make beside the queues.
_CELERYS = re.compile(r"_kombu\.binding.*|celeryev\..*|(control|events)(\..*)?", re.DOTALL)
_POOL = re.compile(f"(-[A-Za-z0-9_-]{{1,100}})?({'|'.join(astuple(pool_keys('')))})")
_NUMBER = re.compile("[0-9]+")


class KeyNames:
    """Reads the names of one prefix."""

    def __init__(self, settings: Settings) -> None:
        self.keys = Keys(settings.prefix)
        self._queue = settings.queue_name(DEFAULT_POOL)
        spelled = {value for name, value in vars(self.keys).items() if name != "prefix"}
        # Of jobs, lists and minutes more is known.
        special = {self.keys.jobs, self.keys.lists, self.keys.tallies}
        self._families = tuple(value for value in spelled - special if value.endswith(":"))
        words = {value.removeprefix(f"{settings.prefix}:").partition(":")[0] for value in (*spelled, self._queue)}
        self._words = re.compile(f":({'|'.join(map(re.escape, sorted(words)))}|_kombu)(?![A-Za-z0-9_])")
        self._singles = {value for value in spelled if not value.endswith(":")}

    def token(self, key: str) -> str | None:
        """The job whose record the key is."""
        if not key.startswith(self.keys.jobs):
            return None
        token = key.removeprefix(self.keys.jobs)
        try:
            split_token(token)
        except ValueError:
            return None
        return token

    def index_entry(self, key: str) -> tuple[str, str] | None:
        """Where a list of jobs must be noted, so that it is found: the index, and the entry in it."""
        if not key.startswith(self.keys.lists):
            return None
        state, _, group = key.removeprefix(self.keys.lists).partition(":")
        if state not in STATES:
            return None
        if _is_group(group):
            return self.keys.groups, group
        name, _, beside = group.rpartition(":")
        if state not in ("completed", "failed") or beside not in ("kept", "expiry") or not _is_group(name):
            return None
        return (self.keys.groups, name) if beside == "kept" else (self.keys.expiring, self.keys.list_of(state, name))

    def pool(self, key: str) -> str | None:
        """The execution pool, declared or not, whose key it is."""
        if not key.startswith(self._queue) or not (found := _POOL.fullmatch(key.removeprefix(self._queue))):
            return None
        return found[1][1:] if found[1] else DEFAULT_POOL

    def queue_of(self, pool: str) -> str:
        """The physical queue of a pool, declared or not."""
        return self._queue if pool == DEFAULT_POOL else f"{self._queue}-{pool}"

    def longer_prefixes(self, key: str) -> Iterator[str]:
        """What may be the prefix of another platform, whose key it then is."""
        for found in self._words.finditer(key, len(self.keys.prefix) + 1):
            yield key[: found.start()]

    def is_other(self, key: str) -> bool:
        """Whether it is any other key of the platform, or one of kombu's or Celery's."""
        if key.startswith(self.keys.tallies):
            return bool(_NUMBER.fullmatch(key.removeprefix(self.keys.tallies)))
        if key in self._singles or key.startswith(self._families):
            return True
        return bool(_CELERYS.fullmatch(key.removeprefix(f"{self.keys.prefix}:")))


def _is_group(text: str) -> bool:
    try:
        split_logical(split_group(text)[1])
    except ValueError:
        return False
    return True
