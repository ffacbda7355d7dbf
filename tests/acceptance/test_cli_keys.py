"""`xpert-mq doctor` and the keys: it finds what was planted, and nothing where all is well."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.acceptance.conftest import DeploymentFactory
from tests.acceptance.deployment import PLUGIN, Deployment
from tests.acceptance.nodes import wait_for
from tests.acceptance.test_cli import cli, document
from tests.integration.pretend import STATES, PretendWorker
from xpert_mq import ManagedQueueService
from xpert_mq.cli.orphans import KeyReport, find_orphans
from xpert_mq.settings import Settings


def walk(deployment: Deployment, **options: Any) -> KeyReport:
    return find_orphans(deployment.service.get_redis(), deployment.settings, **options)


def found(deployment: Deployment) -> dict[str, list[str]]:
    """The examples by the first words of a finding."""
    return {" ".join(one.what.split()[:3]): one.examples for one in walk(deployment).findings}


@pytest.fixture
def worker(deployment: Deployment) -> PretendWorker:
    """Of a platform with a job in each state, kept in each way."""
    worker = PretendWorker(deployment.service)
    for state in reversed(STATES):
        worker.bring_to(state, state, tenant_id="t:1")
    worker.take()
    for name, keep in {"for ever": False, "last": 3, "age": {"age": 60}}.items():
        worker.bring_to("completed", name, remove_on_complete=keep, job_name="x:kept")
    return worker


def test_nothing_is_wrong_where_nothing_was_planted(deployment: Deployment, worker: PretendWorker) -> None:
    report = walk(deployment)

    assert report.warnings == []
    assert report.complete
    assert report.own == len(worker.all_keys())


def test_keys_of_another_version(deployment: Deployment, worker: PretendWorker) -> None:
    names = [f"{deployment.prefix}:{name}" for name in ("finished:x", "plugin-jobs:active", "job:no-token", "z")]
    for name in names:
        worker.redis.set(name, "1")

    (finding,) = walk(deployment).findings

    assert finding.count == 4
    assert finding.examples == sorted(names)[:3]
    assert str(finding).startswith("4 keys under the prefix are not of this version, for example ")


def test_keys_of_a_platform_whose_prefix_is_longer(deployment: Deployment, worker: PretendWorker) -> None:
    longer = f"{deployment.prefix}:staging"
    other = PretendWorker(ManagedQueueService(Settings(redis_url=deployment.settings.redis_url, prefix=longer)))
    binding = f"{longer}:_kombu.binding.{longer}:plugin-jobs"
    other.redis.sadd(binding, "binding")
    assert walk(deployment).warnings == []

    other.enqueue()
    other.redis.delete(binding)
    assert walk(deployment).warnings == []

    other.redis.delete(f"{longer}:generation")
    assert walk(deployment).findings[0].count > 4


@pytest.mark.parametrize("state", STATES)
def test_job_that_is_in_no_list(deployment: Deployment, worker: PretendWorker, state: str) -> None:
    (name,) = [
        key
        for key in worker.all_keys()
        if key.startswith(f"{deployment.prefix}:list:{state}:3:t:1:") and not key.endswith(":expiry")
    ]
    worker.redis.zrem(name, f"3:t:1:{state}")

    assert found(deployment)["jobs are missing"] == [f"3:t:1:{state}"]


def test_delayed_job_that_nobody_will_hand_out(deployment: Deployment, worker: PretendWorker) -> None:
    worker.redis.zrem(f"{worker.queue}:delayed", "3:t:1:delayed")

    assert found(deployment) == {"jobs are missing": ["3:t:1:delayed"]}


def test_lists_that_are_in_no_index(deployment: Deployment, worker: PretendWorker) -> None:
    worker.redis.delete(f"{deployment.prefix}:groups")
    assert walk(deployment).findings[0].count == 5 + 2

    worker.redis.delete(f"{deployment.prefix}:expiring")
    assert walk(deployment).findings[0].count == 5 + 2 + 3


def test_pool_that_is_not_declared_any_more(deployment: Deployment) -> None:
    settings = Settings(redis_url=deployment.settings.redis_url, prefix=deployment.prefix, pools=("default", "old"))
    former = PretendWorker(ManagedQueueService(settings))
    former.enqueue(execution_pool="old")
    former.enqueue(execution_pool="old", delay_ms=60_000)

    report = walk(deployment)

    assert report.findings == []
    (pool,) = report.pools
    assert (pool.name, pool.messages, pool.waiting, pool.delayed) == ("old", 1, 1, 1)
    assert "'old' is not in XPERT_MQ_POOLS, but has 1 waiting job, 1 delayed job and 1 message, which" in str(pool)


def test_walk_that_is_broken_off_says_so(deployment: Deployment) -> None:
    job = {"plugin_name": "p", "queue_name": "q", "job_name": "j"}
    deployment.service.enqueue_many([job] * 1500)

    report = walk(deployment, seconds=0)

    assert not report.complete
    assert 0 < report.passed < report.total
    assert report.warnings == []


def test_doctor_warns(deploy: DeploymentFactory, server_factory: Any) -> None:
    deployment = deploy(server_factory(appendonly=True))
    deployment.service.get_redis().set(f"{deployment.prefix}:stranger\x1b", "1")

    done = cli(deployment, "doctor")
    said = document(cli(deployment, "doctor", "--json"))
    without = cli(deployment, "doctor", "--no-keys")

    assert done.returncode == 1
    assert f"- 1 key under the prefix is not of this version: '{deployment.prefix}:stranger" in done.stdout
    assert "All 1 keys of the database were passed, 1 of them under the prefix." in done.stdout
    assert "\x1b" not in done.stdout
    assert said["keys"]["findings"][0]["count"] == 1
    assert said["warnings"] == [str(one) for one in said["warnings"]]
    assert without.returncode == 0
    assert "under the prefix" not in without.stdout


def test_no_false_alarm_while_jobs_move(deployment: Deployment) -> None:
    deployment.worker("-E", fast=False, MANAGED_QUEUE_CONCURRENCY="4")
    jobs = [
        {
            "plugin_name": PLUGIN,
            "queue_name": "sync",
            "job_name": "echo",
            "tenant_id": f"t{number % 20}",
            "delay_ms": number % 2 * 50,
            "remove_on_complete": (True, 5, {"age": 0.3, "count": 5}, False)[number % 4],
        }
        for number in range(40)
    ]
    stop = threading.Event()

    def feed() -> None:
        while not stop.wait(0.1):
            deployment.service.enqueue_many(jobs)

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        wait_for(lambda: walk(deployment).own > 200, "the jobs")
        reports = [walk(deployment) for _ in range(10)]
        assert "pong" in deployment.celery("inspect", "ping").stdout
        reports += [walk(deployment)]
    finally:
        stop.set()
        feeder.join()

    assert [warning for report in reports for warning in report.warnings] == []
    assert len({report.own for report in reports}) > 1
