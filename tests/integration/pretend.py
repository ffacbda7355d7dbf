"""Stands in for a worker: takes messages and drives the store, with no process of its own."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from xpert_mq.models import EnqueueResult, JobSnapshot
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.connection import Call
from xpert_mq.store.keys import job_token, pool_keys, split_task_id, split_token
from xpert_mq.store.store import Claim, Failure, NodeInfo, Recovered

JOB = {"plugin_name": "plugin", "queue_name": "queue", "job_name": "job"}
OTHER_JOB = {**JOB, "job_name": "other"}
STATES = ("waiting", "delayed", "active", "completed", "failed")

_numbers = itertools.count()


def wait_until(condition: Callable[[], Any], timeout: float = 10) -> Any:
    """What the condition gives once it is true."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.002)
    return found


def failure(reason: str = "boom", kind: str = "builtins.ValueError") -> Failure:
    return Failure(reason, kind, f"Traceback: {reason}")


def in_threads(*targets: Callable[[], object]) -> None:
    """Runs them side by side; raises the first error of one."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(targets))

    def run(target: Callable[[], object]) -> None:
        try:
            start.wait()
            target()
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def steady_node(service: ManagedQueueService, name: str) -> PretendWorker:
    """A node that has long been beating without a gap."""
    worker = PretendWorker(service, name)
    worker.be_steady()
    return worker


class PretendWorker:
    """A worker node of one service."""

    def __init__(self, service: ManagedQueueService, node: str = "node") -> None:
        self.service = service
        self.node = node
        self.store = service.store
        self.redis = service.get_redis()
        self.queue = service.settings.queue_name()
        self._joined = False

    def join(self) -> None:
        """Becomes a node, once."""
        if not self._joined:
            self._joined = self.beat(fresh=True)

    def beat(
        self, *, fresh: bool = False, consuming: bool = True, hangs: bool = False, tick_age_ms: int = 0, **info: Any
    ) -> bool:
        """Says that the node is alive."""
        said = NodeInfo(**{"queues": [self.queue], **info})
        call = self.store.beat(
            self.node, said, fresh=fresh, consuming=consuming, hangs=hangs, tick_age_ms=tick_age_ms, gap_ms=15_000
        )
        return bool(self.run(call))

    def fetch(
        self, count: int = 1, channel: str = "channel", queues: Sequence[str] | None = None
    ) -> list[bytes] | bytes:
        """What the transport does: the messages, or `gone`."""
        values = {
            "nodes": self.store.keys.nodes,
            "node": self.node,
            "fresh": 0,
            "channel": channel,
            "count": count,
            "queues": json.dumps(queues or [self.queue]),
        }
        script = self.store.fetch_script
        self.join()
        self.redis.script_load(script.source)
        taken = cast("list[bytes] | bytes", b"more")
        while taken == b"more":
            taken = cast("list[bytes] | bytes", self.redis.execute_command(*script.values(values)))
        return taken if isinstance(taken, bytes) else taken[1::2]

    def give_back(self, tag: str) -> int:
        """Puts a fetched message back; gives how many that were."""
        script = self.store.give_back_script
        self.redis.script_load(script.source)
        return int(cast("int", self.redis.execute_command(*script.values({"node": self.node, "tag": tag}))))

    def miss_beats(self, ms: int = 60_000) -> None:
        """The last beat was so long ago."""
        self.redis.zadd(self.store.keys.nodes, {self.node: int(self.server_ms()) - ms}, xx=True)

    def be_steady(self, ms: int = 60_000) -> None:
        """Has been beating without a gap for so long."""
        self.join()
        self.redis.hset(f"{self.store.keys.node}{self.node}", "steady", str(int(self.server_ms()) - ms))

    def recover(self, timeout_ms: int = 30_000, most_stalls: int = 1, limit: int = 250) -> Recovered:
        """Declares nodes dead, and takes back what they hold."""
        found: Recovered = self.run(self.store.recover(self.node, timeout_ms, most_stalls, limit))
        return found

    def leave(self) -> bool:
        """The node goes."""
        return bool(self.run(self.store.leave(self.node)))

    def stall(self, task_id: str, most_stalls: int | None = 1) -> str:
        """A child of the node has died with the job."""
        token, generation = split_task_id(task_id)
        return str(self.run(self.store.stall(token, self.node, generation=generation, most_stalls=most_stalls)))

    def sweep(self, queue: str | None = None, limit: int = 250) -> list[str]:
        """Replaces lost messages; gives the ids of their jobs."""
        tokens = self.run(self.store.sweep(queue or self.queue, limit))
        return [split_token(token)[1] for token in tokens]

    def run(self, call: Call[Any]) -> Any:
        return self.service.executor.run(call)

    def enqueue(self, job_id: str | None = None, **fields: Any) -> EnqueueResult:
        """A job with what the test doesn't care about filled in."""
        return self.service.enqueue({**JOB, "job_id": job_id or f"job-{next(_numbers)}", **fields})

    def messages(self, queue: str | None = None) -> list[dict[str, Any]]:
        """Those in the queue, the next to be taken first."""
        raw = cast("list[bytes]", self.redis.lrange(queue or self.queue, 0, -1))
        return [json.loads(text) for text in reversed(raw)]

    def waiting_ids(self, queue: str | None = None) -> list[str]:
        """The jobs that the queue's messages name, the next to be taken first."""
        return [split_token(split_task_id(message["headers"]["id"])[0])[1] for message in self.messages(queue)]

    def record_key(self, job_id: str, tenant_id: str | None = None) -> str:
        """The key of the job's record."""
        return self.store.keys.job(job_token(tenant_id, job_id))

    def take(self, queue: str | None = None) -> str:
        """The task id of the next message, which is taken out of the queue."""
        raw = cast("bytes | None", self.redis.rpop(queue or self.queue))
        assert raw is not None, "no message in the queue"
        task_id: str = json.loads(raw)["headers"]["id"]
        return task_id

    def task_id_of(self, message: bytes) -> str:
        """The task id that a message names."""
        task_id: str = json.loads(message)["headers"]["id"]
        return task_id

    def queue_of(self, message: bytes) -> str:
        """The queue that a message is for."""
        queue: str = json.loads(message)["properties"]["delivery_info"]["routing_key"]
        return queue

    def unacknowledged(self) -> dict[bytes, bytes]:
        """What the node holds, by tag."""
        return cast("dict[bytes, bytes]", self.redis.hgetall(self.store.keys.unacked_of(self.node)))

    def acknowledge(self, message: bytes) -> None:
        """The node is done with it."""
        tag = json.loads(message)["properties"]["delivery_tag"]
        self.redis.hdel(self.store.keys.unacked_of(self.node), tag)

    def finished_keys(self) -> set[str]:
        """The keys of jobs that have ended, and of what lists them."""
        keys = self.store.keys
        return {key for key in self.all_keys() if key.startswith((keys.jobs, keys.lists, keys.groups, keys.expiring))}

    def claim(self, task_id: str, queue: str | None = None) -> Claim | None:
        self.join()
        claim: Claim | None = self.run(self.store.claim(*split_task_id(task_id), queue or self.queue, self.node))
        return claim

    def claim_next(self, queue: str | None = None) -> Claim:
        """The next message's job, which must still want it."""
        claim = self.claim(self.take(queue), queue)
        assert claim is not None
        return claim

    def complete(self, claim: Claim, result: str = "") -> bool:
        return bool(self.run(self.store.complete(claim, result)))

    def fail(self, claim: Claim, reason: str = "boom") -> bool:
        return bool(self.run(self.store.fail(claim, failure(reason))))

    def fail_try(self, claim: Claim, reason: str = "boom", delay_ms: int = 0) -> bool:
        """A failed try, with more to come."""
        return bool(self.run(self.store.try_again(claim, delay_ms, failure(reason))))

    def defer(self, claim: Claim, delay_ms: int = 0) -> bool:
        return bool(self.run(self.store.try_again(claim, delay_ms, None)))

    def checkpoint(self, claim: Claim, payload: str) -> bool:
        return bool(self.run(self.store.checkpoint(claim, payload)))

    def promote(self, limit: int = 250) -> tuple[int, int | None]:
        count, wait = self.run(self.store.promote(self.queue, limit))
        return count, wait

    def promote_next(self) -> None:
        """Waits until a delayed job is due, and hands it out."""
        wait_until(lambda: self.promote()[0])

    def expire(self, limit: int = 250) -> tuple[int, int | None]:
        count, wait = self.run(self.store.expire(limit))
        return count, wait

    def job(self, job_id: str, tenant_id: str | None = None) -> JobSnapshot:
        """The job, which must be there."""
        snapshot = self.service.get_job(job_id=job_id, tenant_id=tenant_id)
        assert snapshot is not None
        return snapshot

    def task_id(self, job_id: str, tenant_id: str | None = None) -> str:
        """The task id of the latest hand-out."""
        record = self.run(self.store.read(tenant_id, job_id))
        return str(record.task_id())

    def bring_to(self, state: str, job_id: str, **fields: Any) -> Claim | None:
        """Enqueues a job and takes it to a state; the queue must be empty. Gives its claim, where it has been."""
        self.enqueue(job_id, **fields, delay_ms=60_000 if state == "delayed" else None)
        if state in ("waiting", "delayed"):
            return None
        claim = self.claim_next()
        if state == "completed":
            assert self.complete(claim)
        if state == "failed":
            assert self.fail(claim)
        return claim

    def all_keys(self) -> set[str]:
        """All keys of the service's prefix."""
        found = self.redis.scan_iter(match=f"{self.service.settings.prefix}:*", count=1000)
        return {key.decode("utf-8", "replace") for key in found}

    def keys_left(self) -> set[str]:
        """The keys that outlive their jobs, without those that may: after the workers have seen all messages."""
        while self.redis.rpop(self.queue):
            pass
        self.redis.zpopmin(pool_keys(self.queue).wake)
        keys = self.store.keys
        passing = (keys.answers, keys.tallies, keys.nodes, keys.node)
        return {key for key in self.all_keys() if key != keys.generation and not key.startswith(passing)}

    def server_ms(self) -> float:
        """The server's clock, in milliseconds."""
        seconds, microseconds = self.redis.time()
        return seconds * 1000 + microseconds / 1000
