"""The main process of a `prefork` worker is killed alone, as by an out-of-memory killer: its children end with it, and
what they ran goes on elsewhere, never twice at a time.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance import diary
from tests.acceptance.conftest import DeploymentFactory
from tests.acceptance.deployment import Deployment
from tests.acceptance.diary import Diary
from tests.acceptance.nodes import Worker, wait_for
from tests.acceptance.test_recovery import BEATS, NODE_BOUND, TIMEOUT, _children, _steady

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children with their parent")

#: A child ends when the kernel has told it: no beat and no timeout is waited for.
SOON = 1.0


@pytest.fixture
def site(deploy: DeploymentFactory) -> Deployment:
    """A platform whose nodes beat fast."""
    return deploy(XPERT_MQ_PLUGINS=diary.MODULE, **BEATS)


def _runs(pid: int) -> bool:
    """Whether the process is there; one that has ended, and that nobody has asked for its status, is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _kill_main(worker: Worker) -> list[int]:
    """Kills the main process alone; gives its children when they have ended."""
    children = _children(worker)
    assert children
    assert all(map(_runs, children))
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.process.wait(5)
    wait_for(lambda: not any(map(_runs, children)), f"the children {children} to end", SOON)
    return children


def test_children_end_with_the_main_process(site: Deployment) -> None:
    """A busy one and an idle one."""
    worker = site.worker(pool="prefork", MANAGED_QUEUE_CONCURRENCY="2")
    site.wait_state(site.enqueue("work", 60), "active")

    assert len(_kill_main(worker)) == 2


@pytest.mark.slow
def test_jobs_of_its_children_run_once_more_elsewhere(site: Deployment) -> None:
    doomed = site.worker(pool="prefork", MANAGED_QUEUE_CONCURRENCY="2")
    jobs = [site.enqueue("work", 2.5 * TIMEOUT, queue=queue) for queue in ("sync", "async")]
    for job_id in jobs:
        site.wait_state(job_id, "active")
    site.worker(MANAGED_QUEUE_CONCURRENCY="2")
    _steady(site)

    _kill_main(doomed)
    killed = time.monotonic()

    wait_for(lambda: all(len(Diary.of(site).tries(one)) == 2 for one in jobs), "them to start again", NODE_BOUND)
    ended = [site.finished(job_id) for job_id in jobs]
    assert [(one.state, one.attempts_made) for one in ended] == [("completed", 1)] * 2
    written = Diary.of(site)
    for job_id in jobs:
        first, second = written.tries(job_id)
        assert (first.ended, second.ended) == (False, True)
        assert first.last < killed < second.first < killed + NODE_BOUND
    assert written.overlapping() == []


@pytest.mark.slow
def test_children_that_came_later_end_too(site: Deployment) -> None:
    """Each child runs one job, and another comes in its place."""
    worker = site.worker("--max-tasks-per-child", "1", pool="prefork", MANAGED_QUEUE_CONCURRENCY="2")
    first = _children(worker)
    for _ in range(4):
        assert site.run("work", 0).state == "completed"
    wait_for(lambda: len(set(_children(worker)) - set(first)) == 2, "other children")

    _kill_main(worker)


@pytest.mark.slow
def test_children_live_as_long_as_their_worker(site: Deployment) -> None:
    """However they came: the kernel minds the thread that has made a child."""
    worker = site.worker("--autoscale", "4,1", pool="prefork", fast=False)
    jobs = [site.enqueue("work", TIMEOUT) for _ in range(4)]

    ended = [site.finished(job_id) for job_id in jobs]

    assert [(one.state, one.attempts_made) for one in ended] == [("completed", 1)] * 4
    assert len({Diary.of(site).tries(job_id)[0].pid for job_id in jobs}) > 1
    assert [len(Diary.of(site).tries(job_id)) for job_id in jobs] == [1] * 4
    assert "exited with" not in worker.logs()
    _kill_main(worker)
