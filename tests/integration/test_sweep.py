"""Jobs that wait and whose message is gone get another; no job gets a second one."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from tests.integration.invariants import check_indexes
from tests.integration.pretend import JOB, PretendWorker, steady_node, wait_until
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.keys import pool_keys, split_task_id

SANDBOX = "sandbox-browser"


@pytest.fixture
def node(any_service: ManagedQueueService) -> PretendWorker:
    """A node that has long been beating without a gap."""
    return steady_node(any_service, "node")


@pytest.fixture
def doomed(any_service: ManagedQueueService) -> PretendWorker:
    """Another one."""
    return steady_node(any_service, "doomed")


def _enqueue(
    worker: PretendWorker, count: int, name: str = "job", *, together: bool = False, **fields: Any
) -> list[str]:
    """Jobs that were admitted a millisecond after each other, or all in one."""
    ids = [f"{name}-{number}" for number in range(count)]
    worker.service.enqueue_many([{**JOB, **fields, "job_id": job_id} for job_id in ids])
    now = int(worker.server_ms())
    times = {f":{job_id}": now if together else now - count + number for number, job_id in enumerate(ids)}
    worker.redis.zadd(pool_keys(worker.queue).waiting, times, xx=True)
    return ids


def _lose(worker: PretendWorker, *job_ids: str, queue: str | None = None) -> None:
    """Takes the jobs' messages out of the queue."""
    queue = queue or worker.queue
    for raw in cast("list[bytes]", worker.redis.lrange(queue, 0, -1)):
        name = json.loads(raw)["headers"]["id"].split(":")[-2]
        if name in job_ids:
            assert worker.redis.lrem(queue, 1, raw.decode()) == 1


def _run_all(worker: PretendWorker, queue: str | None = None) -> list[str]:
    """Runs what the queue holds, sweeping at every step; gives the ids of the jobs that ran, in order."""
    ran: list[str] = []
    queue = queue or worker.queue
    while True:
        worker.sweep(queue)
        if not worker.redis.llen(queue):
            return ran
        task_id = worker.take(queue)
        claim = worker.claim(task_id, queue)
        if claim is not None:
            ran.append(claim.job_id)
            assert worker.complete(claim)


def test_sweep_of_nothing(node: PretendWorker) -> None:
    assert node.sweep() == []


@pytest.mark.parametrize("which", [[0], [2], [4], [0, 1], [1, 3], [3, 4], [0, 1, 2, 3, 4]])
def test_sweep_replaces_what_is_lost(node: PretendWorker, which: list[int]) -> None:
    ids = _enqueue(node, 5)
    lost = [ids[number] for number in which]
    _lose(node, *lost)

    assert sorted(_run_all(node)) == ids

    assert node.job(lost[0]).attempts_made == 1
    check_indexes(node)


@pytest.mark.parametrize("which", [[0], [2], [4], [0, 1, 2, 3, 4]])
def test_sweep_of_jobs_of_one_millisecond(node: PretendWorker, which: list[int]) -> None:
    ids = _enqueue(node, 5, together=True)
    _lose(node, *(ids[number] for number in which))

    assert sorted(_run_all(node)) == ids


def test_sweep_puts_the_lost_in_front_in_their_order(node: PretendWorker) -> None:
    ids = _enqueue(node, 6)
    _lose(node, *ids[:3])

    assert sorted(node.sweep()) == ids[:3]

    assert node.waiting_ids() == ids
    assert node.sweep() == []
    check_indexes(node)


@pytest.mark.parametrize("together", [False, True])
def test_sweep_leaves_what_waits(node: PretendWorker, together: bool) -> None:
    ids = _enqueue(node, 5_000, together=together)

    assert node.sweep() == []
    assert node.fetch(64) != []
    assert node.sweep() == []
    assert len(node.messages()) == len(ids) - 64


