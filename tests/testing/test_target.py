"""Where the process-wide service points, and what comes back after a test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.testing.plugin import JOB
from xpert_mq import JobContext, ManagedQueueService, PluginContext, PluginLoadError, Settings, registry
from xpert_mq import managed_queue as service
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.plugins import MANAGED_QUEUE_SERVICE_TOKEN
from xpert_mq.testing.kit import KitMaker
from xpert_mq.testing.target import Targets, WatchedExecutor, force

ELSEWHERE = Settings(redis_url="redis://127.0.0.1:1/0", payload_limit=5)


@pytest.fixture
def targets(xpert_mq_server: EmbeddedServer) -> Iterator[Targets]:
    made = Targets(xpert_mq_server.url)
    yield made
    made.close()


@contextmanager
def wrapper(_: JobContext) -> Iterator[None]:
    yield


def test_everything_is_put_back(targets: Targets) -> None:
    state, environment = dict(vars(service)), dict(os.environ)
    wrappers = registry._wrappers
    unregister = registry.register(**JOB, handler=print)
    kept = registry.handlers()

    with targets.pointed({"prefix": "other", "plugins": ("tests.testing.plugin",)}):
        assert os.environ["MANAGED_QUEUE_PREFIX"] == service.settings.prefix == "other"
        assert service.get_redis().ping()
        executor = service.executor
        assert isinstance(executor, WatchedExecutor)
        executor.before = print
        service.commit_hook = lambda jobs, using: False  # type: ignore[assignment]
        registry.register(**JOB, handler=repr)
        registry.add_wrapper(wrapper)
        assert len(registry.handlers()) == len(kept) + 1, "the plugin's other handler"

    try:
        assert executor.before is None
        assert registry.handlers() == kept
        assert registry._wrappers == wrappers
        assert (dict(vars(service)), dict(os.environ)) == (state, environment)
    finally:
        unregister()


def test_service_that_a_framework_has_configured_by_a_function(targets: Targets) -> None:
    """As Django's integration does, whose settings are read late."""
    service.configure(lambda: ELSEWHERE)
    try:
        with targets.pointed({}):
            assert (service.settings.redis_url, service.settings.payload_limit) == (targets.redis_url, 5)
            service.configure(lambda: ELSEWHERE.model_copy(update={"payload_limit": 6}))
            assert (service.settings.redis_url, service.settings.payload_limit) == (targets.redis_url, 6)
        assert service.settings == ELSEWHERE
    finally:
        service.configure(None)


def test_server_that_the_environment_names_is_not_even_read(targets: Targets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XPERT_MQ_REDIS_URL", "nonsense")
    with targets.pointed({}):
        assert service.get_redis().ping()


def test_plugin_that_can_not_be_loaded_is_an_error_and_everything_is_put_back(targets: Targets) -> None:
    state, environment = dict(vars(service)), dict(os.environ)
    with (
        pytest.raises(PluginLoadError, match="No module named 'no_such_plugin'"),
        targets.pointed({"plugins": ("no_such_plugin",)}),
    ):
        pass
    assert (dict(vars(service)), dict(os.environ)) == (state, environment)


def test_connections_live_on_from_test_to_test(targets: Targets) -> None:
    with targets.pointed({}):
        first = service.get_redis(), service.executor
    with targets.pointed({}):
        assert (service.get_redis(), service.executor) == first


def test_node_of_one_test_is_not_dead_in_the_next(
    xpert_mq_server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    kits = KitMaker(xpert_mq_server.url)
    for _ in range(2):
        with kits.kit({}) as kit:
            kit.service.enqueue(**JOB)
            assert len(kit.run_jobs()) == 1
    kits.close()
    assert "declared dead" not in caplog.text


def test_framework_that_starts_in_a_test_stays_on_its_server(managed_queue: ManagedQueueService) -> None:
    url = managed_queue.settings.redis_url
    managed_queue.configure(ELSEWHERE)
    assert (managed_queue.settings.redis_url, managed_queue.settings.payload_limit) == (url, 5)
    assert managed_queue.get_redis().ping()
    assert PluginContext("acme").resolve(MANAGED_QUEUE_SERVICE_TOKEN) is managed_queue


def test_worker_stays_on_the_server_whatever_a_framework_says(targets: Targets) -> None:
    with targets.pointed({}):
        force({"redis_url": targets.redis_url, "prefix": "forced"})
        assert service.settings.prefix == "forced"
        service.configure(ELSEWHERE)
        wanted = ELSEWHERE.model_copy(update={"redis_url": targets.redis_url, "prefix": "forced"})
        assert service.settings == wanted
        assert service.get_redis().ping()
