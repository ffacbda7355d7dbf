"""Servers and settings that the tests share."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from xpert_mq.embedded import EmbeddedServer
from xpert_mq.settings import Settings

ServerFactory = Callable[..., EmbeddedServer]


def require_redis() -> None:
    """Skip where redis-server is not installed, but fail in CI, which installs it."""
    if shutil.which("redis-server") is None:
        missing = "redis-server is not on the PATH"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """One Valkey for the whole run: do not stop or freeze it, and keep to a prefix of your own (see `settings`)."""
    with EmbeddedServer(binary="valkey") as running:
        yield running


@pytest.fixture(scope="session", params=["valkey", "redis"])
def any_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedServer]:
    """Like `server`; the test runs on each kind of server."""
    if request.param == "valkey":
        yield request.getfixturevalue("server")
        return
    require_redis()
    with EmbeddedServer(binary="redis") as running:
        yield running


@pytest.fixture
def server_factory() -> Iterator[ServerFactory]:
    """Makes started servers with the given options, for this test alone; they may be killed, frozen and restarted."""
    with ExitStack() as servers:

        def make(**options: Any) -> EmbeddedServer:
            if options.get("binary") == "redis":
                require_redis()
            return servers.enter_context(EmbeddedServer(**options))

        yield make


@pytest.fixture
def settings(server: EmbeddedServer) -> Settings:
    """Settings of a platform of the test's own on the shared server."""
    return Settings(redis_url=server.url, prefix=f"test:{uuid.uuid4().hex}")
