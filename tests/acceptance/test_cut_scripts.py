"""A worker's connection breaks at each of its scripts, before or after that has run: no job and no try is lost or
doubled, and the worker goes on by itself.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.conftest import DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for
from tests.conftest import ServerFactory
from tests.integration.proxy import Cut, Proxy, _end, _received, _sent
from xpert_mq.store.scripts import Script


class ScriptCutter(Proxy):
    """Breaks the connection at the call of one script."""

    def __init__(self, server_port: int) -> None:
        super().__init__(server_port)
        self._script = b""

    def cut_script(self, script: Script, where: Cut) -> None:
        """Breaks the next call of this script alone, as `cut` does that of any."""
        self._script = script.sha.encode()
        self.cut(where)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            self._sockets += [client, server]
            pair = _Connection(self, client, server)
            self._start(pair.carry_commands)
            self._start(pair.carry_replies)

    def is_called(self, data: bytes) -> bool:
        """Whether the script is called there."""
        return bool(self._script) and self._script in data


class _Connection:
    """A worker's connection and its own to the server."""

    def __init__(self, cutter: ScriptCutter, client: socket.socket, server: socket.socket) -> None:
        self._cutter = cutter
        self._client = client
        self._server = server
        self._sent = b""

    def carry_commands(self) -> None:
        for data in _received(self._client):
            if self._cutter.is_called(data) and self._cutter.take_cut("before"):
                break
            self._sent = data
            if not _sent(self._server, data):
                break
        self._end()

    def carry_replies(self) -> None:
        for data in _received(self._server):
            ran = self._cutter.is_called(self._sent) and not data.startswith(b"-NOSCRIPT")
            if ran and self._cutter.take_cut("after"):
                break
            if not _sent(self._client, data):
                break
        self._end()

    def _end(self) -> None:
        _end(self._client)
        _end(self._server)


@pytest.fixture
def cutter(server_factory: ServerFactory) -> Iterator[tuple[ScriptCutter, Any]]:
    server = server_factory()
    with ScriptCutter(server.port) as running:
        yield running, server


def _run_cut(site: Deployment, cutter: ScriptCutter, script: Script, where: Cut, queue: str) -> None:
    """The connection breaks once while a job fails its first try, waits, and ends."""
    cuts = cutter.cuts
    cutter.cut_script(script, where)
    job_id = site.enqueue("fail", {"times": 1, "how": "plain"}, queue=queue, attempts=2, backoff_ms=50)

    ended = site.finished(job_id, timeout=20)

    wait_for(lambda: cutter.cuts == cuts + 1, "the break")
    assert (ended.state, ended.attempts_made) == ("completed", 2)
    assert [note["attempts_made"] for note in site.notes(job_id) if note["event"] == "start"] == [0, 1]
    after = [site.enqueue("echo", queue=one) for one in ("sync", "async")]
    assert [site.finished(one, timeout=20).state for one in after] == ["completed"] * 2


@pytest.mark.parametrize("pool", ["threads", slow("prefork"), slow("solo"), slow("gevent")])
@pytest.mark.parametrize("where", [slow("before"), "after"])
def test_connections_cut_at_a_script(
    deploy: DeploymentFactory, cutter: tuple[ScriptCutter, Any], pool: str, where: Cut
) -> None:
    proxy, server = cutter
    # Of the settings that scripts depend on it has the defaults, as the test has.
    site = deploy(server, XPERT_MQ_HEARTBEAT_INTERVAL="0.2")
    worker = site.worker(pool=pool, XPERT_MQ_REDIS_URL=proxy.url)
    site.run("fail", {"times": 1, "how": "plain"}, attempts=2)

    for place, name in enumerate(("claim", "retry", "finish", "beat", "promote", "fetch")):
        _run_cut(site, proxy, site.service.store._script(name), where, ("sync", "async")[place % 2])

    assert "it runs again" not in worker.logs()
