"""Sends calls to Redis: kept connections, deadlines, and the re-sending of what a broken connection left open.

redis-py makes, secures and reads the connections; its client, which re-sends on its own and costs more than the round
trip, is not on this path. A call that may be sent twice carries a nonce, so the scripts give it the same answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import re
import ssl
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

#: What may go wrong with Redis, whatever the reason. (asyncio's timeout is an OSError.)
_TROUBLE = (redis.RedisError, OSError)

#: Refusals that end by themselves, by how the server words them where redis-py has no class for it.
_PASSING_WORDS = ("BUSY", "MISCONF", "NOREPLICAS")
_PASSING = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
    OSError,
)
_LASTING = (exceptions.AuthenticationError, exceptions.AuthorizationError)


def _passes(error: BaseException) -> bool:
    """Whether waiting may help."""
    if isinstance(error, _PASSING):
        return not isinstance(error, _LASTING) and not _is_certificate_trouble(error)
    return str(error).startswith(_PASSING_WORDS)


def _plain(reason: str) -> str:
    # What Redis says to a large command before it has seen a password.
    return "a password is wanted (NOAUTH)" if "unauthenticated" in reason else reason


def _is_certificate_trouble(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


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
        if resend and "resend" in self.script.args:
            values = {**values, "resend": 1}
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
    for of_a_pool in ("max_connections", "timeout"):
        options.pop(of_a_pool, None)
    # Replies as bytes; no handshake but AUTH and SELECT, whose replies take time; no re-sending by redis-py.
    options.update(protocol=2, decode_responses=False, driver_info=None, retry=None)
    options.update(socket_timeout=timeout, socket_connect_timeout=timeout)
    return kind, options


class _Run:
    """The rules of one execution that both executors follow: batches, deadline, pauses, what may have happened."""

    def __init__(
        self, settings: Settings, calls: Sequence[Call[Any]], timeout: float | None, started: float | None = None
    ) -> None:
        self._settings = settings
        self._calls = calls
        self._timeout = settings.enqueue_timeout if timeout is None else timeout
        self._deadline = (time.monotonic() if started is None else started) + self._timeout
        self._replies: list[Any] = [None] * len(calls)
        #: A batch is on its way, or was when its connection broke.
        self._in_flight = False
        self._lost = False
        self._reason = ""
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
        self._in_flight = True
        return places, commands

    def take(self, places: Sequence[int], replies: Sequence[Any]) -> list[Script]:
        """Keeps the replies to a batch. Returns the scripts that the server didn't know, whose calls stay open."""
        self._in_flight = False
        unknown: dict[str, Script] = {}
        again: list[int] = []
        trouble: Exception | None = None
        for place, reply in zip(places, replies, strict=True):
            if isinstance(reply, exceptions.NoScriptError):
                script = self._calls[place].script
                unknown[script.sha] = script
                again.append(place)
            elif isinstance(reply, exceptions.ResponseError):
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

    def pause(self, error: Exception, *, lost: bool = False) -> float:
        """Seconds until the next attempt, after an error; `lost`: a command was sent whose reply never came.

        Raises QueueUnavailableError when there is none.
        """
        wait = 0.0 if self.failures == 0 else min(0.01 * 2**self.failures, 0.25)
        self.failures += 1
        self._reason = _plain(str(error)) or self._reason
        self._lost = self._lost or self._in_flight or lost
        self._in_flight = False
        if not _passes(error) or time.monotonic() + wait >= self._deadline:
            raise self.unavailable() from error
        return wait

    def unavailable(self, place: int | None = None) -> QueueUnavailableError:
        """What is said of the open call at the place (default: the first of them)."""
        return QueueUnavailableError(
            self._settings.safe_redis_url,
            self._reason or f"no answer within {self._timeout:g} s",
            job_id=self._calls[self.open[0] if place is None else place].job_id,
            may_have_been_added=self._lost,
        )

    def result(self, place: int) -> Any:
        """The parsed reply of the call at the place."""
        return self._calls[place].parse(self._replies[place])

    def results(self) -> list[Any]:
        """The parsed replies, in the order of the calls."""
        return [self.result(place) for place in range(len(self._calls))]


def too_old(version: str) -> str | None:
    """What is wrong with a server of this version when it is too old for the scripts; None when it serves."""
    if tuple(int(part) for part in re.findall("[0-9]+", version)[:2]) >= OLDEST_SERVER:
        return None
    return f"the server is Redis {version}; Redis 7.0 or Valkey 7.2 is the oldest that serves"


