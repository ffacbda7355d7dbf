"""`xpert-mq server`: the embedded server in the foreground."""

from __future__ import annotations

import re

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import LocalProcess, wait_for
from tests.acceptance.test_cli import CLI, cli


def start(deployment: Deployment, *words: str, name: str = "server") -> tuple[LocalProcess, str]:
    """The process and the URL that it tells."""
    process = deployment.spawn(*CLI, "server", *words, name=name)
    export = re.compile(rb"^  export XPERT_MQ_REDIS_URL=(redis://\S+)$", re.MULTILINE)
    found = wait_for(lambda: export.search(process.logs()), "the server to tell its URL")
    return process, found[1].decode()


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
def test_runs_until_it_is_told_to_end(deployment: Deployment, signal: str) -> None:
    process, url = start(deployment)

    alive = cli(deployment, "doctor", XPERT_MQ_REDIS_URL=url)
    process.kill(signal)

    assert alive.returncode == 1
    assert "appendonly is off" in alive.stdout
    assert process.wait(10) == 0
    assert cli(deployment, "doctor", XPERT_MQ_REDIS_URL=url).returncode == 2
    assert process.logs().endswith(b"The server has ended.\n")


def test_dir_keeps_the_jobs(deployment: Deployment) -> None:
    folder = deployment.folder / 'a "new" place'
    code = (
        "from xpert_mq import managed_queue as q;"
        "print(q.enqueue(plugin_name='p', queue_name='q', job_name='j', job_id='kept').created)"
    )
    for name, created in (("one", "True\n"), ("two", "False\n")):
        process, url = start(deployment, "--dir", str(folder), name=name)
        done = deployment.python("-c", code, XPERT_MQ_REDIS_URL=url)
        again = cli(deployment, "server", "--dir", str(folder))
        process.kill("SIGTERM")

        assert done.stdout == created, done.stderr
        assert again.returncode == 2
        assert "another xpert-mq server" in again.stderr
        assert process.wait(10) == 0


def test_appendonly_on_a_port_of_its_own(deployment: Deployment) -> None:
    process, url = start(deployment, "--appendonly")
    port = url.rpartition(":")[2].partition("/")[0]

    taken = cli(deployment, "server", "--port", port)
    well = cli(deployment, "doctor", XPERT_MQ_REDIS_URL=url)

    assert taken.returncode == 2
    assert "port is taken" in taken.stderr
    assert "Traceback" not in taken.stderr
    assert well.returncode == 0
    process.kill("SIGKILL")


def test_folder_that_cannot_be_used(deployment: Deployment) -> None:
    (deployment.folder / "file").write_text("")

    for folder in ("file", "file/below"):
        done = cli(deployment, "server", "--dir", folder)

        assert done.returncode == 2
        assert "Traceback" not in done.stderr


def test_end_of_the_server_itself(deployment: Deployment) -> None:
    process, url = start(deployment)
    code = "import sys, redis; redis.Redis.from_url(sys.argv[1]).shutdown(nosave=True)"
    deployment.python("-c", code, url)

    assert process.wait(10) == 1
    assert b"Error: the server has ended by itself" in process.logs()
