"""Redis is away, comes back, forgets its scripts, cuts connections or can't write: workers go on by themselves."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

import pytest
import redis

from tests.acceptance.conftest import DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for
from tests.conftest import ServerFactory
from xpert_mq import QueueUnavailableError

POOLS = pytest.mark.parametrize("pool", ["prefork", "threads", slow("asyncio"), slow("gevent")])


def test_worker_waits_for_redis(deploy: DeploymentFactory, server_factory: ServerFactory) -> None:
    server = server_factory(appendonly=True)
    deployment = deploy(server)
    broker = deployment.brokers[0]
    job_id = deployment.enqueue("echo")
    broker.kill("SIGKILL")
    worker = deployment.worker(wait=False)
    worker.wait_for_line("Connection refused")

    broker.restart()

    assert deployment.finished(job_id, timeout=20).state == "completed"


@pytest.mark.timeout(180)
@pytest.mark.parametrize("pool", ["prefork", slow("threads"), "solo", slow("asyncio"), slow("gevent")])
def test_redis_restarts_under_load(deploy: DeploymentFactory, server_factory: ServerFactory, pool: str) -> None:
    server = server_factory(appendonly=True, appendfsync="always")
    deployment = deploy(server, MANAGED_QUEUE_CONCURRENCY="4")
    for _ in range(2):
        deployment.worker(pool=pool)
    added: list[str] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            with contextlib.suppress(QueueUnavailableError):
                added.append(deployment.enqueue("give", len(added), queue=("sync", "async")[len(added) % 2]))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(2):
            mark = len(added)
            wait_for(lambda: len(added) > mark + 100, "some load")  # noqa: B023 # waited for in the same round
            deployment.brokers[0].restart()
    finally:
        stop.set()
        thread.join()

    left = [*added]
    # Celery waits 2, 4, 6 … s before it connects again, and what a node had fetched when it went comes back after that.
    wait_for(lambda: not _without_ended(deployment, left), f"all of {len(added)} jobs to end", 45)


def _without_ended(deployment: Deployment, left: list[str]) -> list[str]:
    """Takes out those that have ended, which none may have done but well."""
    records = deployment.service.executor.run_many([deployment.service.store.read(None, job_id) for job_id in left])
    states = {record.snapshot.id: record.snapshot.state for record in records}
    assert "failed" not in states.values()
    left[:] = [job_id for job_id in left if states[job_id] != "completed"]
    return left


@POOLS
def test_scripts_flushed_while_running(deployment: Deployment, pool: str) -> None:
    deployment.worker(pool=pool)
    client = deployment.service.get_redis()
    deployment.run("echo")
    gate = deployment.hold("flush")

    client.script_flush()
    deployment.open_gate("flush")

    assert deployment.finished(gate).return_value == "through"
    client.script_flush()
    assert deployment.run("checkpoint", {"step": 0}, attempts=3, backoff_ms=50).state == "completed"


@POOLS
def test_connections_cut(deploy: DeploymentFactory, server_factory: ServerFactory, pool: str) -> None:
    deployment = deploy(server_factory())
    deployment.worker(pool=pool)
    client = deployment.service.get_redis()
    deployment.run("echo", queue="async")
    gate = deployment.hold("cut")
    waiting = [deployment.enqueue("echo", queue=queue) for queue in ("sync", "async")]
    delayed = deployment.enqueue("echo", delay_ms=1000)

    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    deployment.open_gate("cut", 3)

    # Its own wait at the gate was cut, so the try fails or goes on; but no other job is lost with it.
    assert deployment.finished(gate).attempts_made == 1
    for job_id in (*waiting, delayed):
        assert deployment.finished(job_id).state == "completed"
    for _ in range(5):
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        assert deployment.run("echo", queue="async").state == "completed"


@POOLS
def test_reconnected_node_holds_no_more_jobs_than_it_runs(
    deploy: DeploymentFactory, server_factory: ServerFactory, pool: str
) -> None:
    """While another node has a free slot, a waiting job starts within a second."""
    deployment = deploy(server_factory())
    worker = deployment.worker(pool=pool)
    running = deployment.enqueue("sleep", 6)
    deployment.wait_state(running, "active")
    client = deployment.service.get_redis()
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    wait_for(lambda: worker.logs().count("Connected to") == 2, "the worker to be connected again")
    rest = [deployment.enqueue("echo") for _ in range(3)]

    deployment.worker()

    done = [deployment.finished(job_id) for job_id in rest]
    assert [one.state for one in done] == ["completed"] * 3
    assert deployment.job(running).state == "active"


@POOLS
def test_idle_connections_are_closed_by_the_server(
    deploy: DeploymentFactory, server_factory: ServerFactory, pool: str
) -> None:
    deployment = deploy(server_factory())
    deployment.worker(pool=pool)
    client = deployment.service.get_redis()
    for queue in ["sync", "async"] * 3:
        assert deployment.run("echo", queue=queue).state == "completed"
        # What a server with a `timeout`, or a proxy, does to those that are not blocked.
        for one in client.client_list():
            if one["cmd"] not in ("bzpopmin", "client|list", "subscribe", "psubscribe"):
                client.execute_command("CLIENT", "KILL", "ID", one["id"], "SKIPME", "yes")


def test_server_busy_with_a_script_loses_no_outcome(deploy: DeploymentFactory, server_factory: ServerFactory) -> None:
    server = server_factory(config={"busy-reply-threshold": 50})
    deployment = deploy(server)
    deployment.worker()
    gate = deployment.hold("busy")
    rest = [deployment.enqueue("echo", delay_ms=200) for _ in range(3)]
    stuck = threading.Thread(target=_block, args=(server.url, deployment))
    stuck.start()

    try:
        with redis.Redis.from_url(server.url) as client:
            wait_for(lambda: _is_busy(client), "the server to be busy")
            with pytest.raises(QueueUnavailableError):
                deployment.enqueue("echo")
    finally:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("SCRIPT", "KILL")
        stuck.join()

    assert deployment.finished(gate).return_value == "through"
    assert [deployment.finished(job_id).state for job_id in rest] == ["completed"] * 3


def _block(url: str, deployment: Deployment) -> None:
    """Opens the gate and keeps the server busy from that moment on, until it is told to stop."""
    gate = f"{deployment.prefix}:gate:busy"
    script = "redis.call('RPUSH', KEYS[1], 'open')"
    with redis.Redis.from_url(url, socket_timeout=30) as client:
        client.eval(script, 1, gate)
        with contextlib.suppress(redis.ResponseError):
            client.eval("while true do end", 0)


def _is_busy(client: Any) -> bool:
    try:
        client.ping()
    except redis.ResponseError as error:
        return "BUSY" in str(error)
    return False


@POOLS
def test_server_that_cannot_write_for_a_while(
    deploy: DeploymentFactory, server_factory: ServerFactory, pool: str
) -> None:
    server = server_factory()
    deployment = deploy(server)
    deployment.worker(pool=pool)
    deployment.run("echo")
    running = deployment.enqueue("sleep", 1)
    deployment.wait_state(running, "active")
    waiting = deployment.enqueue("echo")
    client: Any = deployment.service.get_redis()
    client.config_set("min-replicas-to-write", 1)

    # Tries for 3 s; meanwhile the running job ends.
    with pytest.raises(QueueUnavailableError, match="NOREPLICAS"):
        deployment.enqueue("echo", job_id="refused")
    client.config_set("min-replicas-to-write", 0)

    assert deployment.finished(running).state == "completed"
    assert deployment.finished(waiting, timeout=20).state == "completed"
    assert deployment.service.get_job("refused") is None


def test_frozen_redis_thaws(deploy: DeploymentFactory, server_factory: ServerFactory) -> None:
    server = server_factory()
    deployment = deploy(server, XPERT_MQ_ENQUEUE_TIMEOUT="0.5")
    deployment.worker()
    deployment.run("echo")
    job_id = deployment.enqueue("echo", delay_ms=1500)
    broker = deployment.brokers[0]

    broker.kill("SIGSTOP", reload_container=False)
    frozen = time.monotonic()
    with pytest.raises(QueueUnavailableError):
        deployment.enqueue("echo")
    assert time.monotonic() - frozen < 4
    broker.kill("SIGCONT", reload_container=False)

    assert deployment.finished(job_id).state == "completed"
    assert deployment.run("echo", queue="async").state == "completed"
