"""`flask managed-jobs …`: the application's queue, and workers that find the application."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.cli import FlaskGroup

from xpert_mq import ManagedQueueService
from xpert_mq.contrib.flask import XpertMQ
from xpert_mq.contrib.flask.configuration import environment_of
from xpert_mq.settings import get_settings

JOB = {"plugin_name": "p", "queue_name": "q", "job_name": "j", "tenant_id": "acme"}
Run = Callable[..., Result]


@pytest.fixture
def app(queue: ManagedQueueService) -> Flask:
    made = Flask("shop", instance_path="/nowhere")
    XpertMQ(made)
    return made


@pytest.fixture
def run(app: Flask) -> Run:
    return lambda *words: app.test_cli_runner().invoke(args=["managed-jobs", *words])


def test_list_and_cancel(run: Run, queue: ManagedQueueService) -> None:
    queue.enqueue(JOB, job_id="mine")

    assert "mine" in run("list", "--tenant", "acme").output
    assert "mine" not in run("list", "--tenant", "globex").output
    assert run("cancel", "mine", "--tenant", "acme").output == "mine: cancelled, it was waiting\n"
    assert queue.get_job("mine", tenant_id="acme") is None


@pytest.mark.parametrize("verb", ["show", "cancel", "retry"])
def test_job_that_is_not_there(run: Run, verb: str) -> None:
    done = run(verb, "none", "--tenant", "acme")

    assert done.exit_code == 1
    assert "there is no" in done.output


def test_retry(run: Run, queue: ManagedQueueService) -> None:
    queue.enqueue(JOB, job_id="mine")

    assert run("retry", "mine", "--tenant", "acme").output == "mine: not run again, it is waiting\n"


def test_others_are_there(run: Run) -> None:
    assert run("queues").exit_code == 0
    assert run("health").exit_code == 1


def test_worker_gets_the_application_and_its_settings(monkeypatch: pytest.MonkeyPatch, app: Flask) -> None:
    become: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, command: become.append(command))
    for name in ("FLASK_APP", "MANAGED_QUEUE_PREFIX", "XPERT_MQ_POOLS", "XPERT_MQ_PLUGINS"):
        monkeypatch.setenv(name, "")
    app.config.update(MANAGED_QUEUE_PREFIX="of:the:config", XPERT_MQ_POOLS=["default", "big"])
    group: Any = FlaskGroup(create_app=lambda: app)

    try:
        app.test_cli_runner().invoke(group, ["managed-jobs", "worker", "--execution-pool", "big", "-E"])
    finally:
        get_settings.cache_clear()

    env = {name: os.environ[name] for name in ("MANAGED_QUEUE_PREFIX", "XPERT_MQ_POOLS", "XPERT_MQ_PLUGINS")}
    assert env == {
        "MANAGED_QUEUE_PREFIX": "of:the:config",
        "XPERT_MQ_POOLS": "default,big",
        "XPERT_MQ_PLUGINS": "xpert_mq.contrib.flask.worker",
    }
    command = [sys.executable, "-m", "celery", "-A", "xpert_mq", "worker", "-Q", "of:the:config:plugin-jobs-big", "-E"]
    assert become == [command]


def test_settings_of_other_forms_reach_the_worker(app: Flask) -> None:
    app.config.update(XPERT_MQ_PLUGINS={"shop.jobs"}, XPERT_MQ_POOLS=" default , big ", XPERT_MQ_NODE_TIMEOUT="60")

    assert environment_of(app.config) == {
        "XPERT_MQ_PLUGINS": "shop.jobs",
        "XPERT_MQ_POOLS": "default,big",
        "XPERT_MQ_NODE_TIMEOUT": "60.0",
    }


def test_help_of_the_worker_is_a_text(run: Run) -> None:
    said = run("worker", "--help").output.partition("Options:")[0]

    assert "It takes the jobs of all declared execution pools" in said
    assert not re.search(r"\S {2,}", said)
