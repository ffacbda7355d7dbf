"""Sends calls to Redis: kept connections, deadlines, and the re-sending of what a broken connection left open.

redis-py makes, secures and reads the connections; its client, which re-sends on its own and costs more than the round
trip, is not on this path. A call that may be sent twice carries a nonce, so the scripts give it the same answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import redis
import redis.asyncio
from redis import exceptions

from xpert_mq.errors import QueueUnavailableError
from xpert_mq.settings import Settings
from xpert_mq.store.scripts import Script

R = TypeVar("R")

OLDEST_SERVER = (7, 0)

#: What is sent in one go: one round trip, and the bound of what it may hold back other clients.
BATCH = 250
BATCH_BYTES = 2 * 1024 * 1024

#: The server answered that it won't do this, or not now.
_REFUSED = (exceptions.ReadOnlyError, exceptions.OutOfMemoryError, exceptions.NoPermissionError)
#: Waiting doesn't help.
_FINAL = (
    exceptions.AuthenticationError,
    exceptions.AuthorizationError,
    exceptions.OutOfMemoryError,
    exceptions.NoPermissionError,
)
#: The same call may succeed, or is known to have failed for a reason that is the server's. (asyncio's timeout is an
#: OSError.)
_TROUBLE = (exceptions.ConnectionError, exceptions.TimeoutError, OSError, *_REFUSED, *_FINAL)


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """One operation, built once and sent by either executor."""

    script: Script
    values: Mapping[str, object]
    #: Turns the reply into the result.
    parse: Callable[[Any], R]
    job_id: str | None = None

    def packed(self, *, resend: bool) -> bytes:
        """The command's bytes. A script that answers a repeated call in its own way is told that this is one."""
        values = self.values
        if "resend" in self.script.args:
            values = {**values, "resend": int(resend)}
        return pack(self.script.values(values))


def pack(values: Sequence[object]) -> bytes:
    """A command in Redis' protocol (redis-py's own packer takes three times as long)."""
    out = [b"*%d\r\n" % len(values)]
    for value in values:
        data = value.encode() if type(value) is str else value if type(value) is bytes else str(value).encode()
        out.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(out)


def connection_class_and_options(url: str, timeout: float, *, asynchronous: bool = False) -> tuple[Any, dict[str, Any]]:
    """redis-py's class for the URL's scheme, and the arguments that it reads from the URL; for store and broker alike.

    Args:
        timeout: seconds, to connect and to wait for each reply.
    """
    part: Any = redis.asyncio.connection if asynchronous else redis.connection
    options: dict[str, Any] = part.parse_url(url)
    kind = options.pop("connection_class", part.Connection)
    # Replies as bytes, in the protocol's second version (no handshake), and no re-sending by redis-py.
    options.update(
        socket_timeout=timeout, socket_connect_timeout=timeout, protocol=2, decode_responses=False, retry=None
    )
    return kind, options


