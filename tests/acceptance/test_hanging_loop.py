"""A consumer whose loop stands still: its node is no healthy one, others run what it has fetched, and what runs on it
ends as ever.
"""

from __future__ import annotations

import pytest

from tests.acceptance import diary
from tests.acceptance.conftest import DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.diary import Diary
from tests.acceptance.nodes import Worker, wait_for
from tests.acceptance.test_recovery import BEATS, NODE_BOUND, TIMEOUT

HANGING = 4 * TIMEOUT

BROADCAST = """
import sys
from xpert_mq import app
app.control.broadcast("stand_still", {"seconds": float(sys.argv[1])})
"""


@pytest.fixture
def site(deploy: DeploymentFactory) -> Deployment:
    """A platform whose nodes beat fast."""
    return deploy(XPERT_MQ_PLUGINS=diary.MODULE, MANAGED_QUEUE_CONCURRENCY="4", **BEATS)


def _let_hang(site: Deployment, worker: Worker, pool: str) -> list[str]:
    """Has the worker's loop stand still. Gives the job that does it, where it is one."""
    if pool != "gevent":
        site.spawn("-c", BROADCAST, str(HANGING), name="control")
        worker.wait_for_line(diary.STANDS_STILL)
        return []
    hanging = site.enqueue("hang", HANGING)
    site.wait_state(hanging, "active")
    return [hanging]


@pytest.mark.parametrize("pool", ["threads", slow("prefork"), slow("asyncio"), slow("gevent")])
def test_hanging_loop(site: Deployment, pool: str) -> None:
    hanging = site.worker(pool=pool)
    running = [site.enqueue("work", HANGING, queue=queue) for queue in ("sync", "async")]
    for job_id in running:
        site.wait_state(job_id, "active")
    running += _let_hang(site, hanging, pool)

    other = site.worker()

    assert site.finished(diary.FETCHED, timeout=NODE_BOUND).attempts_made == 1
    assert [one.pid for one in Diary.of(site).tries(diary.FETCHED)] == [other.process.pid]
    assert site.health().worker_count == 1
    ended = [site.finished(job_id) for job_id in running]
    assert [(one.state, one.attempts_made) for one in ended] == [("completed", 1)] * len(running)
    assert [[one.ended for one in Diary.of(site).tries(job_id)] for job_id in running] == [[True]] * len(running)
    wait_for(lambda: site.health().worker_count == 2, "it to be back")
    assert "is dead" not in other.logs()
    assert "takes a new id" not in hanging.logs()
    other.terminate()
    assert site.run("work", 0).state == "completed"
