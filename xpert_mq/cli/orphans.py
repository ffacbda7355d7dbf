"""Keys without owner: what lies under the prefix, and nobody will find or use it any more.

The walk is bounded, and reads in batches. Jobs move meanwhile: what looks wrong is looked at again, at one moment for
each key, before it is reported.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import redis
from redis import exceptions

from xpert_mq.cli.key_names import KeyNames
from xpert_mq.cli.output import counted
from xpert_mq.models import Envelope
from xpert_mq.settings import Settings
from xpert_mq.store.keys import group_name, logical_of, pool_keys, split_token
from xpert_mq.store.listing import STATES

#: Keys of the server that one step of the walk passes, and how many it passes at the most.
_STEP = 1000
_KEYS = 1_000_000
_SECONDS = 5.0
#: Of each kind, what is looked at again, how many at one moment, and what is named.
_DOUBTS = 10_000
_AGAIN = 100
_EXAMPLES = 3

#: What may be wrong with several keys; and the same of one.
_STRANGE = "keys under the prefix are not of this version"
_LOST = "jobs are missing in the lists of their state, so nobody finds or runs them"
_UNINDEXED = "lists of jobs are missing in their index, so their jobs are not shown, or not removed in time"
_OF_ONE = {
    _STRANGE: "key under the prefix is not of this version",
    _LOST: "job is missing in the list of its state, so nobody finds or runs it",
    _UNINDEXED: "list of jobs is missing in its index, so its jobs are not shown, or not removed in time",
}

#: Sets in one of which a job must be; and all such sets that a state asks for.
Places = list[list[str]]
Command = tuple[str, ...]

#: What is asked of a record.
_FIELDS = ("state", "envelope", "parked")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with several keys; `examples` are some of them."""

    what: str
    count: int
    examples: list[str]

    def __str__(self) -> str:
        if self.count == 1:
            return f"1 {_OF_ONE[self.what]}: {self.examples[0]!r}"
        count = f"{self.count} or more" if self.count >= _DOUBTS else self.count
        return f"{count} {self.what}, for example {', '.join(map(repr, self.examples))}"


@dataclass(frozen=True, slots=True)
class LeftPool:
    """An execution pool that is not declared, and what it holds."""

    name: str
    messages: int
    waiting: int
    delayed: int

    def __str__(self) -> str:
        return (
            f"the execution pool {self.name!r} is not in XPERT_MQ_POOLS, but has"
            f" {counted(self.waiting, 'waiting job')}, {counted(self.delayed, 'delayed job')}"
            f" and {counted(self.messages, 'message')}, which nobody runs"
        )


@dataclass(frozen=True, slots=True)
class KeyReport:
    """What a walk found.

    Attributes:
        passed: keys of the server that were passed, whosever they are, of the `total` that it has.
        own: those of them under the prefix.
    """

    passed: int
    total: int
    own: int
    complete: bool
    findings: list[Finding]
    pools: list[LeftPool]

    @property
    def warnings(self) -> list[str]:
        """The findings in words."""
        return [str(one) for one in (*self.pools, *self.findings)]


@dataclass(slots=True)
class _Seen:
    """Keys that may be orphans, by what would be wrong with them."""

    unknown: set[str] = field(default_factory=set)
    jobs: set[str] = field(default_factory=set)
    lists: set[str] = field(default_factory=set)
    #: Pools that are not declared.
    pools: set[str] = field(default_factory=set)


def find_orphans(client: redis.Redis, settings: Settings, seconds: float = _SECONDS) -> KeyReport:
    """Walks the keys under the prefix for about `seconds` at the most. Raises redis-py's errors."""
    return _Walk(client, settings).run(seconds)


