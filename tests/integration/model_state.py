"""All keys of a platform, read in one step; what must hold of them; and a clock that is put forward."""

from __future__ import annotations

import functools
import itertools
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import redis

from tests.integration.model import Job, Model
from xpert_mq.store.keys import Keys, pool_keys, split_task_id

READ = """#!lua flags=no-writes
local read = {
  string = {'PTTL'}, hash = {'HGETALL'}, list = {'LRANGE', 0, -1}, set = {'SMEMBERS'},
  zset = {'ZRANGE', 0, -1, 'WITHSCORES'},
}
local found = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. ':*')) do
  local kind = redis.call('TYPE', key).ok
  local command = read[kind]
  found[#found + 1] = {kind, key, redis.call(command[1], key, unpack(command, 2))}
end
return found
"""

# All times and ends of lives are moved back, but for the counts of events; and the beats of the nodes that are named.
PASS_TIME = """#!lua
local back, nodes, tallies = tonumber(ARGV[2]), ARGV[3], ARGV[4]
local function earlier(number) return string.format('%.17g', number - back) end
for _, key in ipairs(redis.call('KEYS', ARGV[1] .. ':*')) do
  local kind, left = redis.call('TYPE', key).ok, redis.call('PTTL', key)
  if left >= 0 and string.sub(key, 1, #tallies) ~= tallies then redis.call('PEXPIRE', key, left - back) end
  if kind == 'zset' and key ~= nodes then
    local found = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for i = 1, #found, 2 do
      if tonumber(found[i + 1]) > back then redis.call('ZADD', key, 'XX', earlier(found[i + 1]), found[i]) end
    end
  elseif kind == 'hash' then
    for _, name in ipairs({'processed_on', 'finished_on', 'expires_at', 'steady', 'ticked'}) do
      local time = redis.call('HGET', key, name)
      if time then redis.call('HSET', key, name, earlier(time)) end
    end
    local envelope = redis.call('HGET', key, 'envelope')
    if envelope then
      local head, time = string.match(envelope, '^(.*:)(%d+)}$')
      redis.call('HSET', key, 'envelope', head .. earlier(time) .. '}')
    end
  end
end
for i = 5, #ARGV do
  local beat = redis.call('ZSCORE', nodes, ARGV[i])
  if beat then redis.call('ZADD', nodes, earlier(beat), ARGV[i]) end
end
"""


class Message(NamedTuple):
    """What a message names."""

    token: str
    generation: int
    tag: str
    queue: str


@functools.lru_cache(4096)
def named_in(raw: str) -> Message:
    message = json.loads(raw)
    properties = message["properties"]
    queue = properties["delivery_info"]["routing_key"]
    return Message(*split_task_id(message["headers"]["id"]), properties["delivery_tag"], queue)


@dataclass
class Platform:
    """Where the keys of a prefix are, and what may be odd about them since the test did it by hand."""

    redis: redis.Redis
    keys: Keys
    #: By execution pool.
    queues: dict[str, str]
    #: Hand-outs whose message was removed, and those that have several.
    lost: set[tuple[str, int]] = field(default_factory=set)
    doubled: set[tuple[str, int]] = field(default_factory=set)

    def read(self) -> State:
        return State(self, cast("list[Any]", self.redis.eval(READ, 0, self.keys.prefix)))

    def pass_time(self, minutes: int, absent: Iterable[str]) -> None:
        """Ten milliseconds more, so that what was due that many minutes from then is due now."""
        keys = self.keys
        self.redis.eval(PASS_TIME, 0, keys.prefix, str(60_000 * minutes + 10), keys.nodes, keys.tallies, *absent)


