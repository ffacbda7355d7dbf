"""Children and nodes are killed, frozen and told to go: what they held runs again, in front, once, and no attempt is
spent.

Beats and the timeout are a fifteenth of their defaults.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.acceptance.conftest import DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import Worker, wait_for

INTERVAL, TIMEOUT = 0.2, 2.0
BEATS = {"XPERT_MQ_HEARTBEAT_INTERVAL": str(INTERVAL), "XPERT_MQ_NODE_TIMEOUT": str(TIMEOUT)}

#: Twice the contract's, which is 45 s for a dead node with the defaults' 30 s timeout: the benchmarks measure it, and a
#: machine that runs tests is busy.
NODE_BOUND = 3 * TIMEOUT
#: The contract's, for a dead child: Celery's part of it is not ours to scale.
CHILD_BOUND = 10

QUEUES = pytest.mark.parametrize("queue", ["sync", pytest.param("async", marks=pytest.mark.slow)])
REASON = "job stalled more than allowable limit"


@pytest.fixture
def site(deploy: DeploymentFactory) -> Deployment:
    """A platform whose nodes beat fast."""
    return deploy(**BEATS)


def _children(worker: Worker) -> list[int]:
    with open(f"/proc/{worker.process.pid}/task/{worker.process.pid}/children") as children:
        return [int(pid) for pid in children.read().split()]


def _starts(site: Deployment, gate: str) -> list[str]:
    return [note["id"] for note in site.notes(gate)]


def _ids_of(site: Deployment, worker: Worker) -> set[str]:
    """Under which ids the worker lives."""
    nodes: Any = site.service.get_redis().zrange(site.service.store.keys.nodes, 0, -1)
    return {node.decode() for node in nodes if node.decode().split(":")[1] == str(worker.process.pid)}


def _steady(site: Deployment) -> None:
    """Waits until the nodes may declare each other dead."""
    keys, client = site.service.store.keys, site.service.get_redis()

    def all_steady() -> bool:
        nodes: Any = client.zrange(keys.nodes, 0, -1)
        since: list[Any] = [client.hget(f"{keys.node}{node.decode()}", "steady") for node in nodes]
        now: Any = client.time()
        return all(one and now[0] * 1000 - int(one) >= 1000 * TIMEOUT for one in since)

    wait_for(all_steady, "the nodes to have beaten for a timeout")


def _pass(seconds: float, holds: Callable[[], Any]) -> None:
    """Time passes, in which the condition holds all along."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert holds()
        time.sleep(0.05)


