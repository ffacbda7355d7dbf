"""Handlers in a worker of a Flask application: its context, its sessions, its settings."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.acceptance.conftest import slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for
from tests.contrib.flask import shop
from xpert_mq.embedded import EmbeddedServer

APP = "tests.contrib.flask.shop:create_app"


class Shop(Deployment):
    """A platform whose prefix the application's config names, and no variable."""

    def __init__(self, server: EmbeddedServer, folder: Any, **env: str) -> None:
        super().__init__(server, folder, FLASK_APP=APP, SHOP_DATABASE=f"sqlite:///{folder / 'shop.sqlite3'}", **env)
        del self.env["MANAGED_QUEUE_PREFIX"], self.env["XPERT_MQ_PLUGINS"]
        self.env["SHOP_PREFIX"] = self.prefix

    def start_worker(self, *options: str) -> Any:
        process = self.spawn("-m", "flask", "managed-jobs", "worker", "-l", "INFO", *options, name="worker")
        wait_for(lambda: b" ready." in process.logs() or not process.logs().endswith(b"\n"), "a ready worker", 30)
        return process

    def order(self, queue: str, then: str) -> tuple[Any, str]:
        """The job when it has ended, and the id of the one that it adds."""
        following = uuid.uuid4().hex
        job_id = self.service.enqueue(
            plugin_name=shop.PLUGIN, queue_name=queue, job_name="order", payload={"then": then, "next": following}
        ).job_id
        return self.finished(job_id), following


@pytest.fixture(scope="module", params=["prefork", slow("threads"), slow("gevent"), slow("solo")])
def site(
    request: pytest.FixtureRequest, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    with closing(Shop(server, tmp_path_factory.mktemp("shop"))) as platform:
        platform.start_worker("--pool", request.param)
        yield platform


@pytest.mark.parametrize("queue", ["sync", "async"])
def test_handler_runs_in_the_application_and_its_session_ends_with_it(site: Shop, queue: str) -> None:
    before = site.order(queue, "leave")[0].return_value["orders"]
    for then in ("leave", "raise", "leave"):
        site.order(queue, then)
    done, _ = site.order(queue, "commit")

    assert done.return_value == {
        "app": shop.__name__,
        "begun": False,
        "used": 0,
        "orders": before,
        "own_connection": True,
    }
    assert site.order(queue, "leave")[0].return_value["orders"] == before + 1


@pytest.mark.parametrize("queue", ["sync", "async"])
def test_job_of_a_handler_is_added_by_its_commit_alone(site: Shop, queue: str) -> None:
    failed, none = site.order(queue, "raise")
    _, nothing = site.order(queue, "leave")
    _, following = site.order(queue, "commit")

    assert site.finished(following).return_value == shop.__name__
    assert (failed.state, failed.failed_reason) == ("failed", "out of stock")
    assert site.service.get_job(none) is None
    assert site.service.get_job(nothing) is None


def test_settings_of_the_config_must_be_a_workers_own(server: EmbeddedServer, tmp_path: Any) -> None:
    with closing(Shop(server, tmp_path, XPERT_MQ_PLUGINS="xpert_mq.contrib.flask.worker")) as platform:
        platform.env["XPERT_MQ_PLUGINS"] = "xpert_mq.contrib.flask.worker"
        worker = platform.worker()

        assert "MANAGED_QUEUE_PREFIX of the Flask config came too late" in worker.logs()