@pytest.mark.parametrize("lost", [0, 2_500, 4_999])
def test_sweep_in_a_long_backlog(node: PretendWorker, lost: int) -> None:
    ids = _enqueue(node, 5_000)
    _lose(node, ids[lost])
    found = []
    for _ in range(0, 5_000, 50):
        fetched = [node.task_id_of(raw) for raw in cast("list[bytes]", node.fetch(50))]
        claims = [node.store.claim(*split_task_id(task_id), node.queue, node.node) for task_id in fetched]
        node.service.executor.run_many(claims)
        found += node.sweep()

    assert found == [ids[lost]]
    assert sum(node.job(job_id).state == "active" for job_id in ids[::50]) >= 99


def test_sweep_after_the_queue_was_emptied(node: PretendWorker) -> None:
    ids = _enqueue(node, 1_000)
    node.redis.delete(node.queue)

    ran = _run_all(node)

    assert ran == ids
    assert node.keys_left() == _kept(node, ids)


def _kept(node: PretendWorker, ids: list[str]) -> set[str]:
    """The keys of completed jobs."""
    return {key for key in node.all_keys() if key.startswith((node.store.keys.jobs, node.store.keys.lists))} | {
        node.store.keys.groups,
        node.store.keys.expiring,
    }


def test_sweep_after_the_queue_was_emptied_and_filled_again(node: PretendWorker) -> None:
    lost = _enqueue(node, 600, "lost")
    node.redis.delete(node.queue)
    new = _enqueue(node, 100, "new", together=True)

    ran = _run_all(node)

    assert ran[:600] == lost
    assert sorted(ran[600:]) == sorted(new)


def test_sweep_leaves_what_nodes_hold(node: PretendWorker, doomed: PretendWorker) -> None:
    _enqueue(node, 6)
    node.fetch(2)
    doomed.fetch(2)

    assert node.sweep() == []
    node.fetch(2)
    assert node.sweep() == []
    doomed.miss_beats()
    # Declared dead, and not all of it taken back yet.
    assert node.recover(limit=0).dead_nodes == ["doomed"]
    assert node.sweep() == []


def test_sweep_with_many_held_before_the_lost_one(node: PretendWorker) -> None:
    ids = _enqueue(node, 302)
    held = [raw for _ in range(5) for raw in node.fetch(60)]
    assert len(held) == 300
    _lose(node, ids[300])

    assert node.sweep() == [ids[300]]


def test_sweep_leaves_recovered_running_ones(node: PretendWorker, doomed: PretendWorker) -> None:
    ids = _enqueue(node, 40)
    for raw in doomed.fetch(10):
        assert doomed.claim(doomed.task_id_of(cast("bytes", raw))) is not None
    doomed.fetch(10)
    doomed.miss_beats()
    node.recover()

    assert node.sweep() == []
    assert sorted(node.waiting_ids()) == sorted(ids)


def test_sweep_leaves_messages_that_went_back_in_another_order(node: PretendWorker, doomed: PretendWorker) -> None:
    """What was fetched first goes back first, in front of it what was fetched later."""
    ids = _enqueue(node, 6)
    doomed.fetch(2)
    node.fetch(2)
    doomed.miss_beats()
    node.recover()
    assert node.sweep() == []
    _close_channel(node)

    assert node.sweep() == []
    assert sorted(node.waiting_ids()) == ids


def _close_channel(worker: PretendWorker) -> None:
    """What the worker holds goes back, and it takes nothing."""
    worker.fetch(0, channel="next")


def test_sweep_leaves_recovered_ones_that_are_fetched_and_go_back(node: PretendWorker, doomed: PretendWorker) -> None:
    ids = _enqueue(node, 6)
    doomed.claim_next()
    doomed.miss_beats()
    node.recover()
    # The recovered one, and the first of the others.
    assert len(node.fetch(2)) == 2
    _close_channel(node)

    assert node.sweep() == []
    assert node.waiting_ids() == ids


def test_sweep_leaves_a_message_that_was_given_back(node: PretendWorker) -> None:
    ids = _enqueue(node, 4)
    for raw in node.fetch(2):
        node.give_back(json.loads(cast("bytes", raw))["properties"]["delivery_tag"])

    assert node.sweep() == []
    assert sorted(node.waiting_ids()) == ids


