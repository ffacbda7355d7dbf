"""From `django-admin startproject` to a job that ran."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import DeploymentFactory, deploy  # noqa: F401 - a fixture
from tests.acceptance.nodes import ROOT, wait_for

SETTINGS = """
INSTALLED_APPS += ["xpert_mq.contrib.django", "shop"]
MIDDLEWARE += ["xpert_mq.contrib.django.middleware.ContextMiddleware"]
XPERT_MQ = {{"REDIS_URL": "{url}", "PREFIX": "{prefix}"}}
"""

JOBS = """
from xpert_mq import plugin_job_processor

@plugin_job_processor(plugin_name="shop", queue_name="orders", job_name="confirm")
def confirm(job):
    return f"order {job.data['order']} is confirmed"
"""

ENQUEUE = """
from xpert_mq import managed_queue
managed_queue.enqueue(plugin_name="shop", queue_name="orders", job_name="confirm", payload={"order": 7}, job_id="o-7")
"""


@pytest.mark.slow
def test_newcomer_s_path(deploy: DeploymentFactory, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    site = deploy(XPERT_MQ_PLUGINS="", PYTHONPATH=f"{ROOT}")

    def run(*words: str) -> Any:
        done = site.python(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "django", "startproject", "mysite", ".")
    run("manage.py", "startapp", "shop")
    with (tmp_path / "mysite/settings.py").open("a") as settings:
        settings.write(SETTINGS.format(url=site.settings.redis_url, prefix=site.prefix))
    (tmp_path / "shop/managed_jobs.py").write_text(JOBS)
    run("manage.py", "check")
    run("manage.py", "migrate", "-v", "0")
    worker = site.spawn("manage.py", "xpert_mq_worker", "--pool", "threads", "-l", "INFO", name="worker")
    run("manage.py", "shell", "-c", ENQUEUE)

    assert site.finished("o-7", timeout=30).return_value == "order 7 is confirmed"
    worker.kill("SIGTERM")
    wait_for(lambda: worker.wait(15) == 0, "the worker's end")
