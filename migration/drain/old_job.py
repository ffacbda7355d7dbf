"""A job as the old queue has it, and what of its options the managed queue has too."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: Of a hash, in the order in which the scripts read them.
_FIELDS: Final = ("name", "opts", "timestamp", "atm", "attemptsMade", "rjk", "parentKey", "defa", "data")

#: What of them tells that a job is still the one that was read; `claim.lua` does the same.
_COMPARED: Final = ("name", "opts", "timestamp", "atm", "attemptsMade", "data")

#: A delayed job's score is its due time in ms times this, and a number that keeps the order within one ms.
_DELAY_FACTOR: Final = 4096

#: Of a number of tries: larger ones no longer fit in a number of the scripts.
_MOST_DIGITS: Final = 15

#: Options that are gone, though a job without them is another: as they are written, and as they are called.
_LOST: Final = {
    "priority": "priority",
    "lifo": "lifo",
    "timeout": "timeout",
    "keepLogs": "keepLogs",
    "kl": "keepLogs",
    "stackTraceLimit": "stackTraceLimit",
    "sizeLimit": "sizeLimit",
    "de": "deduplication",
    "debounce": "deduplication",
}


class UnfitError(Exception):
    """Why a job stays where it is."""


@dataclass(frozen=True, slots=True)
class OldJob:
    """A job as it was read.

    Attributes:
        id: as its key has it.
        place: where it waits.
        score: of its place, or "" in a list.
        size: bytes of its data.
        hash: its fields; None where there is no hash.
        locked: a worker holds it.
        in_flow: it has, or had, children.
        now_ms: the server's clock.
    """

    id: bytes
    place: str
    score: bytes
    size: int
    hash: Mapping[str, bytes] | None
    locked: bool
    in_flow: bool
    now_ms: int

    @property
    def is_marker(self) -> bool:
        """Whether it is no job, but what early versions of BullMQ wake their workers with."""
        return self.id.startswith(b"0:")

    @property
    def due_in_ms(self) -> int:
        """What is left of its delay; 0 where there is none, or it is over. Raises UnfitError for an infinite one."""
        if self.place != "delayed":
            return 0
        return max(0, int(_finite(float(self.score))) // _DELAY_FACTOR - self.now_ms)

    @property
    def attempts_made(self) -> int:
        """Tries that have ended. A failed job starts anew. Raises UnfitError for what is no count."""
        if self.place == "failed" or not self.hash:
            return 0
        made = self.hash.get("atm") or self.hash.get("attemptsMade") or b"0"
        if not (made.isdigit() and len(made) <= _MOST_DIGITS):
            raise UnfitError(f"it has {made.decode(errors='backslashreplace')!r} as its number of tries")
        return int(made)

    @property
    def name(self) -> str:
        """The job name, as it is printed."""
        return (self.hash or {}).get("name", b"").decode(errors="backslashreplace")

    @property
    def fingerprint(self) -> str:
        """Changes with whatever is taken over."""
        stored = self.hash or {}
        return hashlib.sha1(b"\0".join(stored.get(field, b"") for field in _COMPARED)).hexdigest()

    @property
    def source_id(self) -> str:
        """No other job has it: neither a later one of this id, nor one of a queue of this name elsewhere."""
        stored = self.hash or {}
        data = hashlib.sha1(stored.get("data", b"")).hexdigest()[:12]
        return f"{self.id.decode()}@{stored.get('timestamp', b'').decode(errors='backslashreplace')}.{data}"

    def check(self) -> None:
        """Raises UnfitError for a job that the managed queue can't have."""
        if self.hash is None or "name" not in self.hash:
            raise UnfitError("its key does not hold a job")
        if "data" not in self.hash:
            raise UnfitError(f"its data is too large: {self.size} bytes" if self.size else "it has no data")
        if self.locked:
            raise UnfitError("a worker holds its lock")
        if self.in_flow or "parentKey" in self.hash:
            raise UnfitError("it is part of a flow: let the old workers finish it")
        if "rjk" in self.hash or self.id.startswith(b"repeat:"):
            raise UnfitError("a job scheduler made it, which will go on: remove the scheduler")
        if "defa" in self.hash:
            raise UnfitError("it is to fail, since it stalled too often: its worker will record that")

    def data(self) -> Any:
        """Its data."""
        return _json((self.hash or {}).get("data", b""), "data")

    def opts(self) -> Mapping[str, Any]:
        """Its options."""
        opts = _json((self.hash or {}).get("opts") or b"{}", "options")
        if not isinstance(opts, dict):
            raise UnfitError("its options are no JSON object")
        return opts


