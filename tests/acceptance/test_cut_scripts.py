"""A worker's connection breaks at each of its scripts, before or after that has run: no job and no try is lost or
doubled, and the worker goes on by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.conftest import DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for
from tests.conftest import ServerFactory
from tests.integration.proxy import Cut, Proxy
from xpert_mq.store.scripts import Script


@pytest.fixture
def cutter(server_factory: ServerFactory) -> Iterator[tuple[Proxy, Any]]:
    server = server_factory()
    with Proxy(server.port) as running:
        yield running, server


def _run_cut(site: Deployment, cutter: Proxy, script: Script, where: Cut, queue: str) -> None:
    """The connection breaks once while a job fails its first try, waits, and ends."""
    cuts = cutter.cuts
    cutter.cut(where, script=script)
    job_id = site.enqueue("fail", {"times": 1, "how": "plain"}, queue=queue, attempts=2, backoff_ms=50)

    ended = site.finished(job_id, timeout=20)

    wait_for(lambda: cutter.cuts == cuts + 1, "the break")
    assert (ended.state, ended.attempts_made) == ("completed", 2)
    assert [note["attempts_made"] for note in site.notes(job_id) if note["event"] == "start"] == [0, 1]
    after = [site.enqueue("echo", queue=one) for one in ("sync", "async")]
    assert [site.finished(one, timeout=20).state for one in after] == ["completed"] * 2


@pytest.mark.parametrize("pool", ["threads", slow("prefork"), slow("solo"), slow("asyncio"), slow("gevent")])
@pytest.mark.parametrize("where", [slow("before"), "after"])
def test_connections_cut_at_a_script(
    deploy: DeploymentFactory, cutter: tuple[Proxy, Any], pool: str, where: Cut
) -> None:
    proxy, server = cutter
    # Of the settings that scripts depend on it has the defaults, as the test has.
    site = deploy(server, XPERT_MQ_HEARTBEAT_INTERVAL="0.2")
    worker = site.worker(pool=pool, XPERT_MQ_REDIS_URL=proxy.url)
    site.run("fail", {"times": 1, "how": "plain"}, attempts=2)

    for place, name in enumerate(("claim", "retry", "finish", "beat", "promote", "fetch")):
        _run_cut(site, proxy, site.service.store._script(name), where, ("sync", "async")[place % 2])

    assert "it runs again" not in worker.logs()