class _Walk:
    def __init__(self, client: redis.Redis, settings: Settings) -> None:
        self._client = client
        self._declared = settings.pools
        self._names = KeyNames(settings)
        self._keys = self._names.keys
        self._seen = _Seen()

    def run(self, seconds: float) -> KeyReport:
        total: Any = self._client.dbsize()
        deadline = time.monotonic() + seconds
        cursor, passed, own = 0, 0, 0
        while True:
            reply: Any = self._client.scan(cursor, match=f"{self._keys.prefix}:*", count=_STEP)
            cursor, found = reply
            passed, own = passed + _STEP, own + len(found)
            self._sort({key.decode("utf-8", "backslashreplace") for key in found})
            if cursor == 0 or passed >= _KEYS or time.monotonic() > deadline:
                break
        passed = total if cursor == 0 else min(total, max(passed, own))
        return KeyReport(passed, total, own, cursor == 0, list(self._findings()), list(self._left_pools()))

    def _sort(self, keys: set[str]) -> None:
        """Puts the keys where they belong, and looks at jobs and lists for the first time."""
        jobs = [key for key in keys if self._names.token(key) is not None]
        lists = [key for key in keys if self._names.index_entry(key)]
        for key in keys.difference(jobs, lists):
            self._sort_other(key)
        if len(self._seen.jobs) < _DOUBTS:
            self._seen.jobs.update(self._unlisted(jobs))
        if len(self._seen.lists) < _DOUBTS:
            self._seen.lists.update(self._unindexed(lists))

    def _sort_other(self, key: str) -> None:
        if pool := self._names.pool(key):
            if pool not in self._declared:
                self._seen.pools.add(pool)
        elif not self._names.is_other(key):
            self._seen.unknown.add(key)

    def _findings(self) -> Iterator[Finding]:
        others = self._other_platforms()
        unknown = [key for key in sorted(self._seen.unknown) if not key.startswith(others)]
        yield from _finding(_STRANGE, self._still_there(unknown))
        jobs = map(self._token, self._unlisted_now(sorted(self._seen.jobs)))
        yield from _finding(_LOST, jobs)
        lists = self._unindexed(sorted(self._seen.lists))
        yield from _finding(_UNINDEXED, lists)

    def _other_platforms(self) -> tuple[str, ...]:
        """What the keys of other platforms begin with, whose prefixes begin with ours: such a one has had jobs, or a
        worker.
        """
        prefixes = sorted({prefix for key in self._seen.unknown for prefix in self._names.longer_prefixes(key)})
        signs = [[f"{prefix}:generation", f"{prefix}:_kombu.binding.{prefix}:plugin-jobs"] for prefix in prefixes]
        there = [self._ask(("EXISTS", *names) for names in chunk) for chunk in _chunks(signs, _STEP)]
        found = zip(prefixes, (count for counts in there for count in counts), strict=True)
        return tuple(f"{prefix}:" for prefix, count in found if count)

    def _still_there(self, keys: Sequence[str]) -> list[str]:
        found = []
        for chunk in _chunks(keys, _STEP):
            there = self._ask(("EXISTS", key) for key in chunk)
            found += [key for key, is_there in zip(chunk, there, strict=True) if is_there]
        return found

    def _left_pools(self) -> Iterator[LeftPool]:
        for pool in sorted(self._seen.pools):
            keys = pool_keys(self._names.queue_of(pool))
            sizes = self._ask([("LLEN", keys.queue), ("ZCARD", keys.waiting), ("ZCARD", keys.delayed)])
            numbers = [size if isinstance(size, int) else 0 for size in sizes]
            if any(numbers):
                yield LeftPool(pool, *numbers)

    def _unindexed(self, lists: Sequence[str]) -> list[str]:
        """The lists whose entry in their index is missing. List and index are looked at together."""
        found = []
        for chunk in _chunks(lists, _AGAIN):
            entries = [entry for key in chunk if (entry := self._names.index_entry(key))]
            scores = self._ask([*(("ZSCORE", *entry) for entry in entries), *(("EXISTS", key) for key in chunk)], True)
            pairs = zip(chunk, scores[: len(chunk)], scores[len(chunk) :], strict=True)
            found += [key for key, score, is_there in pairs if score is None and is_there]
        return found

    def _unlisted(self, jobs: Sequence[str]) -> list[str]:
        """The jobs that are not where their state says; some may just have moved between two questions."""
        records = self._ask(("HMGET", job, *_FIELDS) for job in jobs)
        places = {job: self._places(job, record) for job, record in zip(jobs, records, strict=True)}
        questions = [(job, key) for job, sets in places.items() for key in _flat(sets)]
        return _misplaced(places, self._answered(questions, self._ask(map(self._score, questions))))

    def _unlisted_now(self, jobs: Sequence[str]) -> Iterator[str]:
        """The same, with record and sets looked at in one moment."""
        for chunk in _chunks(jobs, _AGAIN):
            before = self._ask(("HMGET", job, *_FIELDS) for job in chunk)
            possible = [
                (job, key)
                for job, record in zip(chunk, before, strict=True)
                for state in STATES
                for key in _flat(self._places(job, [state.encode(), *record[1:]]))
            ]
            records = (("HMGET", job, *_FIELDS) for job in chunk)
            replies = self._ask([*records, *map(self._score, possible)], together=True)
            places = {
                job: self._places(job, record)
                for job, record, first in zip(chunk, replies[: len(chunk)], before, strict=True)
                if isinstance(record, list) and record[1:] == first[1:]
            }
            yield from _misplaced(places, self._answered(possible, replies[len(chunk) :]))

    def _score(self, question: tuple[str, str]) -> Command:
        job, key = question
        return "ZSCORE", key, self._token(job)

    def _answered(self, questions: Sequence[tuple[str, str]], scores: Sequence[Any]) -> set[tuple[str, str]]:
        """Those where the job is in the set."""
        return {
            question for question, score in zip(questions, scores, strict=True) if isinstance(score, (bytes, float))
        }

    def _places(self, job: str, record: Any) -> Places:
        """Where a job of this state and envelope must be; nowhere if it is gone, or its record can't be read."""
        try:
            state, envelope, parked = record
            routing = Envelope.from_json(envelope)
            group = group_name(split_token(self._token(job))[0], logical_of(routing))
            wanted = self._keys.list_of(state.decode(), group)
        except (TypeError, ValueError, AttributeError):
            return []
        if state in (b"completed", b"failed"):
            return [[wanted, f"{wanted}:kept"]]
        pool = pool_keys(self._names.queue_of(routing.execution_pool))
        # A job over a limit waits without a message.
        at = [f"{self._keys.parked_at}{parked.decode()}"] if parked else []
        of_pool = {b"waiting": [[pool.waiting, *at]], b"delayed": [[pool.delayed]]}
        return [[wanted], *of_pool.get(state, [])]

    def _token(self, job: str) -> str:
        return job.removeprefix(self._keys.jobs)

    def _ask(self, commands: Iterable[Command], together: bool = False) -> list[Any]:
        """The replies, an error among them being one; `together`: as of one moment."""
        pipe = self._client.pipeline(transaction=together)
        for command in commands:
            pipe.execute_command(*command)
        replies = pipe.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, exceptions.NoPermissionError):
                raise reply
        return replies


def _finding(what: str, keys: Iterable[str]) -> Iterator[Finding]:
    found = list(keys)
    if found:
        yield Finding(what, len(found), found[:_EXAMPLES])


def _flat(places: Places) -> Iterator[str]:
    return (key for keys in places for key in keys)


def _misplaced(places: dict[str, Places], found: set[tuple[str, str]]) -> list[str]:
    return [job for job, sets in places.items() if not all(any((job, key) in found for key in keys) for keys in sets)]


def _chunks(keys: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(keys), size):
        yield keys[start : start + size]