def _loading(scripts: Sequence[Script]) -> list[bytes]:
    return [pack(("INFO", "server")), *(pack(("SCRIPT", "LOAD", script.source)) for script in scripts)]


def _check_loaded(replies: Sequence[Any]) -> None:
    info, *loaded = replies
    # Access rules may deny INFO; then the scripts' own fate tells.
    version = re.search(rb"redis_version:([0-9.]+)", info) if isinstance(info, bytes) else None
    if version and (reason := too_old(version[1].decode())):
        raise exceptions.ResponseError(reason)
    for reply in loaded:
        if isinstance(reply, Exception):
            raise reply


def thread_place() -> int:
    """Which threads may share connections: all; but sockets of gevent belong to the one thread that made them."""
    return threading.get_native_id() if "gevent.monkey" in sys.modules else 0


class Executor:
    """Runs calls from threads. Safe to share between threads and to carry through a fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._pools: dict[int, deque[Any]] = {}
        self._pid = os.getpid()
        self._class, self._options = connection_class_and_options(settings.redis_url, settings.enqueue_timeout)

    def run(self, call: Call[R], *, timeout: float | None = None) -> R:
        """The call's result. Raises QueueUnavailableError after `timeout` seconds (default: the setting).

        What nearly always happens is written out here; anything else goes the long way of `run_many`.
        """
        started = time.monotonic()
        try:
            connection = self._free().pop()
        except IndexError:
            return self._long_way(call, timeout, started)
        try:
            connection.send_packed_command([call.packed(resend=False)], check_health=False)
            reply = connection.read_response()
        except exceptions.NoScriptError:
            self._free().append(connection)
            return self._long_way(call, timeout, started)
        except _TROUBLE as error:
            connection.disconnect()
            return self._long_way(call, timeout, started, error)
        except BaseException:
            connection.disconnect()
            raise
        self._free().append(connection)
        return call.parse(reply)

    def run_many(self, calls: Sequence[Call[Any]], *, timeout: float | None = None) -> list[Any]:
        """The results in the order of the calls, sent in batches."""
        return self._finish(_Run(self._settings, calls, timeout))

    def _long_way(self, call: Call[R], timeout: float | None, started: float, error: Exception | None = None) -> R:
        run = _Run(self._settings, (call,), timeout, started)
        if error is not None:
            time.sleep(run.pause(error, lost=not isinstance(error, exceptions.ResponseError)))
        result: R = self._finish(run)[0]
        return result

    def _finish(self, run: _Run) -> list[Any]:
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
                _check_loaded(_exchange(connection, _loading(unknown)))
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
        place = thread_place()
        return self._pools.get(place) or self._pools.setdefault(place, deque())

    def _connected(self, run: _Run) -> Any:
        left = run.left()
        connection = self._class(**{**self._options, "socket_timeout": left, "socket_connect_timeout": left})
        connection.connect()
        connection._sock.settimeout(run.left())
        return connection


def _exchange(connection: Any, commands: Sequence[bytes]) -> list[Any]:
    connection.send_packed_command([b"".join(commands)], check_health=False)
    return [_reply(connection) for _ in commands]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except exceptions.ResponseError as error:
        return error


@dataclass(slots=True)
class _Sent:
    """A call that waits to be sent, or for its reply."""

    call: Call[Any]
    timeout: float | None
    future: asyncio.Future[Any]
    at: float


class _Lane:
    """What the coroutines of one loop share: connections, and the calls that wait while others are on their way."""

    __slots__ = ("busy", "free", "minded", "waiting")

    def __init__(self) -> None:
        #: The connections are closed when the loop ends.
        self.minded = False
        self.free: deque[Any] = deque()
        self.waiting: list[_Sent] = []
        #: The task that sends.
        self.busy: asyncio.Task[None] | None = None

    def next_batch(self) -> list[_Sent]:
        """Takes the calls that go next, all with one timeout."""
        timeout = self.waiting[0].timeout
        batch = [one for one in self.waiting if one.timeout == timeout][:BATCH]
        taken = set(map(id, batch))
        self.waiting = [one for one in self.waiting if id(one) not in taken]
        return batch


class AsyncExecutor:
    """Runs calls from coroutines. Each event loop has connections of its own, closed when the loop shuts down.

    While a call is on its way, others wait, and then travel together: a round trip, and what it costs, is shared.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._class, self._options = connection_class_and_options(
            settings.redis_url, settings.enqueue_timeout, asynchronous=True
        )
        self._lanes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Lane] = weakref.WeakKeyDictionary()

    async def run(self, call: Call[R], *, timeout: float | None = None) -> R:
        """As `Executor.run`."""
        result: R = await self.submit(call, timeout=timeout)
        return result

    def submit(self, call: Call[R], *, timeout: float | None = None) -> asyncio.Future[R]:
        """What `run` does, for code in the loop's thread that is no coroutine."""
        loop = asyncio.get_running_loop()
        lane = self._lane(loop)
        future: asyncio.Future[R] = loop.create_future()
        lane.waiting.append(_Sent(call, timeout, future, time.monotonic()))
        if lane.busy is None:
            # In no caller's context: it serves others, too.
            lane.busy = loop.create_task(self._send(lane), context=contextvars.Context())
        return future

    async def run_many(self, calls: Sequence[Call[Any]], *, timeout: float | None = None) -> list[Any]:
        """As `Executor.run_many`."""
        lane = self._lane(asyncio.get_running_loop())
        await self._mind_the_end(lane)
        run = _Run(self._settings, calls, timeout)
        await self._finish(run, lane)
        return run.results()

    def _lane(self, loop: asyncio.AbstractEventLoop) -> _Lane:
        return self._lanes.get(loop) or self._lanes.setdefault(loop, _Lane())

    async def _mind_the_end(self, lane: _Lane) -> None:
        if not lane.minded:
            lane.minded = True
            await at_loop_end(lambda: _disconnect_all(lane.free))

    async def _send(self, lane: _Lane) -> None:
        """Sends what waits, until nothing does."""
        batch: Sequence[_Sent] = ()
        try:
            await self._mind_the_end(lane)
            while lane.waiting:
                batch = lane.next_batch()
                await self._send_together(batch, lane)
        except BaseException:  # the loop ends
            for one in (*batch, *lane.waiting):
                one.future.cancel()
            raise
        finally:
            lane.busy = None

    async def _send_together(self, batch: Sequence[_Sent], lane: _Lane) -> None:
        run = _Run(self._settings, [one.call for one in batch], batch[0].timeout, batch[0].at)
        cause = None
        try:
            await self._finish(run, lane)
        except QueueUnavailableError as error:
            cause = error.__cause__
        for place, one in enumerate(batch):
            if not one.future.done():  # who waited may have gone
                _settle(one.future, run, place, cause)

    async def _finish(self, run: _Run, lane: _Lane) -> None:
        while run.open:
            try:
                async with asyncio.timeout(run.left()):
                    await self._step(run, lane)
            except _TROUBLE as error:
                await asyncio.sleep(run.pause(error))

    async def close(self) -> None:
        """Closes the running loop's idle connections; the next call opens new ones."""
        await _disconnect_all(self._lane(asyncio.get_running_loop()).free)

    async def _step(self, run: _Run, lane: _Lane) -> None:
        free = lane.free
        connection = free.pop() if free and run.failures == 0 else self._class(**self._options)
        try:
            await connection.connect()
            places, commands = run.next_batch()
            replies = await _aexchange(connection, commands)
            if unknown := run.take(places, replies):
                _check_loaded(await _aexchange(connection, _loading(unknown)))
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        free.append(connection)


def _settle(future: asyncio.Future[Any], run: _Run, place: int, cause: BaseException | None) -> None:
    try:
        if place in run.open:
            raise run.unavailable(place) from cause
        future.set_result(run.result(place))
    except Exception as error:  # noqa: BLE001 - it is for who asked
        future.set_exception(error)


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


#: The generators that wait for their loops to end; a loop itself keeps weak references to them.
_waiting: set[AsyncGenerator[None, None]] = set()


async def at_loop_end(close: Callable[[], Any]) -> None:
    """Awaits `close()` when the running loop shuts down.

    `asyncio.run` and its kin close the asynchronous generators that were started in the loop; so one that waits at its
    `yield` is told of the end, which nothing else is.
    """

    async def wait() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            _waiting.discard(generator)
            await close()

    generator = wait()
    _waiting.add(generator)
    await anext(generator)
