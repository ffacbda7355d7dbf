"""A server that is there but short of memory, without its scripts, restarted, or guarded by access rules."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import pytest

from tests.conftest import ServerFactory
from tests.integration.conftest import ServiceFactory
from tests.integration.pretend import JOB, PretendWorker, wait_until
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.errors import QueueUnavailableError
from xpert_mq.models import EnqueueResult

Kind = Literal["valkey", "redis"]
KINDS = pytest.mark.parametrize("kind", ["valkey", "redis"])


@pytest.fixture
def full(server_factory: ServerFactory, service_factory: ServiceFactory) -> Callable[[Kind], PretendWorker]:
    """Makes a worker whose server has reached its maxmemory, with jobs in every state."""

    def make(kind: Kind) -> PretendWorker:
        server = server_factory(binary=kind, config={"maxmemory-policy": "noeviction"})
        worker = PretendWorker(service_factory(server.url, enqueue_timeout=2))
        worker.bring_to("failed", "failed", remove_on_fail={"age": 0.01})
        worker.enqueue("active", attempts=3)
        worker.redis.set("keep-claim", worker.take())
        for job_id in ("waiting", "waiting-2"):
            worker.enqueue(job_id)
        worker.enqueue("delayed", delay_ms=1)
        worker.redis.config_set("maxmemory", "1")
        return worker

    return make


@KINDS
def test_full_server_refuses_an_enqueue_whole(full: Callable[[Kind], PretendWorker], kind: Kind) -> None:
    worker = full(kind)
    before = worker.all_keys()

    with pytest.raises(QueueUnavailableError, match="maxmemory") as caught:
        worker.enqueue("new")

    assert (caught.value.job_id, caught.value.may_have_been_added) == ("new", False)
    assert worker.all_keys() == before
    worker.redis.config_set("maxmemory", "0")
    assert worker.enqueue("new").created


@KINDS
def test_full_server_refuses_a_batch(full: Callable[[Kind], PretendWorker], kind: Kind) -> None:
    worker = full(kind)
    before = worker.all_keys()

    with pytest.raises(QueueUnavailableError):
        worker.service.enqueue_many([JOB, JOB])

    assert worker.all_keys() == before


@KINDS
def test_full_server_lets_running_jobs_end(full: Callable[[Kind], PretendWorker], kind: Kind) -> None:
    worker = full(kind)
    worker.redis.config_set("maxmemory", "0")
    claim = worker.claim_next()
    other = worker.claim_next()
    worker.redis.config_set("maxmemory", "1")

    assert worker.fail_try(claim)
    assert worker.complete(other, "1")


@KINDS
def test_full_server_can_be_read(full: Callable[[Kind], PretendWorker], kind: Kind) -> None:
    assert full(kind).job("waiting").state == "waiting"


@KINDS
def test_full_server_lets_jobs_be_cancelled(full: Callable[[Kind], PretendWorker], kind: Kind) -> None:
    """It frees memory."""
    assert full(kind).service.cancel("waiting").success


@KINDS
def test_full_server_lets_retention_free_memory(full: Callable[[Kind], PretendWorker], kind: Kind) -> None:
    worker = full(kind)

    wait_until(lambda: worker.expire()[0])


@KINDS
def test_full_server_lets_workers_drain_the_queue(full: Callable[[Kind], PretendWorker], kind: Kind) -> None:
    """Else it stays full for ever: only jobs that run free what they hold."""
    worker = full(kind)

    assert worker.complete(worker.claim_next())


@KINDS
def test_full_server_still_hands_delayed_jobs_out(full: Callable[[Kind], PretendWorker], kind: Kind) -> None:
    full(kind).promote_next()


@KINDS
def test_scripts_flushed_midway(server_factory: ServerFactory, service_factory: ServiceFactory, kind: Kind) -> None:
    worker = PretendWorker(service_factory(server_factory(binary=kind).url))
    flush = worker.redis.script_flush

    flush()
    assert worker.enqueue("id", attempts=3, payload=0).created
    flush()
    claim = worker.claim_next()
    flush()
    assert worker.checkpoint(claim, "1")
    flush()
    assert worker.fail_try(claim, delay_ms=1)
    flush()
    worker.promote_next()
    claim = worker.claim_next()
    flush()
    assert worker.fail(claim)
    flush()
    assert worker.service.retry("id").success
    flush()
    assert worker.job("id").data == 1
    flush()
    assert worker.service.cancel("id").success
    flush()
    assert worker.expire()[0] == 0
    flush()
    assert worker.service.enqueue_many([{**JOB, "job_id": "a"}, {**JOB, "job_id": "b"}]) == [
        EnqueueResult("a", True, "waiting"),
        EnqueueResult("b", True, "waiting"),
    ]


@KINDS
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_server_restarted_with_its_data(
    server_factory: ServerFactory, service_factory: ServiceFactory, kind: Kind, how: str
) -> None:
    server = server_factory(binary=kind, appendonly=True, appendfsync="always")
    worker = PretendWorker(service_factory(server.url))
    for state in ("completed", "failed", "active", "delayed", "waiting"):
        worker.bring_to(state, state)
    claim_of_active = worker.run(worker.store.read(None, "active"))
    before = {state: worker.job(state) for state in ("completed", "failed", "active", "delayed", "waiting")}
    held = worker.messages()

    if how == "kill":
        server.kill()
        server.start()
    else:
        server.restart()

    assert {state: worker.job(state) for state in before} == before
    assert worker.messages() == held
    assert worker.run(worker.store.read(None, "active")) == claim_of_active
    worker.enqueue("new")
    # Generations go on, so that no old message means a new job.
    assert worker.run(worker.store.read(None, "new")).generation > max(
        worker.run(worker.store.read(None, state)).generation for state in before
    )
    assert worker.claim_next().job_id == "waiting"


def _guarded(server: EmbeddedServer, rules: str, service_factory: ServiceFactory) -> PretendWorker:
    admin = PretendWorker(service_factory(server.url))
    admin.redis.execute_command("ACL", "SETUSER", "plugin", "on", ">pw", "~*", "&*", *rules.split())
    service = service_factory(f"redis://plugin:pw@127.0.0.1:{server.port}/0", enqueue_timeout=2)
    return PretendWorker(service)


@KINDS
def test_access_rules_without_info(server_factory: ServerFactory, service_factory: ServiceFactory, kind: Kind) -> None:
    """`-@dangerous`, as hosted servers often have it, takes INFO away: the check of the version must do without."""
    worker = _guarded(server_factory(binary=kind), "+@all -@dangerous", service_factory)

    assert worker.enqueue("id").created


@KINDS
def test_access_rules_without_info_async(
    server_factory: ServerFactory, service_factory: ServiceFactory, kind: Kind
) -> None:
    worker = _guarded(server_factory(binary=kind), "+@all -info", service_factory)

    assert asyncio.run(worker.service.aenqueue(JOB)).created


@KINDS
def test_access_rules_without_scripts(
    server_factory: ServerFactory, service_factory: ServiceFactory, kind: Kind
) -> None:
    worker = _guarded(server_factory(binary=kind), "+@all -@scripting", service_factory)

    with pytest.raises(QueueUnavailableError) as caught:
        worker.enqueue("id")

    assert (caught.value.job_id, caught.value.may_have_been_added) == ("id", False)


@KINDS
def test_access_rules_without_loading_scripts(
    server_factory: ServerFactory, service_factory: ServiceFactory, kind: Kind
) -> None:
    worker = _guarded(server_factory(binary=kind), "+@all -script", service_factory)

    with pytest.raises(QueueUnavailableError) as caught:
        worker.enqueue("id")

    assert (caught.value.job_id, caught.value.may_have_been_added) == ("id", False)


@KINDS
def test_replicas_wanted_and_missing(
    server_factory: ServerFactory, service_factory: ServiceFactory, kind: Kind
) -> None:
    server = server_factory(binary=kind, config={"min-replicas-to-write": 1})
    worker = PretendWorker(service_factory(server.url, enqueue_timeout=0.3))

    with pytest.raises(QueueUnavailableError) as caught:
        worker.enqueue("id")

    assert caught.value.job_id == "id"
    worker.redis.config_set("min-replicas-to-write", 0)
    assert worker.enqueue("id").created


@KINDS
def test_read_only_replica_refuses(server_factory: ServerFactory, service_factory: ServiceFactory, kind: Kind) -> None:
    main, replica = server_factory(binary=kind), server_factory(binary=kind)
    worker = PretendWorker(service_factory(replica.url, enqueue_timeout=0.3))
    worker.redis.replicaof("127.0.0.1", main.port)

    with pytest.raises(QueueUnavailableError) as caught:
        worker.enqueue("id")

    assert caught.value.job_id == "id"
    worker.redis.replicaof("NO", "ONE")
    wait_until(lambda: worker.enqueue("id"))


@KINDS
def test_another_client_s_slow_script_is_waited_for(
    server_factory: ServerFactory, service_factory: ServiceFactory, kind: Kind
) -> None:
    """A plugin's own script makes the server answer BUSY for a while; that is no error while time is left."""
    server = server_factory(binary=kind, config={"busy-reply-threshold": 10})
    worker = PretendWorker(service_factory(server.url, enqueue_timeout=10))
    worker.enqueue("warm")
    slow = PretendWorker(service_factory(server.url)).redis.connection_pool.get_connection()
    loop = (
        "local t = redis.call('TIME') repeat local n = redis.call('TIME') until (n[1]-t[1])*1000000+n[2]-t[2] > 400000"
    )
    slow.send_command("EVAL", loop, 0)
    probe: Any = worker.redis

    def busy() -> bool:
        try:
            probe.ping()
        except Exception as error:  # noqa: BLE001 - whatever the client makes of BUSY
            return "BUSY" in str(error) or "busy" in str(error)
        return False

    wait_until(busy)
    assert worker.enqueue("id").created
    slow.disconnect()
