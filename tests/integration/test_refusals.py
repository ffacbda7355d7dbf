"""A server that is there and refuses, or is none at all: a typed error, in time."""

from __future__ import annotations

import threading
import time

import pytest

from tests.integration.conftest import ServiceFactory
from tests.integration.fake_server import fake_server
from tests.integration.pretend import JOB
from tests.integration.test_unavailable import HOW, TIMEOUT, call, refused
from xpert_mq.errors import QueueUnavailableError


def _old_server(command: bytes) -> bytes:
    if command.startswith(b"EVALSHA"):
        return b"-NOSCRIPT No matching script. Please use EVAL.\r\n"
    if command.startswith(b"SCRIPT LOAD"):
        return b"-ERR Error compiling script (new function): user_script:1: unexpected symbol near '#'\r\n"
    if command.startswith(b"INFO"):
        text = b"# Server\r\nredis_version:6.2.14\r\nredis_mode:standalone\r\n"
        return b"$%d\r\n%b\r\n" % (len(text), text)
    return b"+OK\r\n"


@HOW
async def test_unavailable_server_too_old(service_factory: ServiceFactory, how: str) -> None:
    with fake_server(_old_server) as url:
        service = service_factory(url, enqueue_timeout=TIMEOUT)

        error = await refused(service, how)

    assert "6.2.14" in str(error)
    assert "7.0" in str(error)
    assert "s3cret" not in str(error)
    assert error.may_have_been_added is False
    assert error.job_id == "id"


@HOW
async def test_unavailable_server_loading_its_data(service_factory: ServiceFactory, how: str) -> None:
    def loading(command: bytes) -> bytes:
        known = (b"AUTH", b"CLIENT", b"SELECT", b"INFO")
        return b"+OK\r\n" if command.startswith(known) else b"-LOADING Redis is loading the dataset in memory\r\n"

    with fake_server(loading) as url:
        error = await refused(service_factory(url, enqueue_timeout=TIMEOUT), how)

    assert error.job_id == "id"


@HOW
@pytest.mark.parametrize(
    "answer",
    [
        "-READONLY You can't write against a read only replica.",
        "-MISCONF Errors writing to the AOF file: No space left on device",
        "-MASTERDOWN Link with MASTER is down",
        "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
        "-NOREPLICAS Not enough good replicas to write.",
        "-CLUSTERDOWN The cluster is down",
        "-NOPERM User default has no permissions to run the 'evalsha' command",
        "-OOM command not allowed when used memory > 'maxmemory'.",
    ],
)
async def test_unavailable_server_that_refuses(service_factory: ServiceFactory, how: str, answer: str) -> None:
    """Whatever the server says against writing now: a typed error, and nothing was added."""

    def refuse(command: bytes) -> bytes:
        return b"%b\r\n" % answer.encode() if command.startswith(b"EVALSHA") else b"+OK\r\n"

    with fake_server(refuse) as url:
        error = await refused(service_factory(url, enqueue_timeout=TIMEOUT), how)

    assert (error.job_id, error.may_have_been_added) == ("id", False)
    assert answer.split()[2] in str(error)


@HOW
async def test_unavailable_slow_handshake_then_silence(service_factory: ServiceFactory, how: str) -> None:
    """The time is the whole call's, not each reply's."""
    silent = threading.Event()

    def slow(command: bytes) -> bytes:
        if command.startswith(b"EVALSHA"):
            silent.wait(10)
        elif command.startswith((b"AUTH", b"SELECT", b"CLIENT SETINFO")):
            silent.wait(0.8 * TIMEOUT)
        return b"+OK\r\n"

    with fake_server(slow) as url:
        service = service_factory(url, enqueue_timeout=TIMEOUT)
        started = time.monotonic()
        with pytest.raises(QueueUnavailableError):
            await call(service, how, "enqueue", JOB)
        took = time.monotonic() - started
        silent.set()

    assert took < 1.5 * TIMEOUT


@HOW
async def test_unavailable_not_a_redis_at_all(service_factory: ServiceFactory, how: str) -> None:
    with fake_server(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        error = await refused(service_factory(url, enqueue_timeout=TIMEOUT), how)

    assert "s3cret" not in str(error)


@HOW
async def test_unavailable_host_that_does_not_resolve(service_factory: ServiceFactory, how: str) -> None:
    service = service_factory("redis://no-such-host.invalid:6379/0", enqueue_timeout=TIMEOUT)

    assert (await refused(service, how)).may_have_been_added is False