class _Run:
    """The rules of one execution that both executors follow: batches, deadline, pauses, what may have happened."""

    def __init__(self, settings: Settings, calls: Sequence[Call[Any]], timeout: float | None) -> None:
        self._settings = settings
        self._calls = calls
        self._timeout = settings.enqueue_timeout if timeout is None else timeout
        self._deadline = time.monotonic() + self._timeout
        self._replies: list[Any] = [None] * len(calls)
        self._sent = False
        self.open = list(range(len(calls)))
        self.failures = 0

    def left(self) -> float:
        """Seconds until the deadline; never 0, which sockets take for "don't block"."""
        return max(0.001, self._deadline - time.monotonic())

    def next_batch(self) -> tuple[list[int], list[bytes]]:
        """The places of the calls to send now, and their commands."""
        places: list[int] = []
        commands: list[bytes] = []
        size = 0
        for place in self.open[:BATCH]:
            command = self._calls[place].packed(resend=self.failures > 0)
            size += len(command)
            if commands and size > BATCH_BYTES:
                break
            places.append(place)
            commands.append(command)
        self._sent = True
        return places, commands

    def take(self, places: Sequence[int], replies: Sequence[Any]) -> list[Script]:
        """Keeps the replies to a batch. Returns the scripts that the server didn't know, whose calls stay open."""
        unknown: dict[str, Script] = {}
        again: list[int] = []
        trouble: Exception | None = None
        for place, reply in zip(places, replies, strict=True):
            if isinstance(reply, exceptions.NoScriptError):
                script = self._calls[place].script
                unknown[script.sha] = script
                again.append(place)
            elif isinstance(reply, _REFUSED):
                trouble = reply
                again.append(place)
            else:
                self._replies[place] = reply
        self.open = again + self.open[len(places) :]
        if trouble:
            raise trouble
        # A long list of calls has this much time for each batch.
        self._deadline = time.monotonic() + self._timeout
        return list(unknown.values())

    def pause(self, error: Exception) -> float:
        """Seconds until the next attempt. Raises QueueUnavailableError when there is none."""
        wait = 0.0 if self.failures == 0 else min(0.01 * 2**self.failures, 0.25)
        self.failures += 1
        if isinstance(error, _FINAL) or time.monotonic() + wait >= self._deadline:
            raise self._unavailable(error) from error
        return wait

    def _unavailable(self, error: Exception) -> QueueUnavailableError:
        reason = str(error) or f"no answer within {self._timeout:g} s"
        # A refusal is an answer: this call was not carried out, unless an earlier sending of it was.
        may_have_been_added = self._sent and (self.failures > 1 or not isinstance(error, _REFUSED))
        job_id = self._calls[self.open[0]].job_id
        return QueueUnavailableError(
            self._settings.safe_redis_url, reason, job_id=job_id, may_have_been_added=may_have_been_added
        )

    def results(self) -> list[Any]:
        """The parsed replies, in the order of the calls. Raises the first error reply."""
        for reply in self._replies:
            if isinstance(reply, Exception):
                raise reply
        return [call.parse(reply) for call, reply in zip(self._calls, self._replies, strict=True)]


def check_server(info: bytes | str | dict[str, Any], settings: Settings) -> None:
    """Raises QueueUnavailableError when the server (its `INFO server`) is too old for the scripts."""
    if not isinstance(info, dict):
        text = info.decode() if isinstance(info, bytes) else info
        info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    version = str(info.get("redis_version", "0"))
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
        raise QueueUnavailableError(
            settings.safe_redis_url, f"the server is Redis {version}; Redis 7.0 or Valkey 7.2 is the oldest that serves"
        )


class Executor:
    """Runs calls from threads. Safe to share between threads and to carry through a fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pools: dict[int, deque[Any]] = {}
        self._pid = os.getpid()
        self._class, self._options = connection_class_and_options(settings.redis_url, settings.enqueue_timeout)

    def run(self, call: Call[R], *, timeout: float | None = None) -> R:
        """The call's result. Raises QueueUnavailableError after `timeout` seconds (default: the setting)."""
        result: R = self.run_many((call,), timeout=timeout)[0]
        return result

    def run_many(self, calls: Sequence[Call[Any]], *, timeout: float | None = None) -> list[Any]:
        """The results in the order of the calls, sent in batches."""
        run = _Run(self._settings, calls, timeout)
        while run.open:
            try:
                self._step(run)
            except _TROUBLE as error:
                time.sleep(run.pause(error))
        return run.results()

    def close(self) -> None:
        """Closes the idle connections; the next call opens new ones."""
        free = self._free()
        while free:
            free.pop().disconnect()

    def _step(self, run: _Run) -> None:
        free = self._free()
        connection = None
        if run.failures == 0:
            with contextlib.suppress(IndexError):
                connection = free.pop()
        if connection is None:
            # Also after a failure: those kept from before the trouble are broken too.
            connection = self._connected(run)
        try:
            places, commands = run.next_batch()
            replies = _exchange(connection, commands)
            if unknown := run.take(places, replies):
                self._load(connection, unknown)
        except BaseException:
            # Whatever ended this, a reply may still be on its way: the connection can't be used again.
            connection.disconnect()
            raise
        connection._sock.settimeout(self._options["socket_timeout"])
        free.append(connection)

    def _free(self) -> deque[Any]:
        """The idle connections, last used first; taking and giving back are single steps, so no lock is needed."""
        if self._pid != os.getpid():
            # A fork: the parent goes on using these sockets.
            self._pools, self._pid = {}, os.getpid()
        # One for all threads; but gevent's sockets belong to the thread of the system that made them.
        place = threading.get_native_id() if "gevent.monkey" in sys.modules else 0
        return self._pools.get(place) or self._pools.setdefault(place, deque())

    def _connected(self, run: _Run) -> Any:
        left = run.left()
        connection = self._class(**{**self._options, "socket_timeout": left, "socket_connect_timeout": left})
        connection.connect()
        connection._sock.settimeout(run.left())
        return connection

    def _load(self, connection: Any, scripts: Sequence[Script]) -> None:
        info, *loaded = _exchange(
            connection, [pack(("INFO", "server")), *[pack(("SCRIPT", "LOAD", script.source)) for script in scripts]]
        )
        check_server(info, self._settings)
        for answer in loaded:
            if isinstance(answer, Exception):
                raise answer


