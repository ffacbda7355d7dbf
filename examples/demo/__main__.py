"""Runs the demo: server, chat service, workers; shows the progress, and ends with tables and a verdict.

Exit status: 0 if all is as planned, 1 if something is wrong, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shlex
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from pydantic_settings import SettingsConfigDict

from xpert_mq import ManagedQueueError, ManagedQueueService, Settings
from xpert_mq.embedded import EmbeddedServer

from ..wechat.rows import Rows
from . import check, tries
from .case import Case
from .figures import job_figures, service_figures
from .plan import SERVICE, make_plan
from .processes import DemoError, Processes
from .screen import OPEN, Screen
from .script import Script
from .seen import Observer, behave

# Wherever this package lies: `examples` here, or inside of another.
_PACKAGE = str(__package__)
_EXAMPLES = _PACKAGE.rpartition(".")[0]
_ROOT = Path(__file__).resolve().parents[_PACKAGE.count(".") + 1]

_NODES = ("node1", "node2")
_THREADS = "4"
_PREFIX = "xpert:managed-queue"
_DONE_WITHIN = 45
_LOOK_SECONDS = 0.2
#: Variables by which a deployment's settings would reach the demo: how they begin, and those of Celery's commands.
_FOREIGN = ("XPERT_MQ_", "MANAGED_QUEUE_", "CELERY", "WECHAT_")
_FOREIGN_NAMES = frozenset(("APP", "BROKER_URL", "RESULT_BACKEND", "LOADER", "CONFIG_MODULE", "SKIP_CHECKS"))


class _OwnSettings(Settings):
    """Not those of a `.env` file."""

    model_config = SettingsConfigDict(env_file=None)


def main(argv: Sequence[str] | None = None) -> int:
    """Gives the exit status. `argv`: the options, by default those of the process."""
    arguments = _parser().parse_args(argv)
    _shield()
    seed = random.SystemRandom().randrange(10_000) if arguments.seed is None else arguments.seed
    try:
        with _signals(), tempfile.TemporaryDirectory(prefix="xpert-mq-demo-") as folder, Screen() as screen:
            return _Demo(screen, Path(folder), seed).run(keep=arguments.keep)
    except (DemoError, ManagedQueueError) as error:
        print(f"The demo failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; all that the demo started has been stopped.", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {_PACKAGE}",
        description="Three tenants send and receive chat messages; all that happened is checked.",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="repeat the plan of this seed")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C, to look around")
    return parser


def _shield() -> None:
    """Takes foreign settings away, from this process and so from those that it starts."""
    for name in [name for name in os.environ if name.startswith(_FOREIGN) or name in _FOREIGN_NAMES]:
        del os.environ[name]


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Whatever asks the demo to end is a KeyboardInterrupt."""
    # Also where the shell had SIGINT ignored, as for a command in the background.
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


