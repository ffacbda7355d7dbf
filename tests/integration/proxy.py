"""A TCP proxy before a server: counts round trips, and breaks connections where it hurts."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Literal, Self

from xpert_mq.store.scripts import Script

Cut = Literal["before", "after"]


def _nothing() -> None:
    pass


class Proxy:
    """Runs in threads of its own, so that synchronous and asynchronous clients may use it.

    Attributes:
        round_trips: how often clients have sent something in one go, handshakes excepted.
        cuts: connections broken on purpose.
    """

    def __init__(self, server_port: int) -> None:
        self.round_trips = 0
        self.cuts = 0
        self._server_port = server_port
        self._lock = threading.Lock()
        self._cut: Cut | None = None
        self._called = b"EVALSHA"
        self._times = 0
        self._meanwhile: Callable[[], object] = _nothing
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connected in list(self._sockets):
            _end(connected)
        for thread in list(self._threads):
            thread.join(10)
        for connected in self._sockets:
            connected.close()

    def cut(
        self, where: Cut, times: int = 1, meanwhile: Callable[[], object] = _nothing, script: Script | None = None
    ) -> None:
        """Breaks the connection of the next script call: before it reaches the server, or after the script has run and
        before the client reads its reply.

        Args:
            times: so many calls, one after another.
            meanwhile: done before the client learns of the break: what others do between the first sending and the
                next.
            script: only calls of this one count.
        """
        with self._lock:
            self._cut, self._times, self._meanwhile = where, times, meanwhile
            self._called = script.sha.encode() if script else b"EVALSHA"

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            self._sockets += [client, server]
            for connected in (client, server):
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(self, client, server)
            self._start(pair.carry_commands)
            self._start(pair.carry_replies)

    def is_called(self, data: bytes) -> bool:
        """Whether these commands call what is to be cut."""
        return self._called in data

    def take_cut(self, where: Cut) -> Callable[[], object] | None:
        """What to do meanwhile, if a connection is to be broken here; counts it."""
        with self._lock:
            if self._cut != where or not self._times:
                return None
            self._times -= 1
            self.cuts += 1
            return self._meanwhile


class _Pair:
    """A client's connection and its own to the server."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._script_called = False

    def carry_commands(self) -> None:
        for data in _bursts(self._client):
            calls = self._proxy.is_called(data)
            if b"SETINFO" not in data:
                self._proxy.round_trips += 1
            if calls and (meanwhile := self._proxy.take_cut("before")):
                meanwhile()
                break
            self._script_called = calls
            if not _sent(self._server, data):
                break
        self._end()

    def carry_replies(self) -> None:
        for data in _received(self._server):
            ran = self._script_called and not data.startswith(b"-NOSCRIPT")
            if ran and (meanwhile := self._proxy.take_cut("after")):
                meanwhile()
                break
            if not _sent(self._client, data):
                break
        self._end()

    def _end(self) -> None:
        _end(self._client)
        _end(self._server)


def _received(connected: socket.socket) -> Iterator[bytes]:
    while True:
        try:
            data = connected.recv(1 << 16)
        except OSError:
            return
        if not data:
            return
        yield data


def _bursts(connected: socket.socket) -> Iterator[bytes]:
    """What is sent in one go, in one piece: a round trip is then one burst, whatever its size."""
    for data in _received(connected):
        burst = [data]
        while select.select([connected], [], [], 0.004)[0]:
            data = next(_received(connected), b"")
            burst.append(data)
            if not data:
                break
        yield b"".join(burst)


def _sent(connected: socket.socket, data: bytes) -> bool:
    try:
        connected.sendall(data)
    except OSError:
        return False
    return True


def _end(connected: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
