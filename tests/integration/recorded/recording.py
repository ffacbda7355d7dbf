"""Loads what `record.py` has recorded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from tests.integration.recorded.record import MOMENT, PREFIX, moved
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.keys import job_token, split_task_id
from xpert_mq.store.store import Claim

FILE = Path(__file__).parent / "format1.json"

ENDED = ("completed", "failed")


@dataclass(frozen=True, slots=True)
class RecordedJob:
    """A job of the recording; `snapshot` is what the older release said of it: None where it was gone."""

    tenant_id: str | None
    id: str
    snapshot: dict[str, Any] | None

    @property
    def token(self) -> str:
        return job_token(self.tenant_id, self.id)

    @property
    def state(self) -> str | None:
        return None if self.snapshot is None else self.snapshot["state"]

    @property
    def is_unfinished(self) -> bool:
        return self.state not in (None, *ENDED)


class Recording:
    """The keys of an older release, under the prefix of a service.

    Args:
        age_ms: how long ago they were as recorded. What has reached the end of its life since is gone.
    """

    def __init__(self, service: ManagedQueueService, age_ms: int = 0) -> None:
        self.service = service
        self.redis = service.get_redis()
        text = moved(FILE.read_text(), MOMENT, self._now() - age_ms).replace(PREFIX, service.settings.prefix)
        data = json.loads(text)
        self.living: list[str] = data["nodes"]["living"]
        self.dead: list[str] = data["nodes"]["dead"]
        self.jobs = [RecordedJob(**job) for job in data["jobs"]]
        self.counts: dict[str, int] = data["counts"]
        self._load(data["keys"], age_ms)

    def _now(self) -> int:
        seconds, microseconds = self.redis.time()
        return int(seconds) * 1000 + int(microseconds) // 1000

    def _load(self, keys: dict[str, dict[str, Any]], age_ms: int) -> None:
        with self.redis.pipeline() as pipe:
            put: dict[str, Callable[[str, Any], object]] = {
                "string": pipe.set,
                "hash": lambda name, value: pipe.hset(name, mapping=value),
                "set": lambda name, value: pipe.sadd(name, *value),
                "list": lambda name, value: pipe.rpush(name, *value),
                "zset": pipe.zadd,
            }
            for name, key in keys.items():
                life = key["ttl"] and key["ttl"] - age_ms
                if life is None or life > 0:
                    put[key["type"]](name, key["value"])
                if life and life > 0:
                    pipe.pexpire(name, life)
            pipe.execute()

    @property
    def unfinished(self) -> list[RecordedJob]:
        return [job for job in self.jobs if job.is_unfinished]

    def now(self, job: RecordedJob) -> dict[str, Any] | None:
        """What the present release says of the job, as far as the older one did."""
        found = self.service.get_job(job.id, tenant_id=job.tenant_id)
        if found is None:
            return None
        said = json.loads(json.dumps(asdict(found)))
        return {name: said[name] for name in job.snapshot or said}

    def running(self, nodes: Iterable[str]) -> dict[str, str]:
        """The nonces of the claims of what the nodes run, by the jobs' tokens."""
        held: dict[bytes, bytes] = {}
        for node in nodes:
            held |= cast("dict[bytes, bytes]", self.redis.hgetall(f"{self.service.store.keys.node}{node}:active"))
        return {token.decode(): nonce.decode() for token, nonce in held.items()}

    def admitted_to(self, node: str) -> list[str]:
        """The tokens of jobs that slots of the node are kept for, and whose messages wait for it."""
        notes: Any = self.redis.lrange(f"{self.service.store.keys.node}{node}:admitted", 0, -1)
        return [_token_in(note) for note in notes]

    def fetched_by(self, node: str) -> list[str]:
        """The tokens of jobs whose messages the node holds."""
        notes: Any = self.redis.hvals(self.service.store.keys.unacked_of(node))
        return [_token_in(note) for note in notes]

    def claim_of(self, job: RecordedJob, node: str) -> Claim:
        """The hold that the older release's try has on its job."""
        record = self.service.executor.run(self.service.store.read(job.tenant_id, job.id))
        assert record is not None
        nonce = self.running([node])[job.token]
        queue = self.service.settings.queue_name("sandbox-browser" if job.id.startswith("browser") else "default")
        now = record.snapshot
        return Claim(
            job.token, nonce, node, queue, record.envelope, now.opts, b"", now.attempts_made, tuple(now.stacktrace)
        )

    def beat(self, nodes: Iterable[str], ahead_ms: int = 0) -> None:
        """The nodes have said that they are alive, at the present or so long after it."""
        self.redis.zadd(self.service.store.keys.nodes, dict.fromkeys(nodes, self._now() + ahead_ms), xx=True)


def _token_in(note: bytes) -> str:
    message = json.loads(note.partition(b"\n")[2])
    return split_task_id(message["headers"]["id"])[0]
