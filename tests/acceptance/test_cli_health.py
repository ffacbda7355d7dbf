"""`xpert-mq health`: what a probe sees of workers that live, hang, freeze, go and are gone."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from typing import Any

import pytest

from tests.acceptance.conftest import DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for
from tests.acceptance.test_cli import CLI, PASSWORD, cli, document
from tests.conftest import ServerFactory
from xpert_mq.store.store import NodeInfo

MAX_AGE = 2.0
BEATS = {"XPERT_MQ_HEARTBEAT_INTERVAL": "0.2", "XPERT_MQ_NODE_TIMEOUT": "20"}


@pytest.fixture
def site(deploy: DeploymentFactory) -> Deployment:
    """A platform whose nodes beat fast, and are not declared dead soon."""
    return deploy(**BEATS)


def health(site: Deployment, *words: str) -> subprocess.CompletedProcess[str]:
    return cli(site, "health", "--max-age", str(MAX_AGE), *words)


def wait_for_default(site: Deployment, code: int, warning: str | None) -> dict[str, Any]:
    """The pool `default` as soon as it is so."""

    def answer() -> dict[str, Any] | None:
        done = health(site, "--json", "--pool", "default")
        pool: dict[str, Any] = json.loads(done.stdout)["pools"][0]
        return pool if (done.returncode, pool["warning"]) == (code, warning) else None

    found: dict[str, Any] = wait_for(answer, f"exit code {code} and {warning}", 10 * MAX_AGE)
    return found


@pytest.mark.parametrize("pool", ["threads", slow("prefork"), slow("solo"), slow("asyncio"), slow("gevent")])
def test_over_the_life_of_a_worker(site: Deployment, pool: str) -> None:
    assert health(site).returncode == 1
    worker = site.worker(pool=pool)

    live = health(site)
    said = document(health(site, "--json", "--this-host", "--pool", "default"))
    assert worker.terminate() == 0
    gone = health(site)

    assert live.returncode == 0, live.stdout + live.stderr
    assert re.fullmatch(
        r"default: 1 worker, oldest beat [\d.]+ s ago\nsandbox-browser: 1 worker, oldest beat [\d.]+ s ago\n",
        live.stdout,
    )
    beat = said["pools"][0].pop("oldest_beat_ms")
    assert 0 <= beat < 1000 * MAX_AGE
    default = {"execution_pool": "default", "healthy": True, "worker_count": 1, "warning": None}
    assert said == {"healthy": True, "host": socket.gethostname(), "max_age_ms": 2000, "pools": [default]}
    assert gone.returncode == 1
    assert gone.stdout.splitlines()[0] == "default: 0 workers; warning: no live worker"


def test_frozen_worker(site: Deployment) -> None:
    worker = site.worker()
    assert health(site).returncode == 0

    worker.kill("SIGSTOP")
    try:
        default = wait_for_default(site, 1, "no live worker, 1 silent")
    finally:
        worker.kill("SIGCONT")

    assert default["oldest_beat_ms"] > 1000 * MAX_AGE
    wait_for_default(site, 0, None)


@pytest.mark.slow
def test_hanging_consumer(site: Deployment) -> None:
    """A handler keeps all greenlets from running; the heartbeat is a thread of its own, and goes on."""
    site.worker(pool="gevent", MANAGED_QUEUE_CONCURRENCY="2")
    site.wait_state(site.enqueue("hang", 5 * MAX_AGE), "active")

    default = wait_for_default(site, 1, "no live worker, 1 hanging")

    assert default["oldest_beat_ms"] < 1000 * MAX_AGE
    wait_for_default(site, 0, None)


@pytest.mark.slow
def test_solo_worker_at_work(site: Deployment) -> None:
    """Its loop stands still then, which is no fault."""
    site.worker(pool="solo")
    started = time.monotonic()
    site.hold("solo")

    wait_for(lambda: time.monotonic() - started > 1.5 * MAX_AGE, "the loop to be older than the age")
    done = health(site)

    assert done.returncode == 0, done.stdout


def test_worker_that_shuts_down(site: Deployment) -> None:
    worker = site.worker()
    site.hold("stop")

    worker.kill("SIGTERM")
    wait_for_default(site, 1, "no live worker, 1 taking no jobs")
    site.open_gate("stop")

    assert worker.process.wait(15) == 0


def test_each_named_pool_counts(site: Deployment) -> None:
    site.worker("-Q", site.settings.queue_name("sandbox-browser"))

    assert health(site, "--pool", "sandbox-browser").returncode == 0
    assert health(site, "--pool", "sandbox-browser", "--pool", "default").returncode == 1
    assert health(site).returncode == 1


def test_workers_of_other_hosts_are_not_this_hosts(site: Deployment) -> None:
    info = NodeInfo([site.settings.queue_name()], ticks=False)
    beat = site.service.store.beat("elsewhere:1:0123abcd", info, fresh=True, gap_ms=1000)
    assert site.service.executor.run(beat)
    words = ("health", "--pool", "default")

    assert cli(site, *words).returncode == 0
    assert cli(site, *words, "--this-host").returncode == 1


def test_is_one_round_trip_and_imports_no_celery(server_factory: ServerFactory, deploy: DeploymentFactory) -> None:
    site = deploy(server_factory())
    # The first one loads the script.
    cli(site, "health")
    client: Any = site.service.get_redis()
    client.config_resetstat()

    done = site.python("-X", "importtime", *CLI, "health")

    sent = {name.removeprefix("cmdstat_") for name in client.info("commandstats")}
    assert sent - {"config|resetstat", "info"} == {"evalsha", "time", "zrange"}
    assert done.returncode == 1
    assert not re.search(r"\| +(celery|kombu|rich)$", done.stderr, re.MULTILINE)


def test_redis_that_refuses(site: Deployment) -> None:
    done = cli(site, "health", XPERT_MQ_REDIS_URL=f"redis://:{PASSWORD}@127.0.0.1:1/0")

    assert (done.returncode, done.stdout) == (2, "")
    assert "refused" in done.stderr
    assert PASSWORD not in done.stderr
    assert "Traceback" not in done.stderr


def test_redis_that_hangs_is_given_up_in_time(server_factory: ServerFactory, deploy: DeploymentFactory) -> None:
    site = deploy(server_factory(), XPERT_MQ_ENQUEUE_TIMEOUT="0.5")
    site.server.freeze()
    try:
        started = time.monotonic()
        done = cli(site, "health")
        took = time.monotonic() - started
    finally:
        site.server.thaw()

    assert done.returncode == 2
    assert took < 10


@pytest.mark.parametrize("words", [["--pool", "sandbox"], ["--max-age", "5"], ["--max-age", "0"], ["--max-age", "nan"]])
def test_wrong_usage(deployment: Deployment, words: list[str]) -> None:
    done = cli(deployment, "health", *words)

    assert (done.returncode, done.stdout) == (2, "")
    assert ("sandbox-browser" if words[0] == "--pool" else "XPERT_MQ_HEARTBEAT_INTERVAL") in done.stderr


def test_doctor_counts_live_workers(site: Deployment) -> None:
    before = document(cli(site, "doctor", "--json", "--no-keys"))
    site.worker("-Q", site.settings.queue_name())
    after = document(cli(site, "doctor", "--json", "--no-keys"))

    assert [pool["workers"] for pool in before["pools"]] == [0, 0]
    assert [pool["workers"] for pool in after["pools"]] == [1, 0]