def _exchange(connection: Any, commands: Sequence[bytes]) -> list[Any]:
    connection.send_packed_command([b"".join(commands)], check_health=False)
    return [_reply(connection) for _ in commands]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except exceptions.ResponseError as error:
        return error


class AsyncExecutor:
    """Runs calls from coroutines. Each event loop has connections of its own, closed when the loop shuts down."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._class, self._options = connection_class_and_options(
            settings.redis_url, settings.enqueue_timeout, asynchronous=True
        )
        self._free: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, deque[Any]] = weakref.WeakKeyDictionary()

    async def run(self, call: Call[R], *, timeout: float | None = None) -> R:
        """As `Executor.run`."""
        result: R = (await self.run_many((call,), timeout=timeout))[0]
        return result

    async def run_many(self, calls: Sequence[Call[Any]], *, timeout: float | None = None) -> list[Any]:
        """As `Executor.run_many`."""
        run = _Run(self._settings, calls, timeout)
        while run.open:
            try:
                async with asyncio.timeout(run.left()):
                    await self._step(run)
            except _TROUBLE as error:
                await asyncio.sleep(run.pause(error))
        return run.results()

    async def _step(self, run: _Run) -> None:
        free = await self._free_connections()
        connection = free.pop() if free and run.failures == 0 else self._class(**self._options)
        try:
            await connection.connect()
            places, commands = run.next_batch()
            replies = await _aexchange(connection, commands)
            if unknown := run.take(places, replies):
                await self._load(connection, unknown)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        free.append(connection)

    async def _load(self, connection: Any, scripts: Sequence[Script]) -> None:
        info, *loaded = await _aexchange(
            connection, [pack(("INFO", "server")), *[pack(("SCRIPT", "LOAD", script.source)) for script in scripts]]
        )
        check_server(info, self._settings)
        for answer in loaded:
            if isinstance(answer, Exception):
                raise answer

    async def _free_connections(self) -> deque[Any]:
        loop = asyncio.get_running_loop()
        free = self._free.get(loop)
        if free is None:
            free = self._free[loop] = deque()
            await at_loop_end(lambda: _disconnect_all(free))
        return free


async def _aexchange(connection: Any, commands: Sequence[bytes]) -> list[Any]:
    await connection.send_packed_command([b"".join(commands)], check_health=False)
    return [await _areply(connection) for _ in commands]


async def _areply(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except exceptions.ResponseError as error:
        return error


async def _disconnect_all(connections: deque[Any]) -> None:
    while connections:
        await connections.pop().disconnect()


#: The generators that wait for their loops to end; a loop only keeps weak references to them.
_waiting: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, list[AsyncGenerator[None, None]]] = (
    weakref.WeakKeyDictionary()
)


async def at_loop_end(close: Callable[[], Any]) -> None:
    """Awaits `close()` when the running loop shuts down.

    `asyncio.run` and its kin close the asynchronous generators that were started in the loop; so one that waits at its
    `yield` is told of the end, which nothing else is.
    """

    async def wait() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await close()

    generator = wait()
    await anext(generator)
    _waiting.setdefault(asyncio.get_running_loop(), []).append(generator)
