"""Workers of an older release and of this one: what the one has left the other runs, and both may run side by side."""

from __future__ import annotations

import json
import os
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.acceptance.conftest import DeploymentFactory
from tests.acceptance.deployment import MODULE, Deployment
from tests.acceptance.nodes import Worker, wait_for
from tests.integration.invariants import check_indexes
from tests.integration.pretend import PretendWorker
from tests.integration.recorded.record import LATER_MS
from tests.integration.recorded.recording import ENDED, RecordedJob, Recording
from xpert_mq import JobSnapshot

BEATS = {"XPERT_MQ_HEARTBEAT_INTERVAL": "0.2", "XPERT_MQ_NODE_TIMEOUT": "1"}


def test_present_worker_runs_once_what_an_older_release_has_left(deploy: DeploymentFactory) -> None:
    """One of the older nodes is dead, and the others are when they miss their beats."""
    site = deploy(**BEATS, XPERT_MQ_PLUGINS="tests.integration.recorded.acme")
    recorded = Recording(site.service, age_ms=LATER_MS + 60_000)
    recorded.beat(recorded.living, ahead_ms=60_000)
    for gate in ("end", "again"):
        site.service.get_redis().set(f"{site.prefix}-gate:{gate}", "open")
    kept = {
        token
        for node in recorded.living
        for token in (*recorded.running([node]), *recorded.admitted_to(node), *recorded.fetched_by(node))
    }
    others = [job for job in recorded.unfinished if job.token not in kept]
    assert {job.id for job in others} >= {"alone-2", "alone-4", "browser-2", "browser-4", "again", "delayed-1"}
    worker = site.worker("-c", "4")

    wait_for(
        lambda: all(_state(recorded, job) == "completed" for job in others), "all that no living node holds to end", 30
    )
    running = recorded.running(recorded.living)
    assert {job.token for job in recorded.unfinished if _state(recorded, job) == "active"} == set(running)
    recorded.beat(recorded.living, ahead_ms=-60_000)
    rest = [job for job in recorded.unfinished if job not in others]
    wait_for(lambda: all(_state(recorded, job) in ENDED for job in rest), "the rest to end", 30)

    started = Counter((start["tenant_id"], start["id"]) for start in _starts(site))
    expected = {(job.tenant_id, job.id) for job in recorded.unfinished} - {(None, "stalled")}
    assert started == Counter(expected)
    for job in recorded.unfinished:
        now, before = recorded.now(job), job.snapshot
        assert now is not None
        assert before is not None
        assert now["state"] == ("failed" if job.id == "stalled" else "completed")
        assert now["attempts_made"] == before["attempts_made"] + 1
    assert worker.logs().count("is dead") == 3
    check_indexes(PretendWorker(site.service))


def _state(recorded: Recording, job: RecordedJob) -> str | None:
    now = recorded.now(job)
    return None if now is None else now["state"]


def _starts(site: Deployment) -> list[dict[str, Any]]:
    return [json.loads(start) for start in site.redis_list(f"{site.prefix}-starts:")]


# --- Side by side -----------------------------------------------------------------------------------------------------


@pytest.fixture
def old_checkout() -> str:
    """The folder of an older release's checkout, which XPERT_MQ_OLD_CHECKOUT names."""
    folder = os.environ.get("XPERT_MQ_OLD_CHECKOUT")
    if not folder:
        pytest.skip("XPERT_MQ_OLD_CHECKOUT names no checkout of an older release")
    return folder


