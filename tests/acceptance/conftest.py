"""Platforms for the acceptance tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.deployment import Deployment
from xpert_mq.embedded import EmbeddedServer

POOLS = ("prefork", "threads", "asyncio", "solo", "gevent")
DeploymentFactory = Callable[..., Deployment]


def slow(value: str) -> Any:
    """A parameter, mostly a pool, that another one stands for in `make test`."""
    return pytest.param(value, marks=pytest.mark.slow)


#: Those of `make test`, where the others would tell the same; and, for what handlers do, gevent too.
MOST_POOLS = tuple(slow(pool) if pool in ("gevent", "solo") else pool for pool in POOLS)
HANDLER_POOLS = tuple(slow(pool) if pool == "solo" else pool for pool in POOLS)


@pytest.fixture(scope="module", params=HANDLER_POOLS)
def site(
    request: pytest.FixtureRequest, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A platform of this module's own, with one worker of each pool in turn, which runs one job at a time."""
    folder = tmp_path_factory.mktemp(request.param)
    loader = "tests.acceptance.plugin:load_user"
    with closing(Deployment(server, folder, XPERT_MQ_USER_LOADER=loader)) as platform:
        platform.worker(pool=request.param)
        yield platform


@pytest.fixture
def deploy(server: EmbeddedServer, tmp_path: Path) -> Iterator[DeploymentFactory]:
    """Makes platforms for this test alone, on the shared server if no other is given; their processes end with it."""
    with ExitStack() as deployments:

        def make(on: EmbeddedServer = server, folder: Path = tmp_path, **options: Any) -> Deployment:
            return deployments.enter_context(closing(Deployment(on, folder, **options)))

        yield make


@pytest.fixture
def deployment(deploy: DeploymentFactory) -> Deployment:
    """A platform of the test's own on the shared server."""
    return deploy()
