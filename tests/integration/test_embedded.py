from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
import trustme
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.conftest import ServerFactory, require_redis
from xpert_mq import embedded
from xpert_mq.embedded import EmbeddedServer, EmbeddedServerError

SERVERS = pytest.mark.parametrize("binary", ["valkey", "redis"])


def client_of(url: str, timeout: float = 5) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=timeout, decode_responses=True, retry=Retry(NoBackoff(), 0))


def wait_until(condition: Callable[[], bool], timeout: float = 10) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "not within the deadline"
        time.sleep(0.01)


def process_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    stat = Path(f"/proc/{pid}/stat")  # a zombie has ended too: when its parent reaps it is not ours to say
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_server_answers(any_server: EmbeddedServer) -> None:
    with client_of(any_server.url) as tcp, client_of(any_server.unix_url) as unix:
        assert tcp.ping()
        assert tcp.info("server")["process_id"] == unix.info("server")["process_id"] == any_server.pid
    assert any_server.is_running


@SERVERS
def test_server_stop_leaves_nothing(server_factory: ServerFactory, binary: str) -> None:
    server = server_factory(binary=binary)
    pid, folder = server.pid, server.folder

    server.stop()
    server.stop()

    assert process_ended(pid)
    assert not folder.exists()
    assert not server.is_running
    with pytest.raises(EmbeddedServerError, match="not running"):
        _ = server.pid


def test_server_starts_again_after_stop(server_factory: ServerFactory) -> None:
    server = server_factory()
    url = server.url
    with client_of(url) as client:
        client.set("key", "value")
    server.stop()

    server.start()

    assert server.url == url
    with client_of(url) as client:
        assert client.get("key") is None


def test_server_second_start_refused(server: EmbeddedServer) -> None:
    with pytest.raises(EmbeddedServerError, match="runs already"):
        server.start()


@SERVERS
@pytest.mark.parametrize("how", ["restart", "kill"])
def test_server_appendonly_keeps_data(server_factory: ServerFactory, binary: str, how: str) -> None:
    server = server_factory(binary=binary, appendonly=True, appendfsync="always")
    url, folder, pid = server.url, server.folder, server.pid
    with client_of(url) as client:
        client.set("key", "value")

    if how == "restart":
        server.restart()
    else:
        server.kill()
        assert process_ended(pid)
        assert not server.is_running
        server.start()

    assert (server.url, server.folder) == (url, folder)
    assert server.pid != pid
    with client_of(url) as client:
        assert client.get("key") == "value"


@SERVERS
def test_server_data_folder_stays(server_factory: ServerFactory, tmp_path: Path, binary: str) -> None:
    place = tmp_path / 'a "new"\n\\place ü'
    place.mkdir()
    first = server_factory(binary=binary, appendonly=True, data_folder=place)
    own = first.folder
    with client_of(first.url) as client:
        client.set("key", "value")
    first.stop()

    assert not own.exists()
    assert list(place.iterdir())
    second = server_factory(binary=binary, appendonly=True, data_folder=place)
    with client_of(second.url) as client:
        assert client.get("key") == "value"


def test_server_freeze_and_thaw(server_factory: ServerFactory) -> None:
    server = server_factory()
    server.freeze()
    with client_of(server.url, timeout=0.2) as client, pytest.raises(redis.TimeoutError):
        client.ping()
    assert server.is_running

    server.thaw()

    with client_of(server.url) as client:
        assert client.ping()


@pytest.mark.parametrize("end", ["stop", "kill", "restart"])
def test_server_ends_while_frozen(server_factory: ServerFactory, end: str) -> None:
    server = server_factory()
    pid = server.pid
    server.freeze()

    getattr(server, end)()

    assert process_ended(pid)


