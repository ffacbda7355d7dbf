"""`xpert-mq worker`: Celery's worker, and pools by their names."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import DeploymentFactory
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import LocalProcess, wait_for
from tests.acceptance.test_cli import CLI, cli

HERE = """
from xpert_mq import plugin_job_processor

@plugin_job_processor(plugin_name="here", queue_name="here", job_name="here")
def here(job): ...
"""


def start(deployment: Deployment, *words: str) -> LocalProcess:
    process = deployment.spawn(*CLI, "worker", *words, "-n", "cli@test", "-lINFO", "--without-gossip", name="cli")
    wait_for(lambda: b"ready." in process.logs(), "the worker to be ready", 30)
    return process


def test_takes_the_jobs_of_the_named_pool(deployment: Deployment) -> None:
    process = start(deployment, "--execution-pool", "sandbox-browser", "--concurrency", "3", "-Pthreads")
    other = deployment.enqueue("echo")

    assert deployment.run("echo", execution_pool="sandbox-browser").state == "completed"
    assert deployment.job(other).state == "waiting"
    log = process.logs().decode()
    assert "concurrency: 3 (thread)" in log
    assert f"{deployment.prefix}:plugin-jobs-sandbox-browser" in log
    process.kill("SIGTERM")
    assert process.wait(15) == 0


def test_takes_all_pools_and_plugins_of_the_working_directory(deploy: DeploymentFactory) -> None:
    deployment = deploy(XPERT_MQ_PLUGINS="tests.acceptance.plugin,here_plugin")
    (deployment.folder / "here_plugin.py").write_text(HERE)
    process = start(deployment, "--pool", "threads")

    for pool in ("default", "sandbox-browser"):
        assert deployment.run("echo", execution_pool=pool).state == "completed"
    assert b"could not be loaded" not in process.logs()


def test_two_named_pools(deployment: Deployment) -> None:
    start(deployment, "--execution-pool=sandbox-browser", "--pool=solo", "--execution-pool", "default")

    for pool in ("default", "sandbox-browser"):
        assert deployment.run("echo", execution_pool=pool).state == "completed"


def test_unknown_pool(deployment: Deployment) -> None:
    done = cli(deployment, "worker", "--execution-pool", "sandbox")

    assert (done.returncode, done.stdout) == (2, "")
    assert "execution_pool 'sandbox' is not declared" in done.stderr
    assert "did you mean 'sandbox-browser'?" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["-Q", "x"], ["-Qx"], ["--queues=x"], ["--queues", "x"]])
def test_pools_in_two_ways(deployment: Deployment, words: list[str]) -> None:
    done = cli(deployment, "worker", "--execution-pool", "default", *words)

    assert done.returncode == 2
    assert "-Q" in done.stderr.splitlines()[-1]


def test_help_in_short(deployment: Deployment) -> None:
    short = cli(deployment, "worker", "-h", MANAGED_QUEUE_CONCURRENCY="none")

    assert (short.returncode, short.stderr) == (0, "")
    assert short.stdout == cli(deployment, "worker", "--help").stdout


def test_unknown_kind_of_pool(deployment: Deployment) -> None:
    done = cli(deployment, "worker", "--pool", "foo")

    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert "'foo'" in last
    assert all(kind in last for kind in ("prefork", "threads", "gevent", "solo"))


def test_wrong_option_and_wrong_setting(deployment: Deployment) -> None:
    option = cli(deployment, "worker", "--nonsense")
    setting = cli(deployment, "worker", MANAGED_QUEUE_CONCURRENCY="none")

    assert option.returncode == setting.returncode == 2
    assert "--nonsense" in option.stderr
    assert setting.stderr.startswith("Error: MANAGED_QUEUE_CONCURRENCY")