@pytest.mark.parametrize("how", ["fail_try", "defer"])
def test_sweep_leaves_what_is_tried_again(node: PretendWorker, how: str) -> None:
    _enqueue(node, 5, attempts=2)
    getattr(node, how)(node.claim_next())

    assert node.sweep() == []
    node.fetch(3)
    assert node.sweep() == []
    assert len(node.messages()) == 2


def test_sweep_leaves_delayed_jobs_and_those_that_were(node: PretendWorker) -> None:
    _enqueue(node, 3)
    node.enqueue("far", delay_ms=60_000)
    node.enqueue("due", delay_ms=1)
    node.promote_next()

    assert node.sweep() == []
    node.redis.delete(node.queue)
    assert sorted(node.sweep()) == ["due", "job-0", "job-1", "job-2"]
    check_indexes(node)


def test_sweep_behind_a_message_of_an_earlier_life(node: PretendWorker) -> None:
    """The oldest message is of a cancelled job, whose id is waiting again at the end of the queue."""
    node.enqueue("again")
    _enqueue(node, 3)
    node.service.cancel("again")
    node.enqueue("again")

    assert node.sweep() == []
    assert node.waiting_ids() == ["again", "job-0", "job-1", "job-2", "again"]


@pytest.mark.parametrize(
    "raw", ["x", "{}", "[]", '{"headers":{"id":7}}', '{"headers":{"id":"x"}}', "1", '{"headers":1}']
)
def test_sweep_behind_what_is_no_message(node: PretendWorker, raw: str) -> None:
    _enqueue(node, 2)
    node.redis.rpush(node.queue, raw)

    assert node.sweep() == []


def _next_millisecond(node: PretendWorker) -> None:
    now = int(node.server_ms())
    wait_until(lambda: node.server_ms() >= now + 1)


def test_sweep_of_pools_and_tenants(node: PretendWorker) -> None:
    sandbox = node.service.settings.queue_name(SANDBOX)
    for tenant in ("a", "b", None):
        for pool in ("default", SANDBOX):
            node.enqueue(f"{pool}-job", tenant_id=tenant, execution_pool=pool)
        _next_millisecond(node)
    node.redis.rpop(sandbox)

    assert node.sweep() == []
    assert node.sweep(sandbox) == [f"{SANDBOX}-job"]
    claims = [node.claim_next(sandbox) for _ in range(3)]
    assert [claim.envelope.tenant_id for claim in claims] == ["a", "b", None]
    check_indexes(node)


def test_sweep_of_a_limit(node: PretendWorker) -> None:
    ids = _enqueue(node, 10)
    node.redis.delete(node.queue)

    assert sorted(node.sweep(limit=4)) == ids[:4]
    assert node.waiting_ids() == ids[:4]
    assert _run_all(node) == ids


def test_sweep_after_a_message_was_doubled(node: PretendWorker) -> None:
    ids = _enqueue(node, 4)
    for raw in cast("list[bytes]", node.redis.lrange(node.queue, 0, -1)):
        node.redis.lpush(node.queue, raw.decode())

    assert _run_all(node) == ids


def test_sweep_leaves_thousands_that_came_within_milliseconds(node: PretendWorker) -> None:
    """Due together, enqueued together and tried again: their admissions are in the order of the queue."""
    node.service.enqueue_many({**JOB, "job_id": f"due-{number}", "delay_ms": 1} for number in range(1500))
    _next_millisecond(node)
    _next_millisecond(node)
    while node.promote()[0]:
        pass
    node.service.enqueue_many({**JOB, "job_id": f"now-{number}"} for number in range(1500))

    assert node.sweep() == []
    tokens = cast("list[bytes]", node.redis.zrange(pool_keys(node.queue).waiting, 0, -1))
    admitted = [token.decode().lstrip(":") for token in tokens]
    assert admitted == node.waiting_ids()
