"""Services on real servers, and what stands in for a worker."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.integration.pretend import PretendWorker
from tests.integration.proxy import Proxy
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.service import ManagedQueueService
from xpert_mq.settings import Settings

ServiceFactory = Callable[..., ManagedQueueService]


@pytest.fixture
def service_factory() -> Iterator[ServiceFactory]:
    """Makes services with a prefix of their own from a URL and further settings; closes them."""
    with ExitStack() as open_services:

        def make(redis_url: str, **settings: Any) -> ManagedQueueService:
            service = ManagedQueueService(
                Settings(**{"redis_url": redis_url, "prefix": f"test:{uuid.uuid4().hex}", **settings})
            )
            open_services.callback(service.close)
            return service

        yield make


@pytest.fixture
def service(server: EmbeddedServer, service_factory: ServiceFactory) -> ManagedQueueService:
    """A service on the shared Valkey."""
    return service_factory(server.url)


@pytest.fixture
def any_service(any_server: EmbeddedServer, service_factory: ServiceFactory) -> ManagedQueueService:
    """Like `service`; the test runs on each kind of server."""
    return service_factory(any_server.url)


@pytest.fixture
def worker(service: ManagedQueueService) -> PretendWorker:
    """Stands in for the workers of `service`."""
    return PretendWorker(service)


@pytest.fixture
def any_worker(any_service: ManagedQueueService) -> PretendWorker:
    """Stands in for the workers of `any_service`."""
    return PretendWorker(any_service)


@pytest.fixture
def proxy(server: EmbeddedServer) -> Iterator[Proxy]:
    """A proxy before the shared Valkey."""
    with Proxy(server.port) as running:
        yield running
