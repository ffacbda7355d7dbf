"""What holds of a platform's keys after every step."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from tests.integration.pretend import STATES, PretendWorker
from xpert_mq.inspector import Inspector
from xpert_mq.models import JobState
from xpert_mq.store.keys import pool_keys
from xpert_mq.store.listing import JobFilter


def check_indexes(worker: PretendWorker) -> None:
    """Records, indexes and counts agree, and every active job is one node's."""
    records = _records(worker)
    by_state = Counter(record[b"state"].decode() for record in records.values())
    lines = Inspector(worker.service).queues(JobFilter())

    for state in STATES:
        assert sum(line.states[cast("JobState", state)] for line in lines) == by_state[state]
    queues = [worker.service.settings.queue_name(pool) for pool in worker.service.settings.pools]
    for state in ("waiting", "delayed"):
        indexed = [token for queue in queues for token in worker.redis.zrange(getattr(pool_keys(queue), state), 0, -1)]
        assert sorted(indexed) == _tokens(records, state)
    running: list[tuple[bytes, bytes]] = []
    for key in worker.all_keys():
        if key.startswith(worker.store.keys.node) and key.endswith(":active"):
            held: Any = worker.redis.hgetall(key)
            running += held.items()
    assert sorted(token for token, _ in running) == _tokens(records, "active")
    assert all(records[token][b"claim"] == nonce for token, nonce in running)


def _tokens(records: dict[bytes, dict[bytes, bytes]], state: str) -> list[bytes]:
    return sorted(token for token, record in records.items() if record[b"state"] == state.encode())


def _records(worker: PretendWorker) -> dict[bytes, dict[bytes, bytes]]:
    jobs = worker.store.keys.jobs.encode()
    keys = sorted(worker.redis.scan_iter(match=jobs + b"*", count=1000))
    with worker.redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hgetall(key)
        return {key[len(jobs) :]: record for key, record in zip(keys, pipe.execute(), strict=True)}


def node_keys(worker: PretendWorker) -> set[str]:
    """The keys of nodes, alive and gone."""
    keys = worker.store.keys
    return {key for key in worker.all_keys() if key.startswith((keys.nodes, keys.node))}