def _pairs(flat: Sequence[bytes]) -> dict[str, str]:
    texts = [text.decode() for text in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


class State:
    """All keys of the prefix at one moment."""

    def __init__(self, platform: Platform, found: Sequence[tuple[bytes, bytes, Any]]) -> None:
        self.platform = platform
        self.keys = platform.keys
        #: Milliseconds that texts live; negative without an end.
        self.lives: dict[str, int] = {}
        self.hashes: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self.lists: defaultdict[str, list[str]] = defaultdict(list)
        self.sets: defaultdict[str, set[str]] = defaultdict(set)
        self.sorted: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for kind, key, value in found:
            self._take(kind.decode(), key.decode(), value)
        self.names = {key.decode() for _, key, _ in found}
        jobs = self.keys.jobs
        self.records = {key[len(jobs) :]: record for key, record in self.hashes.items() if key.startswith(jobs)}

    def _take(self, kind: str, key: str, value: Any) -> None:
        if kind == "string":
            self.lives[key] = value
        elif kind == "hash":
            self.hashes[key] = _pairs(value)
        elif kind == "list":
            self.lists[key] = [text.decode() for text in value]
        elif kind == "set":
            self.sets[key] = {text.decode() for text in value}
        else:
            self.sorted[key] = {name: float(score) for name, score in _pairs(value).items()}

    # What nodes hold.

    def nodes(self) -> list[str]:
        """Those that are alive, and those that are gone and hold something."""
        return [*self.sorted[self.keys.nodes], *self.hashes[self.keys.gone]]

    def of_node(self, node: str, what: str) -> str:
        return f"{self.keys.node}{node}:{what}"

    def limits(self, node: str) -> dict[str, int]:
        return {limit: int(number) for limit, number in self.hashes[self.of_node(node, "limits")].items()}

    def slots(self, node: str, limit: str) -> set[str]:
        return self.sets[self.of_node(node, f"slots:{limit}")]

    def messages_for(self, node: str) -> Iterator[Message]:
        """The messages that it has fetched, and those that it alone may fetch."""
        notes = [*self.hashes[self.of_node(node, "unacked")].values(), *self.lists[self.of_node(node, "admitted")]]
        return (named_in(note.partition("\n")[2]) for note in notes)

    def parked(self, queue: str, limit: str) -> dict[str, float]:
        return self.sorted[f"{self.keys.parked_at}{queue}\n{limit}"]

    def is_wanted(self, message: Message) -> bool:
        """Whether the job waits for this hand-out; one that is parked will get another."""
        record = self.records.get(message.token, {})
        waits = record.get("state") == "waiting" and "parked" not in record
        return waits and record["gen"] == str(message.generation)

    def copies(self) -> Counter[str]:
        """How many messages there are that jobs wait for, by token."""
        queued = (named_in(raw) for queue in self.platform.queues.values() for raw in self.lists[queue])
        held = itertools.chain.from_iterable(self.messages_for(node) for node in self.nodes())
        return Counter(message.token for message in itertools.chain(queued, held) if self.is_wanted(message))

    # What must hold.

    def check(self, model: Model) -> None:
        """That the model and the records, and records and indexes agree, and that every job will go on."""
        model.settle(self.records)
        assert self.records.keys() == model.jobs.keys()
        for token, record in self.records.items():
            self._check_record(record, model.jobs[token], model)
        assert self._tallies() == model.tallies
        assert self.sorted[self.keys.nodes].keys() == model.nodes.keys()
        assert self.hashes[self.keys.gone] == {node: "dead" if died else "left" for node, died in model.gone.items()}
        self._check_lists(model)
        self._check_ages()
        self._check_queues(model)
        self._check_parked(model)
        self._check_running(model)
        self._check_slots()
        self._check_wakes()
        self._check_owners()

    def _check_record(self, record: dict[str, str], job: Job, model: Model) -> None:
        seen = (
            record["state"],
            record["payload"],
            int(record.get("made", 0)),
            int(record.get("stalls", 0)),
            record.get("failed_reason"),
            json.loads(record.get("stacks", "[]")),
            record.get("result"),
            "expires_at" in record,
        )
        assert seen == (
            job.state,
            job.payload,
            job.made,
            job.stalls,
            job.reason,
            job.stacks,
            job.result,
            job.expires is not None,
        )
        if job.state == "active":
            assert record["claim"] == job.nonce

    def _tallies(self) -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for key, minute in self.hashes.items():
            if key.startswith(self.keys.tallies):
                for name, count in minute.items():
                    event, _, logical = name.partition(":")
                    found[event, logical] += int(count)
        return found

    def _check_lists(self, model: Model) -> None:
        wanted: defaultdict[str, set[str]] = defaultdict(set)
        listed = {job.token for jobs in model.ended.values() for job in jobs}
        for token, job in model.jobs.items():
            forever = job.state in ("completed", "failed") and token not in listed
            wanted[self.keys.list_of(job.state, job.group) + (":kept" if forever else "")].add(token)
        lists = {key: set(tokens) for key, tokens in self.sorted.items() if tokens and self._is_list(key)}
        assert lists == wanted
        assert set(self.sorted[self.keys.groups]) == {job.group for job in model.jobs.values()}
        for (outcome, group), jobs in model.ended.items():
            assert list(self.sorted[self.keys.list_of(outcome, group)]) == [job.token for job in jobs]

    def _is_list(self, key: str) -> bool:
        return key.startswith(self.keys.lists) and not key.endswith(":expiry")

    def _check_ages(self) -> None:
        ages = {key: ends for key, ends in self.sorted.items() if ends and key.endswith(":expiry")}
        expiring = {key.removesuffix(":expiry"): min(ends.values()) for key, ends in ages.items()}
        assert self.sorted[self.keys.expiring] == expiring
        ends = {token: end for found in ages.values() for token, end in found.items()}
        kept = {token: float(record["expires_at"]) for token, record in self.records.items() if "expires_at" in record}
        assert ends == kept

    def _check_queues(self, model: Model) -> None:
        copies = self.copies()
        for pool, queue in self.platform.queues.items():
            of_pool = [job for job in model.jobs.values() if job.kind.pool == pool]
            waiting, delayed = self.sorted[pool_keys(queue).waiting], self.sorted[pool_keys(queue).delayed]
            assert set(delayed) == {job.token for job in of_pool if job.state == "delayed"}
            assert set(waiting) == {
                job.token for job in of_pool if job.state == "waiting" and "parked" not in self.records[job.token]
            }
            for token in waiting:
                hand_out = token, int(self.records[token]["gen"])
                assert copies[token] or hand_out in self.platform.lost, f"{token} has no message"
                assert copies[token] < 2 or hand_out in self.platform.doubled, f"{token} has two messages"
            self._check_order(queue, waiting)

    def _check_order(self, queue: str, waiting: dict[str, float]) -> None:
        """By it a sweep tells which messages are lost."""
        scores = [
            waiting[message.token]
            for message in map(named_in, reversed(self.lists[queue]))
            if self.is_wanted(message) and message[:2] not in self.platform.doubled and message.token in waiting
        ]
        assert all(one < other for one, other in itertools.pairwise(scores)), "jobs don't wait in the queue's order"

    def _check_parked(self, model: Model) -> None:
        places: defaultdict[str, set[str]] = defaultdict(set)
        for token, record in self.records.items():
            if "parked" in record:
                assert record["state"] == "waiting"
                places[record["parked"]].add(token)
        prefix = self.keys.parked_at
        found = {
            key.removeprefix(prefix): set(tokens)
            for key, tokens in self.sorted.items()
            if tokens and key.startswith(prefix)
        }
        assert found == places
        assert set(self.sorted[self.keys.parked]) == places.keys()

    def _check_running(self, model: Model) -> None:
        running = [
            (token, node, nonce)
            for node in self.nodes()
            for token, nonce in self.hashes[self.of_node(node, "active")].items()
        ]
        assert sorted(running) == sorted((job.token, job.node, job.nonce) for job in model.in_state("active"))

    def _check_slots(self) -> None:
        for node in self.sorted[self.keys.nodes]:
            held = {
                token: set(limits.split("\n")) for token, limits in self.hashes[self.of_node(node, "slotted")].items()
            }
            prefix = self.of_node(node, "slots:")
            taken: defaultdict[str, set[str]] = defaultdict(set)
            for key, tokens in self.sets.items():
                if key.startswith(prefix):
                    for token in tokens:
                        taken[token].add(key.removeprefix(prefix))
            may_have = {message.token for message in self.messages_for(node)}
            may_have |= self.hashes[self.of_node(node, "active")].keys()
            assert held == taken
            assert held.keys() <= may_have, f"{node} keeps slots for {held.keys() - may_have}, which it won't run"

    def _check_wakes(self) -> None:
        for queue in self.platform.queues.values():
            assert not self.lists[queue] or self.sorted[pool_keys(queue).wake]
        for node in self.sorted[self.keys.nodes]:
            assert not self.lists[self.of_node(node, "admitted")] or self.sorted[self.of_node(node, "wake")]

    def _check_owners(self) -> None:
        """Every key belongs to a job, a queue or a node that is there, or ends by itself."""
        keys = self.keys
        owned = {keys.generation, keys.groups, keys.expiring, keys.nodes, keys.gone, keys.parked}
        for queue in self.platform.queues.values():
            pool = pool_keys(queue)
            owned |= {pool.queue, pool.waiting, pool.delayed, pool.wake}
        nodes = {keys.node + node for node in self.nodes()}
        for key in self.names - owned:
            if key.startswith(keys.node):
                assert ":".join(key.split(":")[: keys.node.count(":") + 1]) in nodes, key
            elif key.startswith((keys.answers, keys.tallies)):
                assert key not in self.lives or self.lives[key] >= 0, key
            else:
                assert key.startswith((keys.jobs, keys.lists, keys.parked_at)), key