@dataclass
class Load:
    """Enqueues jobs of all kinds, and cancels some, until it is stopped."""

    site: Deployment
    #: The jobs' ids with the tries that they fail.
    fails: dict[str, int] = field(default_factory=dict)
    #: How often those had started that were cancelled.
    cancelled: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._dice = random.Random(7)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(0.005):
            self._add()
            if self._dice.random() < 0.2:
                self._cancel(self._dice.choice(list(self.fails)[-30:]))

    def _add(self) -> None:
        dice, job_id = self._dice, f"job-{len(self.fails)}"
        fields: dict[str, Any] = {"delay_ms": dice.choice([None, None, 200, 2000])}
        if dice.random() < 0.3:
            self.fails[job_id] = 0
            self.site.enqueue(dice.choice(["one", "two"]), queue="limited", job_id=job_id, **fields)
            return
        times = dice.choice([0, 0, 1, 2])
        fields |= {"attempts": times + 1, "backoff_ms": dice.choice([None, 50, 500])}
        fields["execution_pool"] = dice.choice(["default", "default", "default", "sandbox-browser"])
        self.fails[job_id] = times
        queue = dice.choice(["sync", "async"])
        self.site.enqueue("fail", {"times": times, "how": "plain"}, queue=queue, job_id=job_id, **fields)

    def _cancel(self, job_id: str) -> None:
        if self.site.service.cancel(job_id).success:
            self.cancelled[job_id] = len(_plain_starts(self.site, job_id))

    def waits_for_more(self, count: int) -> None:
        """Until so many more have been added."""
        mark = len(self.fails)
        wait_for(lambda: len(self.fails) >= mark + count, "more load", 60)


def _plain_starts(site: Deployment, job_id: str) -> list[dict[str, Any]]:
    return [note for note in site.notes(job_id) if note["event"] == "start"]


def _kill(doomed: Worker, other: Worker) -> None:
    """The other node finds it dead."""
    found = other.logs().count("is dead")
    doomed.process.kill("SIGKILL")
    wait_for(lambda: other.logs().count("is dead") > found, "the other to find it dead", 20)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("pool", ["threads", "prefork", "gevent"])
def test_two_releases_side_by_side(deploy: DeploymentFactory, old_checkout: str, pool: str) -> None:
    """Each is killed once under load, and found by the other; both drain what is left."""
    plugins = f"{MODULE},tests.acceptance.limited"
    site = deploy(**BEATS, XPERT_MQ_PLUGINS=plugins, XPERT_MQ_MAX_STALLED="9")
    where = site.python("-c", "import xpert_mq; print(xpert_mq.__file__)", PYTHONPATH=old_checkout).stdout
    assert where.startswith(old_checkout)

    with Load(site) as load:
        old = site.worker("-c", "4", pool=pool, PYTHONPATH=old_checkout)
        new = site.worker("-c", "4", pool=pool)
        load.waits_for_more(300)
        _kill(old, new)
        old = site.worker("-c", "4", pool=pool, PYTHONPATH=old_checkout)
        load.waits_for_more(300)
        _kill(new, old)
        site.worker("-c", "4", pool=pool)
        load.waits_for_more(100)

    left = set(load.fails) - set(load.cancelled)
    ended = {job_id: site.finished(job_id, timeout=60) for job_id in left}
    assert {job_id: _tries(job) for job_id, job in ended.items()} == {
        job_id: ("completed", load.fails[job_id] + 1, load.fails[job_id]) for job_id in left
    }
    _check_cancelled(site, load)
    _check_starts(site, load, left)
    check_indexes(PretendWorker(site.service))


def _tries(job: JobSnapshot) -> tuple[str, int, int]:
    """The state, the tries that were counted, and those that failed."""
    return job.state, job.attempts_made, len(job.stacktrace)


def _check_cancelled(site: Deployment, load: Load) -> None:
    assert load.cancelled
    for job_id, starts in load.cancelled.items():
        assert site.service.get_job(job_id) is None
        assert len(_plain_starts(site, job_id)) == starts


def _check_starts(site: Deployment, load: Load, left: set[str]) -> None:
    """No job has started more often than it had to, but those that were taken from a killed node."""
    limited = Counter(note["id"] for name in ("one", "two") for note in site.notes(name) if note["event"] == "start")
    more = 0
    for job_id in left:
        starts = limited[job_id] or len(_plain_starts(site, job_id))
        assert starts > load.fails[job_id]
        more += starts - load.fails[job_id] - 1
    taken_back = sum(worker.logs().count("it runs again") for worker in site.workers)
    assert taken_back > 0
    assert more <= taken_back
