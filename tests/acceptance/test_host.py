"""The platform's application beside the host's: one process, one Redis database, and neither is in the other's way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import ROOT, wait_for
from xpert_mq.embedded import EmbeddedServer

HOST = """
from celery import Celery, shared_task

app = Celery("host")
app.config_from_object("celeryconfig")
app.set_default()

@shared_task
def add(a, b):
    return a + b
"""

HOST_CONFIG = """
import os

with open("read-by", "a") as file:
    file.write(f"{os.getpid()}\\n")
broker_connection_retry_on_startup = True
task_default_queue = "host"
worker_concurrency = 1
"""

#: What a web process of the host does: its own task and a managed job, in one process.
PROCESS = """
import json
import hostapp
from celery import current_app
from xpert_mq import managed_queue, app as platform

before = current_app.main
result = hostapp.add.delay(2, 3)
job = managed_queue.enqueue(plugin_name="acme", queue_name="sync", job_name="echo", payload="from host")
print(json.dumps({
    "current": [before, current_app.main],
    "shared": hostapp.add.app.main,
    "sum": result.get(timeout=15),
    "job": job.job_id,
    "host_tasks": sorted(name for name in hostapp.app.tasks if not name.startswith("celery.")),
    "platform_tasks": sorted(name for name in platform.tasks if not name.startswith("celery.")),
    "host_broker": hostapp.app.conf.broker_url,
    "queue": hostapp.app.conf.task_default_queue,
}))
"""


class Host:
    """A plain Celery application with a worker, in the folder and on the Redis of a platform with a worker."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        (deployment.folder / "hostapp.py").write_text(HOST)
        (deployment.folder / "celeryconfig.py").write_text(HOST_CONFIG)
        self.env = {
            "CELERY_BROKER_URL": deployment.settings.redis_url,
            "CELERY_RESULT_BACKEND": deployment.settings.redis_url,
            "PYTHONPATH": f"{ROOT}:{deployment.folder}",
        }
        self.platform_worker = deployment.worker(fast=False, wait=False, **self.env)
        self.worker = deployment.start(
            "worker", "-P", "threads", "-n", "host@test", "-l", "INFO", name="host", app="hostapp", **self.env
        )
        self.platform_worker.ready()
        wait_for(lambda: b"host@test ready." in self.worker.logs(), "the host's worker")

    def celery(self, app: str, *words: str) -> str:
        done = self.deployment.python("-m", "celery", "-A", app, *words, **self.env)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """On a server of their own, so that every key there is of the one or the other."""
    with (
        EmbeddedServer(binary="valkey") as server,
        closing(Deployment(server, tmp_path_factory.mktemp("host"))) as deployment,
    ):
        yield Host(deployment)


def test_host_process_uses_both(host: Host) -> None:
    done = host.deployment.python("-c", PROCESS, **host.env)

    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert said["sum"] == 5
    assert host.deployment.finished(said["job"]).return_value["data"] == "from host"
    assert said["current"] == ["host", "host"]
    assert said["shared"] == "host"
    assert said["host_tasks"] == ["hostapp.add"]
    assert said["platform_tasks"] == ["xpert_mq.dispatch"]
    assert (said["host_broker"], said["queue"]) == (host.env["CELERY_BROKER_URL"], "host")


def test_remote_control_reaches_only_the_own_workers(host: Host) -> None:
    platform = host.celery("xpert_mq", "inspect", "ping", "--json")
    own = host.celery("hostapp", "inspect", "ping", "--json")

    assert json.loads(platform) == {host.platform_worker.hostname(): {"ok": "pong"}}
    assert json.loads(own) == {"host@test": {"ok": "pong"}}


def test_purge_of_the_host_takes_no_job(host: Host) -> None:
    job_id = host.deployment.enqueue("echo", delay_ms=300)

    host.celery("hostapp", "purge", "-f")

    assert host.deployment.finished(job_id).state == "completed"


def test_keys_do_not_mix(host: Host) -> None:
    test_host_process_uses_both(host)
    prefix = host.deployment.prefix
    keys = [key.decode() for key in host.deployment.service.get_redis().scan_iter("*")]

    ours = [key for key in keys if prefix in key]
    theirs = [key for key in keys if prefix not in key]

    # A reply to remote control is for the moment in `<oid>.reply.<prefix>…`.
    assert all(key.startswith(prefix) or ".reply." in key for key in ours), ours
    assert {key.partition(".")[0].partition("-task-meta")[0] for key in theirs} <= {
        "_kombu",
        "celery",
        "host",
        "unacked",
        "unacked_index",
        "unacked_mutex",
    }, theirs


def test_configuration_of_the_host_is_not_even_run(host: Host) -> None:
    (host.deployment.folder / "read-by").unlink(missing_ok=True)

    done = host.deployment.python(
        "-c", "from xpert_mq import app; print(app.conf.worker_concurrency, app.conf.task_default_queue)", **host.env
    )

    assert done.stdout.split() == ["1", f"{host.deployment.prefix}:plugin-jobs"]
    assert not (host.deployment.folder / "read-by").exists()


def test_messages_of_dead_workers_are_restored_by_the_own_side(host: Host, tmp_path: Path) -> None:
    """The host's unacknowledged messages and ours are noted in different keys."""
    deployment = host.deployment
    deployment.hold("unacked")

    names = {key.decode() for key in deployment.service.get_redis().scan_iter("*unacked*")}
    deployment.open_gate("unacked")

    assert any(name.startswith(f"{deployment.prefix}:node:") for name in names)
    assert "unacked" not in names
