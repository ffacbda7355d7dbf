"""Points the process-wide service at a test's server, so that code under test needs no change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from xpert_mq import eventloop
from xpert_mq.handlers import Handler, HandlerRegistry, registry
from xpert_mq.plugins import load_plugins
from xpert_mq.service import ManagedQueueService, managed_queue
from xpert_mq.settings import Settings, get_settings
from xpert_mq.store.connection import Call, Executor, R

#: What `ManagedQueueService.configure` takes.
Given = Settings | Callable[[], Settings] | None


class WatchedExecutor(Executor):
    """Lets somebody look at a call of a thread before it is sent; who may raise in its place."""

    before: Callable[[Call[Any]], None] | None = None

    def run(self, call: Call[R], *, timeout: float | None = None) -> R:
        """As the base class."""
        if self.before is not None:
            self.before(call)
        return super().run(call, timeout=timeout)


class Targets:
    """The services of one server, one for each of the settings that tests ask for; connections live on between tests.

    Args:
        redis_url: of the server, which must be there for these tests alone.
    """

    def __init__(self, redis_url: str) -> None:
        self.redis_url = redis_url
        self._services: dict[Settings, ManagedQueueService] = {}
        self._plugins: dict[tuple[str, ...], list[Handler]] = {}

    def close(self) -> None:
        """Closes the connections, those of async handlers too, whose loop goes on."""
        for service in self._services.values():
            service.close()
            if eventloop.is_running():
                eventloop.run_in_loop(service.aclose())

    @contextmanager
    def pointed(self, overrides: Mapping[str, Any]) -> Iterator[Settings]:
        """Within the block the process-wide service, the environment and `get_settings` name this server.

        Args:
            overrides: settings by their fields' names; all others are the process' own.

        Raises:
            PluginLoadError: a plugin that the setting `plugins` names; one of an entry point is only logged.
        """
        before = dict(vars(managed_queue))
        given: Given = managed_queue.given_settings
        lasting: list[Given] = []

        def configure(wanted: Given) -> None:
            # A framework that starts within the test must not lead away from the test's server.
            nonlocal given
            given = wanted
            self._use(_merged(wanted, {**overrides, "redis_url": self.redis_url}), configure)

        with ExitStack() as undo:
            undo.callback(self._put_back, before, lasting)
            configure(given)
            settings, own = managed_queue.settings, given
            undo.enter_context(_environment(settings.environment({*overrides, "redis_url", "prefix"})))
            plugins = self._handlers_of(settings)
            # What plugins set up when they are imported is for all tests, since they are imported once.
            before["commit_hook"] = managed_queue.commit_hook
            if given is not own:
                lasting.append(given)
            undo.enter_context(registry.put_back())
            registry.adopt(plugins)
            yield settings

    def _put_back(self, state: dict[str, Any], configured: list[Given]) -> None:
        vars(managed_queue).clear()
        vars(managed_queue).update(state)
        for service in self._services.values():
            _executor(service).before = None
        for given in configured:
            managed_queue.configure(given)

    def _handlers_of(self, settings: Settings) -> list[Handler]:
        # The process loads its plugins once, and tests may want others each time.
        if settings.plugins not in self._plugins:
            loaded = HandlerRegistry()
            for plugin in load_plugins(settings, loaded):
                if plugin.error is not None and plugin.target in settings.plugins:
                    raise plugin.error
            self._plugins[settings.plugins] = loaded.handlers()
        return self._plugins[settings.plugins]

    def _use(self, settings: Settings, configure: Callable[[Given], None]) -> None:
        service = self._services.get(settings) or self._services.setdefault(settings, _service(settings))
        # One object goes on being the service: whoever has imported it keeps it.
        vars(managed_queue).update(vars(service), configure=configure, commit_hook=managed_queue.commit_hook)


def _executor(service: ManagedQueueService) -> WatchedExecutor:
    executor = service.executor
    assert isinstance(executor, WatchedExecutor)
    return executor


def force(overrides: Mapping[str, Any]) -> None:
    """For the rest of the process these settings go before all others, also those that a framework brings."""

    def configure(wanted: Given) -> None:
        ManagedQueueService.configure(managed_queue, _merged(wanted, overrides))

    vars(managed_queue)["configure"] = configure
    configure(None)


def _merged(given: Given, overrides: Mapping[str, Any]) -> Settings:
    settings = given() if callable(given) else given
    # What is overridden is not read from the environment, and may be wrong there.
    return Settings(**{**(settings.model_dump() if settings else {}), **overrides})


def _service(settings: Settings) -> ManagedQueueService:
    service = ManagedQueueService(settings)
    _ = service.settings, service.store, service.async_executor
    service.executor = WatchedExecutor(settings)
    return service


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    get_settings.cache_clear()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        get_settings.cache_clear()
