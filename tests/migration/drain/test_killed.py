"""A `forward` that ends at any point, beside live workers: each job runs once, here or there."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.pretend import PretendWorker, wait_until
from tests.migration.drain.conftest import Drain, DrainFactory, OldQueueFactory, snapshot, states
from tests.migration.drain.old_queues import OldQueueOf
from xpert_mq import ManagedQueueService, QueueUnavailableError
from xpert_mq.adoption import Adopted, Adoption, AdoptionLedger

#: Small, so that a run has many steps to be killed at.
_BATCH = 20


def start(
    drain: Drain, queue: OldQueueOf, service: ManagedQueueService, mapping: Path, batch: int = _BATCH
) -> subprocess.Popen[str]:
    """A `forward` in a process of its own."""
    environment = {
        **os.environ,
        "XPERT_MQ_REDIS_URL": service.settings.redis_url,
        "MANAGED_QUEUE_PREFIX": service.settings.prefix,
    }
    named = [drain.url, "--queue", queue.name, "--prefix", queue.prefix]
    words = ["forward", str(mapping), "--write", "--batch", str(batch), "--lease", "1", "--json"]
    code = "from migration.drain import command; command()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *named, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_once(process: subprocess.Popen[str], queue: OldQueueOf, client: redis.Redis, chance: random.Random) -> bool:
    """Kills it some time after it has begun to move jobs; False if it had ended before."""
    lease = queue.key("xpert-mq:lease")
    before = client.get(lease)
    wait_until(lambda: process.poll() is not None or client.get(lease) not in (None, before), 30)
    time.sleep(chance.uniform(0, 0.25))
    process.kill()
    process.communicate()
    return process.returncode == -9


def survive(
    kills: int, queue: OldQueueOf, drain: Drain, service: ManagedQueueService, client: redis.Redis, seed: int
) -> None:
    """Kills so many runs beside live workers of both queues, lets the last one end, and accounts for every job."""
    chance = random.Random(seed)
    ids: list[str] = []
    queue.work(concurrency=2)
    managed_ran: list[str] = []
    killed = 0
    mapping = drain.mapping()
    while killed < kills:
        if client.llen(queue.key("wait")) < 400:
            ids += queue.add_many([("send", {"takes": 3}, _options(chance)) for _ in range(700)], bulk=True)
        killed += kill_once(start(drain, queue, service, mapping), queue, client, chance)
        managed_ran += work_off(service, 50)
    in_flight = client.hlen(queue.key("xpert-mq:in-flight"))
    last = start(drain, queue, service, mapping)
    output = last.communicate(timeout=60)[0]
    assert last.returncode == 0, output
    wait_until(lambda: not client.llen(queue.key("active")) and not client.llen(queue.key("wait")), 30)
    queue.call("rest")

    ran: Any = client.lrange(queue.ran_key, 0, -1)
    managed_ran += work_off(service, None)
    later = [job_id for job_id, state in states(service, ids).items() if state == "delayed"]
    times = Counter([*ran, *managed_ran, *later])
    twice = {job_id for job_id, count in times.items() if count > 1}
    assert (twice, set(ids) - set(times)) == (set(), set()), f"seed {seed}, {in_flight} in flight at the last kill"
    assert ran
    assert managed_ran


def work_off(service: ManagedQueueService, most: int | None) -> list[str]:
    """Runs waiting jobs of the managed queue; the ids of those that ran. Half of them are forgotten at once."""
    worker = PretendWorker(service)
    waiting = len(worker.messages())
    ran = []
    for _ in range(waiting if most is None else min(most, waiting)):
        claim = worker.claim_next()
        ran.append(claim.job_id)
        assert worker.complete(claim)
    return ran


def _options(chance: random.Random) -> dict[str, Any]:
    kinds = [{}, {"delay": chance.choice([50, 500, 600_000])}, {"priority": 3}]
    return {**chance.choices(kinds, [5, 3, 2])[0], "removeOnComplete": chance.random() < 0.5}


def test_killed_runs_beside_a_live_worker(
    old_queue: OldQueueOf, drain: Drain, service: ManagedQueueService, client: redis.Redis
) -> None:
    survive(3, old_queue, drain, service, client, random.randrange(2**32))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("library", "kills"), [("bullmq5", 17), ("bullmq6", 17), ("bull4", 16)])
def test_killed_often(
    library: str,
    kills: int,
    old_queue_factory: OldQueueFactory,
    drain_of: DrainFactory,
    service: ManagedQueueService,
    client: redis.Redis,
) -> None:
    queue = old_queue_factory(library)
    assert isinstance(queue, OldQueueOf)
    survive(kills, queue, drain_of(queue), service, client, random.randrange(2**32))


def test_two_runs_at_once(
    old_queue: OldQueueOf, drain: Drain, service: ManagedQueueService, client: redis.Redis
) -> None:
    ids = old_queue.add_many([("send", {}, {})] * 1000, bulk=True)
    mapping = drain.mapping()

    runs = [start(drain, old_queue, service, mapping) for _ in range(2)]

    outputs = [run.communicate(timeout=60)[0] for run in runs]
    reports = [json.loads(output) for run, output in zip(runs, outputs, strict=True) if run.returncode == 0]
    assert sum(report["moved"].get("wait", 0) for report in reports) == 1000
    assert sorted(PretendWorker(service).waiting_ids()) == sorted(ids)


class _KilledError(Exception):
    """The process ends here."""


@pytest.mark.parametrize("library", ["bullmq5", "bullmq6", "bull4"])
@pytest.mark.parametrize("adopted", [0, 2, 4])
def test_next_run_goes_on_with_what_was_in_flight(
    library: str,
    adopted: int,
    old_queue_factory: OldQueueFactory,
    drain_of: DrainFactory,
    service: ManagedQueueService,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = old_queue_factory(library)
    ids = queue.add_many([("send", {}, {}), ("send", {}, {}), ("send", {}, {"priority": 3}), ("send", {}, {})])
    later = queue.add(delay=600_000)
    drain = drain_of(queue)
    adopt_many = AdoptionLedger.adopt_many

    def killed(ledger: AdoptionLedger, jobs: list[Adoption]) -> list[Adopted]:
        adopt_many(ledger, jobs[:adopted])
        raise _KilledError

    monkeypatch.setattr(AdoptionLedger, "adopt_many", killed)
    with pytest.raises(_KilledError):
        drain.forward()
    in_flight = client.hlen(queue.key("xpert-mq:in-flight"))
    assert in_flight >= 3
    assert drain.document("status")["in_flight"] == in_flight
    monkeypatch.undo()
    done = list(states(service, ids))
    for job_id in done[:1]:  # has ended and is forgotten by now
        service.cancel(job_id)

    report = drain.forward()

    assert report["resumed"] == in_flight
    assert sum(report["moved"].values()) == 5
    assert states(service, [*ids, later]) == {
        **dict.fromkeys([job_id for job_id in ids if job_id not in done[:1]], "waiting"),
        later: "delayed",
    }
    assert not client.exists(queue.key("xpert-mq:in-flight"), queue.key("xpert-mq:lease"))


def test_job_in_flight_that_no_longer_maps_stays_in_flight(
    old_queue: OldQueueOf,
    drain: Drain,
    service: ManagedQueueService,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = old_queue.add()
    unavailable = QueueUnavailableError("redis://new", "gone")
    with monkeypatch.context() as patched:
        patched.setattr(AdoptionLedger, "adopt_many", _raising(unavailable))
        assert "redis://new is unavailable" in drain.run("forward", drain.mapping(), "--write").stderr

    report = drain.forward(mapping='["mail"."other"]\nplugin_name = "p"\nqueue_name = "q"\ntenant_id = "t"\n', code=1)

    assert [one["id"] for one in report["listed"]] == [job_id]
    assert "has it in flight" in report["listed"][0]["reason"]
    assert drain.document("forward", drain.mapping())["resumed"] == 1
    assert client.hkeys(old_queue.key("xpert-mq:in-flight")) == [job_id]
    drain.forward()
    assert states(service, [job_id]) == {job_id: "waiting"}


def test_jobs_in_flight_are_not_sent_elsewhere(
    old_queue: OldQueueOf,
    drain: Drain,
    service: ManagedQueueService,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    old_queue.add()
    with monkeypatch.context() as patched:
        patched.setattr(AdoptionLedger, "adopt_many", _raising(QueueUnavailableError("redis://new", "gone")))
        drain.run("forward", drain.mapping(), "--write")
    first = service.settings.prefix
    service.configure(service.settings.model_copy(update={"prefix": "elsewhere"}))

    said = drain("forward", drain.mapping(), "--write", code=2)

    assert "are on their way to" in said
    assert f"{first}, and this would move them to" in said
    client.delete(old_queue.key("xpert-mq:forwarded"))  # as it says
    assert drain.forward()["resumed"] == 1


def test_nothing_is_taken_while_the_managed_redis_is_away(
    old_queue: OldQueueOf, drain: Drain, service: ManagedQueueService, client: redis.Redis
) -> None:
    old_queue.add()
    before = snapshot(client, old_queue)
    right = service.settings
    service.configure(right.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"}))

    assert "Redis at redis://127.0.0.1:1/0 is unavailable" in drain("forward", drain.mapping(), "--write", code=2)

    assert snapshot(client, old_queue) == before
    service.configure(right)
    assert drain.forward()["moved"] == {"wait": 1}


def test_job_removed_in_flight_is_not_moved(
    old_queue: OldQueueOf,
    drain: Drain,
    service: ManagedQueueService,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job_id = old_queue.add()
    with monkeypatch.context() as patched:
        patched.setattr(AdoptionLedger, "adopt_many", _raising(QueueUnavailableError("redis://new", "gone")))
        drain.run("forward", drain.mapping(), "--write")
    client.delete(old_queue.key(job_id))

    assert drain.forward()["moved"] == {}
    assert states(service, [job_id]) == {}
    assert not client.exists(old_queue.key("xpert-mq:in-flight"))


def test_run_waits_for_the_lease_of_one_that_was_killed(
    old_queue: OldQueueOf, drain: Drain, client: redis.Redis
) -> None:
    old_queue.add()
    client.set(old_queue.key("xpert-mq:lease"), "killed", px=250)

    assert drain.forward()["moved"] == {"wait": 1}


def test_run_beside_one_that_lives_gives_up(
    old_queue: OldQueueOf, drain: Drain, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    old_queue.add()
    lease = old_queue.key("xpert-mq:lease")
    client.set(lease, "living", px=30_000)
    monkeypatch.setattr("migration.drain.lease.time.sleep", lambda _: client.pexpire(lease, 60_000))

    said = drain("forward", drain.mapping(), "--write", code=2)

    assert "another `forward` moves jobs of this queue" in said
    assert client.get(lease) == "living"


def test_run_that_lost_its_lease_stops(
    old_queue: OldQueueOf,
    drain: Drain,
    service: ManagedQueueService,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = [old_queue.add(), old_queue.add()]
    adopt_many = AdoptionLedger.adopt_many

    def taken_over(ledger: AdoptionLedger, jobs: list[Adoption]) -> list[Adopted]:
        client.set(old_queue.key("xpert-mq:lease"), "another", px=100)
        return adopt_many(ledger, jobs)

    with monkeypatch.context() as patched:
        patched.setattr(AdoptionLedger, "adopt_many", taken_over)
        assert "another `forward` took over" in drain("forward", drain.mapping(), "--write", code=2)
    assert client.hlen(old_queue.key("xpert-mq:in-flight")) == 2

    assert drain.forward()["resumed"] == 2
    assert states(service, ids) == dict.fromkeys(ids, "waiting")


def _raising(error: Exception) -> Any:
    def fail(*_: Any) -> None:
        raise error

    return fail
