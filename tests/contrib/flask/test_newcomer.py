"""From an empty file to a job that ran: literally what docs/flask.md says."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for
from tests.testing.documents import blocks, files
from xpert_mq.embedded import EmbeddedServer

APP = files("flask.md")["app"]
WORKER, SITE, LIST = (line.split()[1:] for line in blocks("flask.md", "sh")[0].splitlines())


def test_application_is_short() -> None:
    assert len([line for line in APP.splitlines() if line and not line.startswith("#")]) <= 12


@pytest.mark.slow
def test_job_of_a_new_application_runs(server: EmbeddedServer, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    with closing(Deployment(server, tmp_path, XPERT_MQ_PLUGINS="")) as platform:
        platform.spawn("-m", "flask", *WORKER, name="worker")
        site = platform.spawn("-m", "flask", *SITE, "--port", "0", name="flask")
        found = wait_for(lambda: re.search(rb"Running on (\S+)", site.logs()), "the site", 30)

        with urlopen(f"{found[1].decode()}/welcome/ada", timeout=15) as answer:
            job_id = answer.read().decode()

        assert platform.finished(job_id, timeout=30).return_value == "Welcome, ada!"
        assert job_id in platform.python("-m", "flask", *LIST).stdout
