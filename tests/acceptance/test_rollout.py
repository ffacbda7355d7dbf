"""A rollout, as an orchestrator does it: nodes are replaced one after the other under load, each told to end, and
killed if it takes longer than its grace. No job is lost, none fails, and only what was killed is run again.
"""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import threading
from collections.abc import Iterator

import pytest

from tests.acceptance import diary
from tests.acceptance.conftest import MOST_POOLS, POOLS, DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.diary import Diary
from tests.acceptance.nodes import Worker, wait_for
from tests.acceptance.test_recovery import BEATS, NODE_BOUND

GRACE = 1.0
#: Seconds that most jobs take: they end within the grace.
LENGTHS = (0, 0.01, 0.1, 0.2)
#: One in so many takes longer.
SELDOM = 20
LONG = 2.5 * GRACE


@contextlib.contextmanager
def _load(site: Deployment) -> Iterator[dict[str, float]]:
    """Jobs come all the time, some twenty a second: how long each takes, by its id."""
    lengths: dict[str, float] = {}
    stop = threading.Event()

    def enqueue_all() -> None:
        for number in itertools.count():
            if stop.wait(0.05):
                return
            length = LONG if number % SELDOM == SELDOM // 2 else LENGTHS[number % len(LENGTHS)]
            lengths[site.enqueue("work", length, queue=("sync", "async")[number // 4 % 2])] = length

    thread = threading.Thread(target=enqueue_all)
    thread.start()
    try:
        yield lengths
    finally:
        stop.set()
        thread.join()


def _end(old: Worker) -> None:
    old.kill("SIGTERM")
    try:
        assert old.process.wait(GRACE) == 0
    except subprocess.TimeoutExpired:
        old.kill("SIGKILL")


def _roll(site: Deployment, pool: str, nodes: int) -> None:
    first = site.worker(pool=pool)
    # Whatever chance gives the others, one is killed at work.
    killed = site.enqueue("work", 60)
    site.wait_state(killed, "active")
    workers = [first, *(site.worker(pool=pool) for _ in range(nodes - 1))]
    with _load(site) as lengths:
        wait_for(lambda: len(lengths) > SELDOM, "some load")
        for old in workers:
            site.worker(pool=pool)
            _end(old)
    lengths[killed] = 60
    # What a killed one held is found when it has missed its beats.
    ended = {job_id: site.finished(job_id, timeout=NODE_BOUND + LONG + 15) for job_id in lengths}

    assert {(job.state, job.attempts_made) for job in ended.values()} == {("completed", 1)}
    written = Diary.of(site)
    assert written.overlapping() == []
    assert len(written.tries(killed)) == 2
    for job_id, length in lengths.items():
        tries = written.tries(job_id)
        assert [one.ended for one in tries] in ([True], [False, True]), job_id
        # It had its grace, and a little less on a busy machine.
        assert all(one.ended or one.last - one.first > GRACE / 2 for one in tries), (job_id, length, tries)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("pool", [slow(pool) for pool in POOLS])
def test_nodes_are_replaced_under_load(deploy: DeploymentFactory, pool: str) -> None:
    _roll(deploy(XPERT_MQ_PLUGINS=diary.MODULE, MANAGED_QUEUE_CONCURRENCY="4", **BEATS), pool, nodes=2)


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("pool", MOST_POOLS)
def test_many_nodes_are_replaced_under_load(deploy: DeploymentFactory, pool: str) -> None:
    _roll(deploy(XPERT_MQ_PLUGINS=diary.MODULE, MANAGED_QUEUE_CONCURRENCY="4", **BEATS), pool, nodes=4)


@pytest.mark.slow
@pytest.mark.timeout(150)
@pytest.mark.parametrize("pool", MOST_POOLS)
def test_job_of_a_minute_with_default_beats(deploy: DeploymentFactory, pool: str) -> None:
    """A node that ends goes on beating: its jobs take more than two timeouts."""
    site = deploy(XPERT_MQ_PLUGINS=diary.MODULE, MANAGED_QUEUE_CONCURRENCY="2")
    old = site.worker(pool=pool)
    queues = ("sync",) if pool == "solo" else ("sync", "async")
    jobs = [site.enqueue("work", 65, queue=queue) for queue in queues]
    for job_id in jobs:
        site.wait_state(job_id, "active")
    other = site.worker()

    old.kill("SIGTERM")

    assert old.process.wait(80) == 0
    ended = [site.job(job_id) for job_id in jobs]
    assert [(one.state, one.attempts_made) for one in ended] == [("completed", 1)] * len(jobs)
    assert [[one.ended for one in Diary.of(site).tries(job_id)] for job_id in jobs] == [[True]] * len(jobs)
    assert "is dead" not in other.logs()
    assert site.run("work", 0).state == "completed"