@SERVERS
def test_server_password(server_factory: ServerFactory, binary: str) -> None:
    password = 'p/@:# "\\%é'
    server = server_factory(binary=binary, password=password)

    with client_of(server.url) as tcp, client_of(server.unix_url) as unix:
        assert tcp.ping()
        assert unix.ping()
    with (
        client_of(f"redis://127.0.0.1:{server.port}") as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_server_config(server_factory: ServerFactory) -> None:
    server = server_factory(config={"maxmemory": "64mb", "client-output-buffer-limit": "normal 1mb 0 0"})

    with client_of(server.url) as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(64 * 1024 * 1024)


@pytest.mark.parametrize("binary", ["auto", "redis"])
def test_server_tls(server_factory: ServerFactory, tmp_path: Path, binary: str) -> None:
    require_redis()
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    cert, key, ca = tmp_path / "cert.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    certificate.private_key_pem.write_to_path(key)
    cert.write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    authority.cert_pem.write_to_path(ca)

    server = server_factory(binary=binary, tls_cert=cert, tls_key=key, tls_ca=ca, password="pw")

    assert server.url.startswith("rediss://")
    with client_of(server.url) as client:
        assert client.ping()
    with (
        client_of(f"rediss://:pw@127.0.0.1:{server.port}") as client,
        pytest.raises(redis.ConnectionError, match="CERTIFICATE"),
    ):
        client.ping()


def test_server_tls_without_support(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerError, match=r"no TLS in .*valkey"):
        EmbeddedServer(binary="valkey", tls_cert=tmp_path / "c", tls_key=tmp_path / "k").start()


def test_server_tls_half_named() -> None:
    with pytest.raises(EmbeddedServerError, match="both"):
        EmbeddedServer(tls_cert="cert.pem")


@SERVERS
def test_server_port_given_and_taken(server_factory: ServerFactory, binary: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EmbeddedServerError, match="Address already in use") as caught:
            server_factory(binary=binary, port=port)

    assert "Address already in use" in caught.value.log


def test_server_port_race_tried_again(server_factory: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = embedded._free_port()
        offered = [taken.getsockname()[1], free]
        monkeypatch.setattr(embedded, "_free_port", lambda: offered.pop(0))

        server = server_factory()

    assert server.port == free


def test_server_start_failure_shows_log_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    server = EmbeddedServer(config={"no-such-setting": "1"})

    with pytest.raises(EmbeddedServerError, match="ended while it started") as caught:
        server.start()

    assert "no-such-setting" in caught.value.log
    assert list(tmp_path.iterdir()) == []


def test_server_without_binary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")

    with pytest.raises(EmbeddedServerError, match="install redis-server"):
        EmbeddedServer(binary="redis").start()


def test_server_unused_has_no_port() -> None:
    with pytest.raises(EmbeddedServerError, match="first start"):
        _ = EmbeddedServer().url


def test_server_outlives_thread_that_started_it(server_factory: ServerFactory) -> None:
    started: list[EmbeddedServer] = []
    thread = threading.Thread(target=lambda: started.append(server_factory()))
    thread.start()
    thread.join()

    with client_of(started[0].url) as client:
        assert client.ping()
    assert started[0].is_running


OWNER = """
import os, signal, sys
from xpert_mq.embedded import EmbeddedServer
server = EmbeddedServer()
server.start()
print(server.pid, server.folder, flush=True)
how = sys.argv[1]
if how == "exit":
    sys.exit()
if how == "killed-after-server":
    server.kill()
if how == "killed-with-fork" and os.fork() == 0:
    signal.pause()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["exit", "killed", "killed-after-server", "killed-with-fork"])
def test_server_ends_with_its_owner(how: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", OWNER, how], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as owner:
        assert owner.stdout is not None
        pid, folder = owner.stdout.readline().split()
        owner.wait()
        try:
            wait_until(lambda: process_ended(int(pid)) and not Path(folder).exists())
        finally:
            if how == "killed-with-fork":
                os.killpg(owner.pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux signals a child whose parent died")
def test_server_ends_with_its_guard(server_factory: ServerFactory) -> None:
    server = server_factory()
    pid = server.pid
    guard = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

    os.kill(guard, signal.SIGKILL)

    wait_until(lambda: not server.is_running)
    wait_until(lambda: process_ended(pid))
