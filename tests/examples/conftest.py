"""A platform with the wechat plugin, a tenant per test, and a chat service per test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing

import pytest

from examples.wechat.server import ChatServer
from tests.examples.site import Site
from xpert_mq import request_context
from xpert_mq.embedded import EmbeddedServer


@pytest.fixture(scope="session")
def site(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two workers, one with threads and one with child processes."""
    one = Site(server, tmp_path_factory.mktemp("wechat"))
    with closing(one.deployment):
        workers = [
            one.deployment.worker("--concurrency", number, pool=pool, wait=False)
            for pool, number in (("threads", "6"), ("prefork", "2"))
        ]
        for worker in workers:
            worker.wait_for_line(" ready.", 30)
        yield one


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture(autouse=True)
def tenant() -> Iterator[str]:
    """A tenant of the test's own: all that a test calls it calls for it."""
    name = uuid.uuid4().hex
    with request_context(tenant_id=name, organization_id="hq"):
        yield name
