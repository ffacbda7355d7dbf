"""From an empty file to a job that ran."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for
from xpert_mq.embedded import EmbeddedServer

APP = """\
from flask import Flask
from xpert_mq import managed_queue, plugin_job_processor
from xpert_mq.contrib.flask import XpertMQ

app = Flask(__name__)
XpertMQ(app)

@plugin_job_processor(plugin_name="hello", queue_name="mail", job_name="welcome")
def welcome(job):
    return f"Welcome, {job.data}!"

@app.get("/welcome/<name>")
def add(name):
    return managed_queue.enqueue(plugin_name="hello", queue_name="mail", job_name="welcome", payload=name).job_id
"""


@pytest.mark.slow
def test_job_of_a_new_application_runs(server: EmbeddedServer, tmp_path: Path) -> None:
    assert len([line for line in APP.splitlines() if line]) <= 12
    (tmp_path / "app.py").write_text(APP)
    with closing(Deployment(server, tmp_path, XPERT_MQ_PLUGINS="")) as platform:
        platform.spawn("-m", "flask", "managed-jobs", "worker", name="worker")
        site = platform.spawn("-m", "flask", "run", "--port", "0", name="flask")
        found = wait_for(lambda: re.search(rb"Running on (\S+)", site.logs()), "the site", 30)

        with urlopen(f"{found[1].decode()}/welcome/ada", timeout=15) as answer:
            job_id = answer.read().decode()

        assert platform.finished(job_id, timeout=30).return_value == "Welcome, ada!"