def parse_jobs(place: str, now_ms: int, replies: Sequence[Sequence[Any]]) -> list[OldJob]:
    """What `peek` returned."""
    return [_parse(place, now_ms, reply) for reply in replies]


def _parse(place: str, now_ms: int, reply: Sequence[Any]) -> OldJob:
    job_id, score, size, values, locked, flow = reply
    stored = None
    if isinstance(values, list):
        stored = {field: value for field, value in zip(_FIELDS, values, strict=False) if value is not None}
    return OldJob(job_id, place, score, size, stored or None, bool(locked), bool(flow), now_ms)


def managed_options(opts: Mapping[str, Any]) -> dict[str, Any]:
    """The options as `enqueue` takes them; what is not there is the managed queue's to say.

    Raises:
        UnfitError: a kind of backoff that the managed queue does not have.
    """
    found = {
        "attempts": max(1, int(_number(opts.get("attempts")))),
        "backoff_ms": _backoff(opts.get("backoff")),
        "remove_on_complete": _keep(opts, "removeOnComplete"),
        "remove_on_fail": _keep(opts, "removeOnFail"),
    }
    return {name: value for name, value in found.items() if value is not None}


def lost_options(opts: Mapping[str, Any]) -> set[str]:
    """What the options say that has no equivalent."""
    lost = {name for written, name in _LOST.items() if opts.get(written)}
    backoff = opts.get("backoff")
    if isinstance(backoff, dict) and backoff.get("jitter"):
        lost.add("backoff.jitter")
    return lost


def _backoff(backoff: Any) -> dict[str, Any] | None:
    if not backoff:
        return None
    kind = backoff.get("type", "fixed") if isinstance(backoff, dict) else "fixed"
    delay = backoff.get("delay") if isinstance(backoff, dict) else backoff
    if kind not in ("fixed", "exponential"):
        raise UnfitError(f"its backoff is of the type {kind!r}: only fixed and exponential have an equivalent")
    ms = _number(delay)
    if ms == -1:
        raise UnfitError("its backoff of -1 forbids retries, whatever its attempts are")
    return {"type": kind, "delay": ms} if ms > 0 else None


def _keep(opts: Mapping[str, Any], name: str) -> Any:
    if name not in opts:
        return None
    keep = opts[name]
    if isinstance(keep, dict):
        bounds = {part: _number(keep[part]) for part in ("age", "count") if keep.get(part) is not None}
        return bounds or False
    # As BullMQ reads them: nothing and less than nothing keep for ever, and 0 keeps none.
    if keep is None or keep is False:
        return False
    number = _number(keep)
    return True if keep is True or number == 0 else number if number > 0 else False


def _number(value: Any) -> float:
    """A number of the options, 0 where there is none. The old scripts write large ones as fractions."""
    if value is None or isinstance(value, bool):
        return 0
    if not isinstance(value, (int, float)):
        raise UnfitError(f"its options have {value!r} where a number belongs")
    return int(value) if _finite(value) == int(value) else value


def _finite(number: float) -> float:
    if isinstance(number, float) and not math.isfinite(number):
        raise UnfitError(f"it has {number} where a number belongs")
    return number


def _json(raw: bytes, what: str) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"its {what} can't be read as JSON: {error}") from None
