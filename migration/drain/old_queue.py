"""A queue of BullMQ or Bull in Redis: its keys, and what it is. Nothing here changes it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import redis

from .errors import DrainError

Kind = Literal["list", "zset"]
_LENGTHS: Final = {"list": "llen", "zset": "zcard", "hash": "hlen"}

#: Where unfinished jobs wait to be run, in the order in which they are.
PLACES: Final[Mapping[str, Kind]] = {"wait": "list", "paused": "list", "prioritized": "zset", "delayed": "zset"}

#: Where jobs are that have to end before the queue is empty.
UNFINISHED: Final[Mapping[str, Kind]] = {**PLACES, "active": "list", "waiting-children": "zset"}

ALL_PLACES: Final[Mapping[str, Kind]] = {**UNFINISHED, "completed": "zset", "failed": "zset"}

#: The notes of jobs that are on their way to the managed queue.
IN_FLIGHT: Final = "xpert-mq:in-flight"

#: The major versions of BullMQ whose layout is known.
KNOWN_MAJORS: Final = (5, 6)

_TYPES: Final[Mapping[str, str]] = {
    **ALL_PLACES,
    "stalled": "set",
    "priority": "zset",
    "repeat": "zset",
    "meta": "hash",
    "events": "stream",
    "id": "string",
}
#: A server may have millions of other keys.
_SCANS, _SCANNED = 100, 1000
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Library:
    """What made the queue. `version` is None where it is not recorded: Bull and the Python library don't."""

    name: Literal["BullMQ", "Bull"]
    version: str | None

    @property
    def is_known(self) -> bool:
        """Whether its layout is known. A version that is not recorded is taken for one."""
        return self.version is None or self._major in KNOWN_MAJORS

    @property
    def waits_in_paused(self) -> bool:
        """Whether jobs of a paused queue are in a list of their own."""
        return self._major < 6

    @property
    def _major(self) -> int:
        found = re.match(r"\d+(?=\.)", self.version or "")
        return int(found[0]) if found else 0

    def __str__(self) -> str:
        if self.name == "Bull":
            return "Bull"
        return f"BullMQ {self.version}" if self.version else "BullMQ, version not recorded"


class OldQueue:
    """One queue, which is there.

    Raises:
        DrainError: no such queue; or one of its keys is of another type than it has in a queue.
    """

    def __init__(self, client: redis.Redis, name: str, prefix: str) -> None:
        self.client: Any = client
        self.name = name
        self.prefix = prefix
        self._check()
        self.library = self._library()

    def key(self, part: str) -> str:
        """One of its keys."""
        return f"{self.prefix}:{self.name}:{part}"

    @property
    def full_name(self) -> str:
        """As keys begin: the prefix and the name."""
        return f"{self.prefix}:{self.name}"

    def is_paused(self) -> bool:
        """Whether its workers start nothing."""
        # Bull has had both.
        return bool(self.client.hexists(self.key("meta"), "paused") or self.client.exists(self.key("meta-paused")))

    def counts(self) -> dict[str, int]:
        """How many jobs are in each place."""
        return self._lengths(ALL_PLACES)

    def left(self) -> dict[str, int]:
        """How many jobs have yet to end, by their places and in flight, all at one moment."""
        *places, flying = self._lengths({**UNFINISHED, IN_FLIGHT: "hash"}).values()
        return {**dict(zip(UNFINISHED, places, strict=True)), "in flight": flying}

    def _lengths(self, places: Mapping[str, str]) -> dict[str, int]:
        pipeline = self.client.pipeline(transaction=True)
        for place, kind in places.items():
            getattr(pipeline, _LENGTHS[kind])(self.key(place))
        return dict(zip(places, pipeline.execute(), strict=True))

    def schedulers(self) -> list[str]:
        """What adds jobs by a clock: repeatable jobs and job schedulers."""
        return [text(one) for one in self.client.zrange(self.key("repeat"), 0, -1)]

    def _check(self) -> None:
        pipeline = self.client.pipeline(transaction=False)
        for part in _TYPES:
            pipeline.type(self.key(part))
        found = {part: kind.decode() for part, kind in zip(_TYPES, pipeline.execute(), strict=True)}
        if set(found.values()) == {"none"}:
            raise DrainError(f"there is no queue {self.name!r} with the prefix {self.prefix!r}{self._others()}")
        for part, kind in found.items():
            if kind not in ("none", _TYPES[part]):
                raise DrainError(
                    f"the key {self.key(part)!r} is a {kind}, and a {_TYPES[part]} in a queue of BullMQ or Bull: "
                    "a job whose id is that word may have overwritten it; mend it by hand, or name another queue"
                )

    def _library(self) -> Library:
        version = self.client.hget(self.key("meta"), "version")
        if version:
            return Library("BullMQ", text(version).removeprefix("bullmq:"))
        # Each job that BullMQ adds is told there; Bull publishes instead.
        return Library("BullMQ" if self.client.exists(self.key("events")) else "Bull", None)

    def _others(self) -> str:
        names = sorted(set(self._names()))
        if not names:
            return ", nor any other with that prefix"
        close = difflib.get_close_matches(self.name, names, n=1)
        if close:
            return f"; did you mean {close[0]!r}?"
        return f"; there are {', '.join(map(repr, names[:_NAMED]))}{' and others' if len(names) > _NAMED else ''}"

    def _names(self) -> Iterator[str]:
        start, end = f"{self.prefix}:", ":id"
        pattern = re.sub(r"([][*?\\])", r"\\\1", start) + "*" + end
        cursor = 0
        for _ in range(_SCANS):
            cursor, keys = self.client.scan(cursor, match=pattern, count=_SCANNED)
            yield from (text(key)[len(start) : -len(end)] for key in keys)
            if cursor == 0:
                return


def text(raw: bytes) -> str:
    """What Redis gave as one prints it; not to be sent back."""
    return raw.decode(errors="backslashreplace")
