"""Limits of handlers and pools per node: who runs, who is parked, and who comes next."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest

from tests.integration.pretend import JOB, OTHER_JOB, PretendWorker
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.keys import handler_limit, logical_name, pool_limit
from xpert_mq.store.store import Claim

LIMIT = handler_limit(None, logical_name(*JOB.values()))


class LimitedNode(PretendWorker):
    """A node that runs so many jobs of `JOB` at a time."""

    def __init__(self, service: ManagedQueueService, node: str = "node", limit: int = 1) -> None:
        super().__init__(service, node)
        self.queues = [self.queue]
        self.limits = {LIMIT: limit}
        self.handlers: list[str] = []
        self.running: list[Claim] = []

    def join(self) -> None:
        if not self._joined:
            self.tell()

    def tell(self, *, consuming: bool = True) -> None:
        """Beats."""
        self._joined = self.beat(
            fresh=True, consuming=consuming, queues=self.queues, limits=self.limits, handlers=self.handlers
        )

    def work(self, count: int = 100) -> list[str]:
        """Fetches and claims what it gets. Gives the ids of the jobs that run now, in the order of their starts."""
        while messages := self.fetch(count, queues=self.queues):
            assert not isinstance(messages, bytes)
            for message in messages:
                claim = self.claim(self.task_id_of(message), self.queue_of(message))
                self.running += [claim] if claim else []
                self.acknowledge(message)
        return self.ids

    @property
    def ids(self) -> list[str]:
        return [claim.job_id for claim in self.running]

    def end_first(self) -> None:
        """The job that runs longest ends."""
        assert self.complete(self.running.pop(0))


@pytest.fixture
def node(service: ManagedQueueService) -> LimitedNode:
    node = LimitedNode(service)
    node.tell()
    return node


def add(node: PretendWorker, ids: Sequence[str]) -> None:
    for job_id in ids:
        node.enqueue(job_id)


def test_over_the_limit_jobs_wait_in_order_and_hold_nothing(node: LimitedNode) -> None:
    add(node, "abcde")

    assert node.work() == ["a"]
    assert node.messages() == []
    assert node.unacknowledged() == {}
    assert {node.job(job_id).state for job_id in "bcde"} == {"waiting"}
    for job_id in "bcde":
        node.end_first()
        assert node.work() == [job_id]
    node.end_first()
    assert node.work() == []
    assert {node.job(job_id).attempts_made for job_id in "abcde"} == {1}


def test_other_handlers_run_beside_them(node: LimitedNode) -> None:
    add(node, "abc")
    node.work()
    node.service.enqueue({**OTHER_JOB, "job_id": "other"})
    add(node, "d")

    assert node.work() == ["a", "other"]


def test_new_job_waits_behind_the_parked_without_a_message(node: LimitedNode) -> None:
    add(node, "ab")
    node.work()
    add(node, "c")

    assert node.messages() == []
    node.end_first()
    node.work()
    node.end_first()
    assert node.work() == ["c"]


@pytest.mark.parametrize(
    "how", ["complete", "fail", "retry", "retry later", "defer", "stall", "node dies", "node leaves"]
)
def test_slot_is_given_on_whatever_ends_the_try(service: ManagedQueueService, node: LimitedNode, how: str) -> None:
    node.enqueue("a", attempts=3)
    add(node, "bc")
    node.work()
    claim = node.running.pop()

    next_node = node
    if how == "complete":
        node.complete(claim)
    elif how == "fail":
        node.fail(claim)
    elif how == "retry":
        node.fail_try(claim)
    elif how == "retry later":
        node.fail_try(claim, delay_ms=60_000)
    elif how == "defer":
        node.defer(claim, 60_000)
    elif how == "stall":
        node.stall(node.task_id("a"))
    else:
        next_node = LimitedNode(service, "other")
        next_node.tell()
        next_node.be_steady()
        if how == "node dies":
            node.miss_beats()
        else:
            node.leave()
        next_node.recover()
        next_node.tell()

    assert next_node.work() == ["b"]
    seen = list(next_node.ids)
    for _ in range(3):
        if not next_node.running:
            break
        assert len(next_node.running) == 1
        next_node.end_first()
        seen += next_node.work()
    back = how in ("retry", "stall", "node dies", "node leaves")
    assert sorted(set(seen)) == (["a", "b", "c"] if back else ["b", "c"])


def test_two_nodes_have_a_limit_each(service: ManagedQueueService, node: LimitedNode) -> None:
    other = LimitedNode(service, "other", limit=2)
    other.tell()
    add(node, "abcdef")

    assert node.work() == ["a"]
    other.tell()
    assert other.work() == ["b", "c"]
    other.end_first()
    assert node.work() == ["a"]
    assert other.work() == ["c", "d"]


def test_slot_is_kept_for_the_admitted(service: ManagedQueueService, node: LimitedNode) -> None:
    """Another node does not get its message, and a new job not its slot."""
    other = LimitedNode(service, "other")
    add(node, "abc")
    node.work()
    other.tell()
    other.work()
    assert (node.ids, other.ids) == (["a"], ["b"])
    node.end_first()
    add(node, "d")

    assert other.work() == ["b"]
    assert node.work() == ["c"]


@pytest.mark.parametrize("how", ["another channel", "given back", "takes no jobs", "lost"])
def test_slot_is_kept_no_longer_than_the_message(service: ManagedQueueService, node: LimitedNode, how: str) -> None:
    add(node, "ab")
    node.work()
    node.end_first()
    if how == "lost":
        node.redis.delete(f"{node.store.keys.node}{node.node}:admitted")
        node.sweep()
    else:
        (raw,) = node.fetch()
        if how == "another channel":
            node.fetch(0, channel="second")
        elif how == "given back":
            node.give_back(str(json.loads(raw)["properties"]["delivery_tag"]))  # type: ignore[arg-type] # one message
        else:
            node.tell(consuming=False)
    other = LimitedNode(service, "other")
    other.tell()
    assert other.work() == ["b"]

    node.tell()
    add(node, "c")
    assert node.work() == ["c"]


def test_slot_of_a_limit_that_a_job_does_not_come_under_is_freed(service: ManagedQueueService) -> None:
    """The general handler's limit is what it was parked at, since no node had its scope's handler then."""
    own = handler_limit("s", logical_name(*JOB.values()))
    node = LimitedNode(service)
    node.tell()
    add(node, "ab")
    node.enqueue("scoped", scope_key="s")
    node.work()
    assert node.ids == ["a"]
    node.end_first()
    node.work()
    node.limits[own] = 1
    node.tell()
    node.end_first()
    assert node.work() == ["scoped"]

    add(node, "c")

    assert node.work() == ["scoped", "c"]
    node.end_first()
    node.end_first()


def test_job_of_a_scope_does_not_wait_behind_others(node: LimitedNode) -> None:
    node.limits[handler_limit("s", logical_name(*JOB.values()))] = 1
    node.tell()
    add(node, "ab")
    node.work()

    node.enqueue("scoped", scope_key="s")

    assert node.work() == ["a", "scoped"]


def test_message_of_a_parked_job_starts_nothing(service: ManagedQueueService, node: LimitedNode) -> None:
    """It comes again: twice in the queue, or since its acknowledgement was lost."""
    free = LimitedNode(service, "free")
    free.limits = {}
    free.tell()
    add(node, "ab")
    first, second = node.fetch(2)
    running = node.claim(node.task_id_of(first))  # type: ignore[arg-type] # a message
    assert running is not None
    assert node.claim(node.task_id_of(second)) is None  # type: ignore[arg-type] # a message

    node.fetch(0, channel="second")
    node.redis.lpush(node.queue, second)

    assert free.work() == []
    assert free.claim(node.task_id_of(second)) is None  # type: ignore[arg-type] # a message
    assert node.complete(running)
    assert node.work() == ["b"]


@pytest.mark.parametrize("when", ["parked", "admitted", "fetched"])
def test_cancel(node: LimitedNode, when: str) -> None:
    add(node, "abc")
    node.work()
    messages: list[bytes] | bytes = []
    if when != "parked":
        node.end_first()
    if when == "fetched":
        messages = node.fetch(10)

    assert node.service.cancel("b").success

    assert not isinstance(messages, bytes)
    for message in messages:
        assert node.claim(node.task_id_of(message)) is None
    if when == "parked":
        node.end_first()
    assert node.work() == ["c"]
    node.end_first()
    assert node.keys_left() - node.finished_keys() == set()


def test_limit_that_is_raised_or_gone(node: LimitedNode) -> None:
    add(node, "abcdefgh")
    assert node.work() == ["a"]
    node.limits[LIMIT] = 3
    node.tell()
    assert node.work() == ["a", "b", "c"]
    node.limits, node.handlers = {}, [LIMIT]
    node.tell()
    assert node.work() == ["a", "b", "c", "d", "e", "f", "g", "h"]


def test_limit_that_is_lowered(node: LimitedNode) -> None:
    node.limits[LIMIT] = 2
    node.tell()
    add(node, "abcd")
    assert node.work() == ["a", "b"]
    node.limits[LIMIT] = 1
    node.tell()
    node.end_first()
    assert node.work() == ["b"]
    node.end_first()
    assert node.work() == ["c"]


def test_new_node_takes_the_parked_at_its_first_beat(service: ManagedQueueService, node: LimitedNode) -> None:
    add(node, "abc")
    node.work()
    other = LimitedNode(service, "other", limit=5)

    other.tell()

    assert other.work() == ["b", "c"]


def test_node_that_ends_keeps_no_slot_for_anybody(service: ManagedQueueService, node: LimitedNode) -> None:
    """Its jobs run on, and what was kept for it goes to others."""
    add(node, "abc")
    node.work()
    node.end_first()
    node.tell(consuming=False)
    other = LimitedNode(service, "other", limit=5)
    other.tell()

    assert sorted(other.work()) == ["b", "c"]


def test_parked_at_a_limit_that_no_node_has_are_run_by_whoever_can(
    service: ManagedQueueService, node: LimitedNode
) -> None:
    """Else they would wait for a node that may never come; a node without their handler fails them."""
    add(node, "abc")
    node.work()
    other = PretendWorker(service, "other")
    other.join()
    other.sweep()
    assert other.messages() == []

    node.leave()
    other.sweep()

    assert other.waiting_ids() == ["b", "c"]
    assert [other.claim_next().job_id for _ in "bc"] == ["b", "c"]


def test_limit_of_a_scope_goes_before_that_of_all(service: ManagedQueueService, node: LimitedNode) -> None:
    logical = logical_name(*JOB.values())
    # A scope's handler that has none, where the one for all has one, is told as a limit of 0.
    node.limits |= {handler_limit("s-1", logical): 2, handler_limit("s-2", logical): 0}
    node.tell()
    for scope in ("s-1", "s-2", "s-3"):
        for number in range(4):
            node.enqueue(f"{scope}:{number}", scope_key=scope)

    running = node.work()

    assert sorted(running) == ["s-1:0", "s-1:1", "s-2:0", "s-2:1", "s-2:2", "s-2:3", "s-3:0"]


def test_limit_of_a_pool(service: ManagedQueueService, node: LimitedNode) -> None:
    queue = service.settings.queue_name("sandbox-browser")
    node.limits = {pool_limit(queue): 1, LIMIT: 2}
    node.queues = [node.queue, queue]
    node.tell()
    for number in range(3):
        node.enqueue(f"browser-{number}", execution_pool="sandbox-browser", job_name=f"job-{number}")
    node.enqueue("plain")

    assert sorted(node.work()) == ["browser-0", "plain"]
    for number in range(2):
        node.complete(node.running.pop(node.ids.index(f"browser-{number}")))
        assert sorted(node.work()) == [f"browser-{number + 1}", "plain"]


def test_job_under_two_limits(service: ManagedQueueService, node: LimitedNode) -> None:
    """It runs only with a slot of each, and holds none while it lacks one."""
    node.limits = {pool_limit(node.queue): 2, LIMIT: 1}
    node.tell()
    add(node, "ab")
    for number in range(3):
        node.service.enqueue({**OTHER_JOB, "job_id": f"other-{number}"})

    assert node.work() == ["a", "other-0"]
    node.end_first()
    assert node.work() == ["other-0", "b"] or node.ids == ["other-0", "other-1"]
    started = {"a", *node.ids}
    while node.running:
        node.end_first()
        node.work()
        started |= set(node.ids)
        assert len(node.ids) <= 2
    assert started == {"a", "b", "other-0", "other-1", "other-2"}


def test_random_life_ends_with_every_job_run_once(service: ManagedQueueService) -> None:
    """Nodes with limits of 1 to 3 come and go; no limit is broken, and no job is left."""
    dice = random.Random(11)
    nodes = [LimitedNode(service, f"node-{number}", limit=number + 1) for number in range(3)]
    for node in nodes:
        node.tell()
    ids = [f"{number}" for number in range(200)]
    left = list(ids)
    ended: list[str] = []
    while len(ended) < len(ids):
        node = dice.choice(nodes)
        what = dice.random()
        if left and what < 0.3:
            node.enqueue(left.pop())
        elif what < 0.7:
            node.work(dice.randint(1, 5))
        elif what < 0.9 and node.running:
            ended.append(node.ids[0])
            node.end_first()
        else:
            node.tell(consuming=dice.random() < 0.9)
        assert all(len(one.running) <= one.limits[LIMIT] for one in nodes)

    assert sorted(ended) == sorted(ids)