@contextlib.contextmanager
def _frozen(worker: Worker) -> Iterator[None]:
    """The whole node stands still."""
    os.killpg(worker.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(worker.process.pid, signal.SIGCONT)


def test_killed_child(site: Deployment) -> None:
    worker = site.worker(pool="prefork", MANAGED_QUEUE_CONCURRENCY="2")
    doomed = site.enqueue("die", {"gate": "doomed", "times": 1})
    other = site.hold("other")
    killed = wait_for(lambda: site.notes("doomed"), "the doomed job to start")[0]
    os.kill(killed["pid"], signal.SIGKILL)

    wait_for(lambda: len(site.notes("doomed")) == 2, "it to start again", CHILD_BOUND)
    again = site.finished(doomed)
    assert (again.state, again.attempts_made) == ("completed", 1)
    assert again.return_value == 0
    site.open_gate("other")
    assert site.finished(other).return_value == "through"
    assert len(site.notes("doomed")) == 2
    assert len(site.notes("other")) == 1
    assert "it runs again" in worker.logs()


@pytest.mark.slow
def test_child_killed_twice(site: Deployment) -> None:
    site.worker(pool="prefork")
    doomed = site.enqueue("die", {"gate": "doomed", "times": 9})
    for number in (1, 2):
        wait_for(lambda: len(site.notes("doomed")) == number, "a start", CHILD_BOUND)  # noqa: B023 # waited for here
        os.kill(site.notes("doomed")[-1]["pid"], signal.SIGKILL)

    ended = site.finished(doomed)
    assert (ended.state, ended.failed_reason, ended.attempts_made) == ("failed", REASON, 1)
    assert len(site.notes("doomed")) == 2
    assert site.run("echo").state == "completed"


@pytest.mark.slow
def test_child_killed_idle(site: Deployment) -> None:
    worker = site.worker(pool="prefork")
    site.run("echo")
    for pid in _children(worker):
        os.kill(pid, signal.SIGKILL)

    assert site.run("echo").state == "completed"


@pytest.mark.parametrize("pool", ["prefork", slow("threads"), slow("solo"), slow("asyncio"), slow("gevent")])
def test_killed_node(site: Deployment, pool: str) -> None:
    doomed = site.worker(pool=pool, MANAGED_QUEUE_CONCURRENCY="2")
    slots = 1 if pool == "solo" else 2
    running = [site.hold("killed") for _ in range(slots)]
    rest = [site.enqueue("gate", {"gate": "killed"}) for _ in range(4)]
    other = site.worker()
    _steady(site)
    # The other node runs one of the rest.
    assert len(_starts(site, "killed")) == slots + 1

    doomed.process.kill("SIGKILL")
    site.open_gate("killed", 99)

    wait_for(lambda: _starts(site, "killed").count(running[0]) == 2, "the running one to start again", NODE_BOUND)
    done = [site.finished(job_id) for job_id in (*running, *rest)]
    assert [(one.state, one.attempts_made) for one in done] == [("completed", 1)] * len(done)
    starts = _starts(site, "killed")
    assert [starts.count(job_id) for job_id in running] == [2] * slots
    assert [starts.count(job_id) for job_id in rest] == [1] * 4
    assert "is dead" in other.logs()


@pytest.mark.parametrize("pool", ["prefork", slow("threads"), slow("solo"), slow("asyncio"), slow("gevent")])
def test_frozen_node(site: Deployment, pool: str) -> None:
    frozen = site.worker(pool=pool)
    running = site.hold("frozen")
    other = site.worker()
    _steady(site)
    before = _ids_of(site, frozen)

    with _frozen(frozen):
        wait_for(lambda: len(_starts(site, "frozen")) == 2, "the job to run elsewhere", NODE_BOUND)
        assert _ids_of(site, frozen) == set()
    site.open_gate("frozen", 2)

    assert site.finished(running).attempts_made == 1
    frozen.wait_for_line("this try no longer owns it")
    wait_for(lambda: _ids_of(site, frozen), "it to take a new id")
    assert _ids_of(site, frozen).isdisjoint(before)
    other.terminate()
    assert site.run("echo").state == "completed"
    assert len(_starts(site, "frozen")) == 2


@pytest.mark.parametrize("pool", ["prefork", slow("threads"), slow("solo"), slow("asyncio"), slow("gevent")])
@QUEUES
def test_sigterm_job_longer_than_the_timeout(site: Deployment, pool: str, queue: str) -> None:
    old = site.worker(pool=pool)
    running = site.hold("term", queue=queue)
    other = site.worker()
    _steady(site)

    old.kill("SIGTERM")
    old.wait_for_line("Warm shutdown")
    _pass(2 * TIMEOUT, lambda: site.job(running).state == "active")
    site.open_gate("term", 2)

    assert old.process.wait(15) == 0
    assert site.finished(running).state == "completed"
    assert len(_starts(site, "term")) == 1
    assert "is dead" not in other.logs()


@pytest.mark.parametrize("pool", ["prefork", "threads", slow("solo"), slow("asyncio"), slow("gevent")])
@QUEUES
def test_sigquit(site: Deployment, pool: str, queue: str) -> None:
    old = site.worker(pool=pool, XPERT_MQ_MAX_STALLED="0")
    running = site.hold("quit", queue=queue)
    fetched = [site.enqueue("echo") for _ in range(3)]

    old.kill("SIGQUIT")
    old.process.wait(5)

    # By the node itself: there is no other.
    handed_back = site.job(running)
    assert (handed_back.state, handed_back.attempts_made, handed_back.failed_reason) == ("waiting", 0, None)
    site.worker(XPERT_MQ_MAX_STALLED="0")
    wait_for(lambda: len(_starts(site, "quit")) == 2, "the job to run elsewhere", 5)
    site.open_gate("quit", 2)
    assert site.finished(running).attempts_made == 1
    assert [site.finished(job_id).state for job_id in fetched] == ["completed"] * 3


@pytest.mark.parametrize("pool", ["prefork", slow("threads"), slow("solo"), slow("asyncio"), slow("gevent")])
def test_sigint_twice(site: Deployment, pool: str) -> None:
    """What Ctrl-C twice does."""
    old = site.worker(pool=pool)
    running = site.hold("int")

    old.kill("SIGINT")
    old.wait_for_line("Warm shutdown")
    old.kill("SIGINT")
    old.process.wait(5)

    assert site.job(running).state == "waiting"


def test_queue_emptied_by_hand(site: Deployment) -> None:
    site.worker()
    gate = site.hold("empty")
    ids = [site.enqueue("echo", number) for number in range(1000)]
    site.service.get_redis().delete(site.settings.queue_name())
    site.open_gate("empty")

    for job_id in (gate, *ids):
        assert site.finished(job_id, timeout=20).attempts_made == 1


@pytest.mark.parametrize(
    "raw",
    [
        "x",
        slow('{"x":1}'),
        '{"headers":1,"properties":{"delivery_tag":"z"}}',
        slow('{"headers":{"id":"x"},"properties":{"delivery_tag":"z"},"body":""}'),
    ],
)
def test_foreign_message_in_the_queue(site: Deployment, raw: str) -> None:
    """It must not end the worker, and after it all others."""
    worker = site.worker()
    site.run("echo")

    site.service.get_redis().rpush(site.settings.queue_name(), raw)

    assert site.run("echo").state == "completed"
    assert "Unrecoverable" not in worker.logs()


def test_health_over_the_life_of_a_worker(site: Deployment) -> None:
    assert not site.health().available
    worker = site.worker()
    assert site.health().available
    with _frozen(worker):
        wait_for(lambda: not site.health().available, "the frozen one to be seen", 2 * TIMEOUT)
    wait_for(lambda: site.health().available, "it to be back", TIMEOUT)
    worker.terminate()
    assert not site.health().available


def test_health_follows_remote_control(site: Deployment) -> None:
    site.worker(fast=False)
    queue = site.settings.queue_name()
    site.celery("control", "cancel_consumer", queue)
    wait_for(lambda: not site.health().available, "the pool to be served by nobody", 2 * TIMEOUT)
    assert site.health("sandbox-browser").available

    site.celery("control", "add_consumer", queue)

    wait_for(lambda: site.health().available, "it to be served again", 2 * TIMEOUT)
    assert site.run("echo").state == "completed"


@pytest.mark.slow
def test_health_of_a_hanging_loop(site: Deployment) -> None:
    """A handler keeps all greenlets from running; the heartbeat is a thread of its own, and goes on."""
    worker = site.worker(pool="gevent", MANAGED_QUEUE_CONCURRENCY="2")
    hanging = site.enqueue("hang", 3 * TIMEOUT)
    site.wait_state(hanging, "active")

    wait_for(lambda: not site.health().available, "the hanging one to be seen", 2 * TIMEOUT)

    assert site.health().warning
    assert site.finished(hanging).attempts_made == 1
    wait_for(lambda: site.health().available, "it to be back", TIMEOUT)
    assert "takes a new id" not in worker.logs()


@pytest.mark.slow
def test_health_of_solo_while_it_works(site: Deployment) -> None:
    """Its loop stands still then, which is no fault."""
    site.worker(pool="solo")
    site.hold("solo")

    _pass(2 * TIMEOUT, lambda: site.health().available)

    site.open_gate("solo")
