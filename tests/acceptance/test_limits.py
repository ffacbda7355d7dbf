"""Limits of handlers and pools, with real workers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.conftest import DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for

POOLS = pytest.mark.parametrize("pool", ["prefork", "threads", slow("asyncio"), "gevent"])
PLUGINS = "tests.acceptance.plugin,tests.acceptance.limited"


def at_once(notes: list[dict[str, Any]]) -> int:
    """How many ran at a time, at the most."""
    running, most = 0, 0
    for note in notes:
        running += 1 if note["event"] == "start" else -1
        most = max(most, running)
    return most


@POOLS
def test_handlers_keep_their_limits_and_hold_up_nobody(deployment: Deployment, pool: str) -> None:
    deployment.worker("-c", "4", pool=pool, XPERT_MQ_PLUGINS=PLUGINS)
    ones = [deployment.enqueue("one", queue="limited") for _ in range(12)]
    twos = [deployment.enqueue("two", queue="limited") for _ in range(12)]
    echo = deployment.finished(deployment.enqueue("echo"))

    for job_id in (*ones, *twos):
        assert deployment.finished(job_id).attempts_made == 1

    assert echo.finished_on is not None
    assert echo.finished_on < max(deployment.job(job_id).finished_on or 0 for job_id in ones)
    notes = {name: deployment.notes(name) for name in ("one", "two")}
    assert (at_once(notes["one"]), at_once(notes["two"])) == (1, 2)
    started = [note["id"] for note in notes["one"] if note["event"] == "start"]
    # First in, first out, but for those that are fetched at once.
    assert all(abs(ones.index(job_id) - place) < 4 for place, job_id in enumerate(started))


def test_two_nodes_have_the_limit_each(deployment: Deployment) -> None:
    for _ in range(2):
        deployment.worker("-c", "4", pool="threads", XPERT_MQ_PLUGINS=PLUGINS)
    ids = [deployment.enqueue("one", queue="limited") for _ in range(30)]

    for job_id in ids:
        deployment.finished(job_id)

    assert at_once(deployment.notes("one")) == 2


def test_killed_node_leaves_its_slot_and_what_was_kept_for_it(deploy: DeploymentFactory) -> None:
    timing = {"XPERT_MQ_HEARTBEAT_INTERVAL": "0.2", "XPERT_MQ_NODE_TIMEOUT": "2"}
    deployment = deploy(**timing)
    first = deployment.worker("-c", "4", pool="threads", XPERT_MQ_PLUGINS=PLUGINS)
    ids = [deployment.enqueue("one", queue="limited") for _ in range(20)]
    wait_for(lambda: deployment.notes("one"), "the first to start")
    deployment.worker("-c", "4", pool="threads", XPERT_MQ_PLUGINS=PLUGINS)
    first.process.kill()

    for job_id in ids:
        deployment.finished(job_id)


def test_node_without_a_handler_passes_the_job_on(deployment: Deployment) -> None:
    """As while an old release runs beside the new one: no attempt is spent."""
    old = deployment.worker("-c", "4", pool="threads")
    deployment.worker("-c", "1", pool="threads", XPERT_MQ_PLUGINS=PLUGINS)
    ids = [deployment.enqueue("two", queue="limited") for _ in range(10)]

    done = [deployment.finished(job_id) for job_id in ids]

    assert {(one.state, one.attempts_made) for one in done} == {("completed", 1)}
    assert "this node has no handler: done" in old.logs()


def test_pool_for_browsers_runs_one_job_at_a_time(deployment: Deployment) -> None:
    deployment.worker("-c", "4", pool="threads", XPERT_MQ_PLUGINS=PLUGINS)
    ids = [deployment.enqueue("two", queue="limited", execution_pool="sandbox-browser") for _ in range(6)]

    for job_id in ids:
        deployment.finished(job_id)

    assert at_once(deployment.notes("two")) == 1
