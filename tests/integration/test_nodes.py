"""Which nodes live: beats, gaps, who may declare whom dead; and the health of execution pools."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.conftest import ServiceFactory
from tests.integration.invariants import node_keys
from tests.integration.pretend import PretendWorker
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.errors import InvalidJobError
from xpert_mq.models import PoolHealth
from xpert_mq.service import ManagedQueueService

TIMEOUT_MS = 30_000
SANDBOX = "sandbox-browser"


@pytest.fixture
def one(any_service: ManagedQueueService) -> PretendWorker:
    return PretendWorker(any_service, "one")


@pytest.fixture
def other(any_service: ManagedQueueService) -> PretendWorker:
    return PretendWorker(any_service, "other")


def test_node_of_unknown_id_is_refused(one: PretendWorker) -> None:
    assert not one.beat()
    assert one.recover().dead_nodes == []
    assert node_keys(one) == set()


def test_node_is_declared_dead_after_the_timeout(one: PretendWorker, other: PretendWorker) -> None:
    one.be_steady()
    other.join()

    other.miss_beats(TIMEOUT_MS - 1_000)
    assert one.recover().dead_nodes == []
    other.miss_beats(TIMEOUT_MS + 1)
    assert one.recover().dead_nodes == ["other"]
    assert one.recover().dead_nodes == []
    assert one.beat()
    assert not other.beat()


@pytest.mark.parametrize("steady", [0, TIMEOUT_MS - 1_000])
def test_only_a_steady_node_declares_others_dead(one: PretendWorker, other: PretendWorker, steady: int) -> None:
    one.be_steady(steady)
    other.be_steady()
    other.miss_beats()

    assert one.recover().dead_nodes == []
    one.be_steady(TIMEOUT_MS)
    assert one.recover().dead_nodes == ["other"]


@pytest.mark.parametrize(("gap", "dead"), [(14_000, ["other"]), (16_000, []), (60_000, [])])
def test_a_gap_between_beats_starts_anew(one: PretendWorker, other: PretendWorker, gap: int, dead: list[str]) -> None:
    one.be_steady()
    other.join()
    other.miss_beats()
    one.miss_beats(gap)

    assert one.beat()

    assert one.recover().dead_nodes == dead


def test_server_away_for_long_kills_nobody(one: PretendWorker, other: PretendWorker) -> None:
    for node in (one, other):
        node.be_steady()
        node.miss_beats(90_000)

    assert one.beat()
    assert one.recover().dead_nodes == []
    assert other.beat()
    assert other.recover().dead_nodes == []


def test_dead_node_cannot_declare_others_dead(one: PretendWorker, other: PretendWorker) -> None:
    one.be_steady()
    other.be_steady()
    one.miss_beats()
    assert other.recover().dead_nodes == ["one"]
    other.miss_beats()

    assert one.recover().dead_nodes == []


def test_node_that_no_longer_beats_itself_kills_nobody(one: PretendWorker, other: PretendWorker) -> None:
    """It was frozen after its last beat, and goes on with `recover`."""
    for node in (one, other):
        node.be_steady()
        node.miss_beats()

    assert one.recover().dead_nodes == []


def test_first_fetch_may_come_before_the_first_beat(one: PretendWorker, other: PretendWorker) -> None:
    one.enqueue("id")

    assert one.fetch() != []
    assert one.beat()


@pytest.mark.parametrize("at", ["beat", "fetch"])
def test_fresh_node_beats_and_counts(one: PretendWorker, other: PretendWorker, at: str) -> None:
    assert other.beat(fresh=True)
    # Its reply was lost.
    assert other.beat(fresh=True)

    other.miss_beats(TIMEOUT_MS + 1)
    one.be_steady()
    assert one.recover().dead_nodes == ["other"]


async def _health(service: ManagedQueueService, pool: str = "default") -> PoolHealth:
    found = service.get_execution_pool_health(pool)
    assert await service.aget_execution_pool_health(pool) == found
    return found


async def test_health_without_workers(any_service: ManagedQueueService) -> None:
    assert await _health(any_service) == PoolHealth(
        "default", False, 0, "no live worker consumes the execution pool 'default'"
    )


async def test_health_of_live_workers(one: PretendWorker, other: PretendWorker) -> None:
    one.beat(fresh=True)
    assert await _health(one.service) == PoolHealth("default", True, 1)
    other.beat(fresh=True)
    assert await _health(one.service) == PoolHealth("default", True, 2)


async def test_health_is_of_the_pool_alone(one: PretendWorker, other: PretendWorker) -> None:
    sandbox = one.service.settings.queue_name(SANDBOX)
    one.beat(fresh=True, queues=[sandbox])
    other.beat(fresh=True, queues=[sandbox, one.queue])

    assert (await _health(one.service)).worker_count == 1
    assert await _health(one.service, SANDBOX) == PoolHealth(SANDBOX, True, 2)


async def test_health_with_a_frozen_worker(one: PretendWorker, other: PretendWorker) -> None:
    one.beat(fresh=True)
    other.beat(fresh=True)
    other.miss_beats(TIMEOUT_MS + 1)

    health = await _health(one.service)
    assert (health.available, health.worker_count) == (True, 1)
    assert health.warning is not None
    assert health.warning.startswith("1 of 2 workers")
    one.miss_beats(TIMEOUT_MS + 1)
    assert not (await _health(one.service)).available


@pytest.mark.parametrize(
    ("age", "ticks", "available"), [(29_000, True, True), (31_000, True, False), (31_000, False, True)]
)
async def test_health_of_a_worker_whose_loop_stands_still(
    one: PretendWorker, age: int, ticks: bool, available: bool
) -> None:
    one.beat(fresh=True, tick_age_ms=age, ticks=ticks)

    assert (await _health(one.service)).available is available


async def test_health_of_a_worker_that_has_not_beaten_yet(one: PretendWorker) -> None:
    """Its first fetch came before its first beat."""
    one.redis.zadd(one.store.keys.nodes, {"one": int(one.server_ms())})

    assert not (await _health(one.service)).available


@pytest.mark.parametrize("gone", ["dead", "left"])
async def test_health_after_a_worker_is_gone(one: PretendWorker, other: PretendWorker, gone: str) -> None:
    one.be_steady()
    other.join()
    if gone == "dead":
        other.miss_beats()
        one.recover()
    else:
        other.leave()

    assert await _health(one.service) == PoolHealth("default", True, 1)


async def test_health_follows_the_timeout_setting(service_factory: ServiceFactory, any_server: EmbeddedServer) -> None:
    worker = PretendWorker(service_factory(any_server.url, heartbeat_interval=0.5, node_timeout=2.5))
    worker.join()

    worker.miss_beats(2_000)
    assert (await _health(worker.service)).available
    worker.miss_beats(2_600)
    assert not (await _health(worker.service)).available


@pytest.mark.parametrize("pool", ["sandbox", "", "default "])
async def test_health_of_an_undeclared_pool(any_service: ManagedQueueService, pool: Any) -> None:
    with pytest.raises(InvalidJobError, match="not declared"):
        any_service.get_execution_pool_health(pool)
    with pytest.raises(InvalidJobError, match="not declared"):
        await any_service.aget_execution_pool_health(pool)
