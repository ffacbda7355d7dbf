"""pytest-celery's nodes on local processes: no Docker engine is needed.

The node, cluster and container classes are pytest-celery's own. What they wrap, docker-py's `Container`, is replaced by
`LocalProcess` (any command) and `LocalServer` (an embedded Redis server), which have the parts of it that the nodes
use.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_celery import CeleryTestBroker, CeleryTestWorker, CeleryWorkerContainer, RedisContainer

from xpert_mq.embedded import EmbeddedServer

ROOT = Path(__file__).parents[2]

#: Variables by which the machine's or the runner's own settings would reach a worker.
_FOREIGN = ("XPERT_MQ_", "MANAGED_QUEUE_", "CELERY", "BROKER_URL", "RESULT_BACKEND", "APP", "PYTHONWARNINGS", "COV_")

_PR_SET_PDEATHSIG = 1
_numbers = itertools.count(1)


def wait_for(condition: Callable[[], Any], what: str, timeout: float = 15) -> Any:
    """What the condition gives as soon as that is true; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        time.sleep(0.02)
    return found


def environment(**variables: str) -> dict[str, str]:
    """The environment of a process of ours: this one's without foreign settings, and with the repository's modules."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {**own, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **variables}


class LocalProcess:
    """A process in the place of a container. Its whole group ends with it, and with the test run."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], folder: Path, name: str) -> None:
        self.name = name
        self.id = f"{next(_numbers):012d}"
        self.status = "created"
        self.env = dict(env)
        self.folder = folder
        self.command = list(command)
        self.attrs: dict[str, Any] = {
            "Config": {"Env": [f"{key}={value}" for key, value in env.items()], "Hostname": name},
            "HostConfig": {"PortBindings": {}},
            "NetworkSettings": {"Networks": {}, "Ports": {}},
        }
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it; its output is added to the log."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                env=self.env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_runner,
            )
        self.status = "running"

    def reload(self) -> None:
        """Looks whether it still runs."""
        if self._process is not None and self._process.poll() is not None:
            self.status = "exited"

    def kill(self, signal: str | int | None = None) -> None:  # docker-py's name
        """Signals the main process; SIGKILL ends its children too, as with a container."""
        number = _number(signal)
        if self._process is not None and self._process.poll() is None:
            (os.killpg if number == _number("SIGKILL") else os.kill)(self._process.pid, number)
            if number == _number("SIGKILL"):
                self._process.wait()
        self.reload()

    def restart(self, timeout: float = 10) -> None:
        """Ends it in order, or by force after `timeout` seconds, and starts it again."""
        self.stop(timeout)
        self.start()

    def stop(self, timeout: float = 10) -> None:
        """Ends it in order, or by force after `timeout` seconds."""
        self.kill("SIGTERM")
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill("SIGKILL")
        self.remove()

    def remove(self) -> None:
        """Ends all that is left of it."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, _number("SIGKILL"))
        self._process.wait()
        self.reload()

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status."""
        assert self._process is not None
        status = self._process.wait(timeout)
        self.reload()
        return status

    def logs(self) -> bytes:
        return self._log.read_bytes() if self._log.exists() else b""

    def exec_run(self, command: str | Sequence[str]) -> tuple[int, bytes]:
        """Runs a command beside it, in its folder and environment."""
        words = shlex.split(command) if isinstance(command, str) else list(command)
        done = subprocess.run(
            words, env=self.env, cwd=self.folder, capture_output=True, timeout=30, stdin=subprocess.DEVNULL, check=False
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid


def _number(name: str | int | None) -> int:
    return name if isinstance(name, int) else int(signal.Signals[name or "SIGKILL"])


def _die_with_runner() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class WorkerContainer(CeleryWorkerContainer):  # type: ignore[misc] # has no types
    """pytest-celery's worker container around a local process."""

    def __init__(self, container: LocalProcess) -> None:
        super().__init__(container)
        self.process = container

    def ready(self) -> bool:
        """As pytest-celery's, without its pause of a second between two looks."""
        wait_for(lambda: self.ready_prompt in self.logs() or self._exited(), f"{self.name} to be ready", 30)
        return bool(super().ready())

    def _exited(self) -> bool:
        self.process.reload()
        return self.process.status == "exited"

    def teardown(self) -> None:
        self.process.remove()


class Worker(CeleryTestWorker):  # type: ignore[misc] # has no types
    """A worker of the platform. Its node name is `<name>@test`."""

    def hostname(self) -> str:
        return f"{self.name()}@test"

    @property
    def process(self) -> LocalProcess:
        process: LocalProcess = self.container.process
        return process

    def logs(self) -> str:
        """Everything it wrote, also what is not UTF-8."""
        return self.process.logs().decode("utf-8", "replace")

    def wait_for_line(self, text: str, timeout: float = 15) -> None:
        """`wait_for_log` with a finer clock."""
        wait_for(lambda: text in self.logs(), f"{text!r} in the log of {self.name()}:\n{self.logs()[-3000:]}", timeout)

    def terminate(self, timeout: float = 15) -> int:
        """A warm shutdown: SIGTERM, and its exit status."""
        self.kill("SIGTERM")
        return self.process.wait(timeout)


class LocalServer:
    """An embedded server in the place of a container."""

    def __init__(self, server: EmbeddedServer) -> None:
        self.server = server
        self.name = f"redis-{server.port}"
        self.id = f"{server.port:012d}"
        self.status = "running"
        self.attrs: dict[str, Any] = {
            "Config": {"Env": [], "Hostname": "127.0.0.1"},
            "HostConfig": {"PortBindings": {}},
            "NetworkSettings": {"Networks": {}, "Ports": {}},
        }

    def reload(self) -> None:
        self.status = "running" if self.server.is_running else "exited"

    def kill(self, signal: str | int | None = None) -> None:  # docker-py's name
        {"SIGKILL": self.server.kill, "SIGSTOP": self.server.freeze, "SIGCONT": self.server.thaw}[
            str(signal or "SIGKILL")
        ]()
        self.reload()

    def restart(self, timeout: float = 10) -> None:
        if self.server.is_running:
            self.server.restart()
        else:
            self.server.start()
        self.reload()

    def logs(self) -> bytes:
        return (self.server.folder / "server.log").read_bytes()


class ServerContainer(RedisContainer):  # type: ignore[misc] # has no types
    """pytest-celery's Redis container around an embedded server."""

    def __init__(self, container: LocalServer) -> None:
        super().__init__(container)
        self.server = container.server

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def host_url(self) -> str:
        return self.server.url

    @property
    def port(self) -> int:
        return self.server.port


class Broker(CeleryTestBroker):  # type: ignore[misc] # has no types
    """The platform's Redis as a node."""

    @property
    def server(self) -> EmbeddedServer:
        server: EmbeddedServer = self.container.server
        return server


def broker_of(server: EmbeddedServer) -> Broker:
    return Broker(ServerContainer(LocalServer(server)))