class _Demo:
    def __init__(self, screen: Screen, folder: Path, seed: int) -> None:
        self._screen = screen
        self._folder = folder
        self._seed = seed
        self._plan = make_plan(seed)
        self._database = folder / "wechat.sqlite3"
        self._tries = folder / "tries.jsonl"
        self._totals = {plan.tenant: plan.messages for plan in self._plan}

    def run(self, *, keep: bool) -> int:
        """Gives the exit status."""
        begin = time.monotonic()
        with EmbeddedServer() as server:
            self._screen.say(f"Server   {server.url} (pid {server.pid})")
            env = self._environment(server.url)
            # The service goes last, so that no worker misses it.
            with Processes(self._folder, env) as service, Processes(self._folder, env) as nodes:
                url = self._start(service, nodes)
                self._screen.say(
                    f"Plan     {sum(self._totals.values())} messages of {len(self._plan)} tenants: --seed {self._seed}"
                )
                settings = _OwnSettings(redis_url=server.url, prefix=_PREFIX)
                with contextlib.closing(ManagedQueueService(settings)) as queue:
                    found = self._play(queue, url, service, nodes)
                self._screen.say(self._verdict(found, time.monotonic() - begin))
                if keep:
                    self._keep(server.url, url, service, nodes)
        return int(any(found.values()))

    def _environment(self, redis_url: str) -> dict[str, str]:
        return {
            **os.environ,
            "XPERT_MQ_REDIS_URL": redis_url,
            "XPERT_MQ_PLUGINS": f"{_EXAMPLES}.wechat",
            "MANAGED_QUEUE_PREFIX": _PREFIX,
            "WECHAT_DATABASE": str(self._database),
            tries.VARIABLE: str(self._tries),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH")))),
        }

    def _start(self, service: Processes, nodes: Processes) -> str:
        """Gives the service's address, when all is ready."""
        worker = ("-m", "celery", "-A", "xpert_mq", "worker", "--pool", "threads", "-c", _THREADS, "-l", "INFO")
        started = [nodes.start(name, *worker, "-n", f"{name}@%h", "-I", tries.__name__) for name in _NODES]
        chat = service.start("service", "-m", f"{_EXAMPLES}.wechat.server", "--port", "0")
        url = chat.wait_for("http://")
        self._screen.say(f"Service  {url} (pid {chat.pid})")
        for node in started:
            node.wait_for(" ready.")
            self._screen.say(f"Worker   {node.name}, {_THREADS} threads (pid {node.pid})")
        return url

    def _play(self, queue: ManagedQueueService, url: str, *running: Processes) -> dict[str, list[str]]:
        """Plays the plan to its end; gives what is wrong."""
        behave(url, {**SERVICE, "faults": {text: one for plan in self._plan for text, one in plan.faults.items()}})
        rows = Rows(self._database)
        observer = Observer(queue, rows, url, self._tries)
        stop = threading.Event()
        scripts = {plan.tenant: Script(plan, queue, rows, stop) for plan in self._plan}
        with rows.held_open(), _played(list(scripts.values()), url, stop) as playing:
            self._watch(observer, scripts, playing, running)
        seen = observer.look(list(scripts))
        self._screen.tables(job_figures(seen), service_figures(self._plan, seen.log))
        told = {tenant: script.told for tenant, script in scripts.items()}
        found = check.faults(Case(self._plan, told, seen))
        self._screen.checks(found)
        return found

    def _watch(
        self,
        observer: Observer,
        scripts: dict[str, Script],
        playing: Sequence[Future[None]],
        running: Sequence[Processes],
    ) -> None:
        """Shows the progress until all messages are at their end, or the time is over: then the check says more."""
        deadline = time.monotonic() + _DONE_WITHIN
        while time.monotonic() < deadline:
            _check(running)
            played = all(one.done() and one.result() is None for one in playing)
            statuses = {tenant: observer.statuses(tenant) for tenant in scripts}
            is_open = any(counts[status] for counts in statuses.values() for status in OPEN)
            for tenant, script in scripts.items():
                statuses[tenant] += Counter(refused=len(script.told.refused))
            self._screen.show(statuses, self._totals)
            if played and not is_open:
                break
            time.sleep(_LOOK_SECONDS)
        else:
            self._screen.say(f"Not all messages were at their end within {_DONE_WITHIN} s. The ends of the logs:")
            for processes in running:
                self._screen.say(processes.tails())

    def _verdict(self, found: dict[str, list[str]], took: float) -> str:
        number = sum(map(len, found.values()))
        said = f"Not as planned (faults: {number})" if number else "All as planned"
        return f"{said}, in {took:.1f} s. To repeat the plan: --seed {self._seed}"

    def _keep(self, redis_url: str, url: str, *running: Processes) -> None:
        """Until Ctrl-C, which here is not an interruption."""
        self._screen.say(
            _HINTS.format(
                root=shlex.quote(str(_ROOT)),
                redis_url=redis_url,
                examples=_EXAMPLES,
                prefix=_PREFIX,
                command=_command(),
                database=self._database,
                url=url,
            )
        )
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                _check(running)
                time.sleep(_LOOK_SECONDS)


_HINTS = """
Everything goes on running until Ctrl-C. In another terminal:

  cd {root}
  export XPERT_MQ_REDIS_URL={redis_url} XPERT_MQ_PLUGINS={examples}.wechat
  export MANAGED_QUEUE_PREFIX={prefix}
  {command} queues --watch
  {command} jobs list
  {command} doctor
  curl {url}/log

The service is at {url}, the plugin's rows are in
{database}, beside the logs of workers and service."""


def _command() -> str:
    """`xpert-mq` as it can be typed anywhere: nobody has to have activated this environment."""
    script = Path(sys.executable).with_name("xpert-mq")
    words = [str(script)] if script.is_file() else [sys.executable, "-m", "xpert_mq.cli"]
    return shlex.join(words)


def _check(running: Sequence[Processes]) -> None:
    for processes in running:
        processes.check()


@contextlib.contextmanager
def _played(scripts: Sequence[Script], url: str, stop: threading.Event) -> Iterator[list[Future[None]]]:
    """Plays the scripts at the same time; the end of the block stops those that still play."""
    with ThreadPoolExecutor(len(scripts)) as threads:
        try:
            begin = time.monotonic()
            yield [threads.submit(script.play, url, begin) for script in scripts]
        finally:
            stop.set()


if __name__ == "__main__":
    sys.exit(main())
