"""The testing kit in a Flask project, whose tests make an application each."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app

from xpert_mq import ManagedQueueService, registry
from xpert_mq.contrib.flask import XpertMQ
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.testing import JobRun
from xpert_mq.testing.kit import KitMaker

JOB: dict[str, Any] = {"plugin_name": "p", "queue_name": "q", "job_name": "j"}
RunJobs = Callable[..., list[JobRun]]


def make_app(name: str, **config: Any) -> Flask:
    app = Flask(name)
    app.config.update(XPERT_MQ_REDIS_URL="redis://127.0.0.1:1/0", **config)
    XpertMQ(app)
    return app


@pytest.mark.parametrize("name", ["first", "second"])
def test_each_tests_application_has_the_handlers(
    managed_queue: ManagedQueueService, run_jobs: RunJobs, name: str
) -> None:
    make_app(name, MANAGED_QUEUE_PREFIX=name)
    registry.register(**JOB, handler=lambda job: current_app.import_name)
    managed_queue.enqueue(**JOB)

    (run,) = run_jobs()

    assert (run.result, managed_queue.settings.prefix) == (name, name)


def test_teardown_function_that_raises_fails_the_try(managed_queue: ManagedQueueService, run_jobs: RunJobs) -> None:
    app = make_app("app")

    @app.teardown_appcontext
    def end(_: BaseException | None) -> None:
        raise OSError("not closed")

    registry.register(**JOB, handler=lambda job: None)
    managed_queue.enqueue(**JOB, job_id="1", attempts=2)

    assert [run.outcome for run in run_jobs()] == ["retry", "failed"]
    job = managed_queue.get_job("1")
    assert job is not None
    assert job.failed_reason == "not closed"


PLUGIN = """
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from xpert_mq import plugin_job_processor
from xpert_mq.contrib.flask import XpertMQ

app = Flask("plugin")
app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", MANAGED_QUEUE_PREFIX="plugin")
XpertMQ(app)
db = SQLAlchemy(app)
"""


def test_application_that_is_a_plugin_is_set_up_in_all_tests(
    queue: ManagedQueueService, xpert_mq_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app_as_plugin.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    kits = KitMaker(xpert_mq_server.url)
    for number in range(2):
        with kits.kit({"plugins": ("app_as_plugin",)}):
            plugin = sys.modules["app_as_plugin"]
            assert queue.settings.prefix == "plugin"
            with plugin.app.app_context():
                plugin.db.session.connection()
                queue.enqueue(**JOB, job_id="1", on_commit=True)
                assert queue.get_job("1") is None, number
                plugin.db.session.commit()
                assert queue.get_job("1") is not None
                plugin.db.session.remove()
                plugin.db.engine.dispose()
    kits.close()
    del sys.modules["app_as_plugin"]


def test_application_may_come_after_tests_that_have_run_jobs(
    queue: ManagedQueueService, xpert_mq_server: EmbeddedServer
) -> None:
    """The kit has brought Celery by then, which does not make the process a worker."""
    kits = KitMaker(xpert_mq_server.url)
    with kits.kit({}) as kit:
        assert kit.run_jobs() == []
    kits.close()

    make_app("app", MANAGED_QUEUE_PREFIX="later")

    assert queue.settings.prefix == "later"
