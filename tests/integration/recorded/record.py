"""Records the keys of a release, with jobs in every state, by its own service and workers.

    PYTHONPATH=<checkout of the release> python tests/integration/recorded/record.py

writes `format<version of the records>.json` beside this file: the keys with their types, lives (ms) and values; what
the release's own `get_job` and counts say of them; and which nodes are to stand for living ones. All times are moved
as if it were the moment `MOMENT`, and the prefix is `PREFIX`; who loads them moves both.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from celery.signals import before_task_publish

import xpert_mq
from xpert_mq import ManagedQueueService, Settings, request_context
from xpert_mq.context import ApiKey, ApiPrincipal
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.store import store

HERE = Path(__file__).parent
CHECKOUT = Path(xpert_mq.__file__).parents[1]

PREFIX = "recorded:platform"
#: Milliseconds; a full minute, and far from any time that a release may run at.
MOMENT = 1_500_000_000_000
#: Times are at most so far from the present: 300 days.
SPAN = 300 * 24 * 3600 * 1000
#: For what has to stay as it is recorded.
LATER_MS = 600_000

BEATS = {"XPERT_MQ_HEARTBEAT_INTERVAL": "0.2", "XPERT_MQ_NODE_TIMEOUT": "2", "XPERT_MQ_ENQUEUE_TIMEOUT": "30"}
SNOW = "列:☃/ü"


def wait_for(condition: Callable[[], Any], what: str, timeout: float = 20) -> Any:
    """What the condition gives once it is true."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(0.02)
    return found


class Release:
    """The release on a server: its service, and its workers as processes.

    Args:
        url: of the server.
        folder: the workers' working directory, and their logs' place.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.service = ManagedQueueService(
            Settings(redis_url=url, prefix=PREFIX, enqueue_timeout=30, heartbeat_interval=0.2, node_timeout=2)
        )
        self.redis: Any = self.service.get_redis()
        self.jobs: list[tuple[str | None, str]] = []
        self._folder = folder
        own = {"XPERT_MQ_REDIS_URL": url, "MANAGED_QUEUE_PREFIX": PREFIX, "XPERT_MQ_PLUGINS": "acme", **BEATS}
        self._env = {**os.environ, "PYTHONPATH": f"{CHECKOUT}{os.pathsep}{HERE}", **own}

    @contextlib.contextmanager
    def node(self, name: str, slots: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """A worker that beats and is ready; it is killed at the end."""
        words = ("worker", "-n", f"{name}@old", "-P", "threads", "-c", str(slots), "-l", "INFO", *options)
        path = self._folder / f"{name}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "xpert_mq", *words],
                env=self._env,
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_for(lambda: f"{name}@old ready" in path.read_text(), f"{name} to be ready")
            yield process
        finally:
            process.kill()
            process.wait()

    def node_id(self, process: subprocess.Popen[bytes]) -> str:
        """Under which id the worker lives."""
        nodes: list[str] = [name.decode() for name in self.redis.zrange(self.service.store.keys.nodes, 0, -1)]
        return next(node for node in nodes if node.split(":")[1] == str(process.pid))

    def add(self, job_id: str, data: dict[str, Any], tenant_id: str | None = None, **fields: Any) -> None:
        """Enqueues a job."""
        names = {"plugin_name": "acme", "queue_name": "post", "job_name": "send"}
        self.service.enqueue({**names, "job_id": job_id, "payload": data, "tenant_id": tenant_id, **fields})
        if (tenant_id, job_id) not in self.jobs:
            self.jobs.append((tenant_id, job_id))

    def state(self, job_id: str, tenant_id: str | None = None) -> str | None:
        """The job's state; None where it is gone."""
        job = self.service.get_job(job_id, tenant_id=tenant_id)
        return None if job is None else job.state

    def add_and_wait(
        self, state: str | None, job_id: str, data: dict[str, Any], tenant_id: str | None = None, **fields: Any
    ) -> None:
        """Enqueues a job, and waits until it has been tried and is in the state."""
        self.add(job_id, data, tenant_id, **fields)

        def reached() -> bool:
            job = self.service.get_job(job_id, tenant_id=tenant_id)
            return (job is None and state is None) or (
                job is not None and job.state == state and bool(job.processed_on)
            )

        wait_for(reached, f"{job_id} to be {state}")

    def open_gate(self, gate: str) -> None:
        """Lets those that wait there go on."""
        self.redis.set(f"{PREFIX}-gate:{gate}", "open")

    def waits_parked(self, job_id: str) -> bool:
        """Whether the job is parked at a limit."""
        return bool(self.redis.hexists(f"{PREFIX}:job::{job_id}", "parked"))

    def fetched(self, node: str) -> int:
        """How many messages the node holds, those of the jobs that it runs included."""
        return int(self.redis.hlen(self.service.store.keys.unacked_of(node)))


def end_some(release: Release) -> None:
    """Jobs that have ended, in all ways, and some that will be tried again."""
    release.add_and_wait("completed", "completed", {"result": {"sent": [1, "zwei", None]}}, "t-1")
    release.add_and_wait("completed", SNOW, {"text": "größer 🙂 \ud800", "result": "größe"}, "münchen:ü")
    release.add_and_wait("completed", "checkpointed", {"step": 1, "number": 2**70}, "t-1", organization_id="org:1")
    release.add_and_wait("completed", "kept", {}, remove_on_complete=False)
    release.add_and_wait(None, "removed", {}, remove_on_complete=True)
    for number in range(4):
        release.add_and_wait("completed", f"counted-{number}", {}, "counted", remove_on_complete=2)
        keep = {"age": 3600, "count": 3}
        release.add_and_wait("failed", f"aged-{number}", {"fails": 1}, "aged", remove_on_fail=keep)
    release.add_and_wait("completed", "browsed", {}, execution_pool="sandbox-browser")
    release.add_and_wait("failed", "failed", {"fails": 3}, "t-1", attempts=3)
    release.add_and_wait("failed", SNOW, {"fails": 1}, "t-1", remove_on_fail=False)
    release.add_and_wait("failed", "run-again", {"fails": 1, "step": 0})

    release.add_and_wait("delayed", "deferred", {"defer_ms": LATER_MS})
    release.add_and_wait("delayed", "backoff", {"fails": 1}, "t-1", attempts=3, backoff_ms=LATER_MS)
    doubling = {"type": "exponential", "delay": LATER_MS // 2}
    release.add_and_wait("delayed", "doubling", {"fails": 1, "step": 7}, attempts=5, backoff_ms=doubling)


def fill(release: Release, node: str) -> None:
    """Jobs that run, are parked at limits, or have been fetched; the node has four slots and fetches as many more."""
    for number in range(1, 6):
        release.add(f"alone-{number}", {"gate": "end", "step": 0}, job_name="alone", attempts=2)
        release.add(f"browser-{number}", {"gate": "end"}, execution_pool="sandbox-browser")
    for kind in ("alone", "browser"):
        wait_for(lambda: release.waits_parked(f"{kind}-5"), f"{kind} to be parked")  # noqa: B023 # waited for here
    release.add_and_wait("active", "held", {"gate": "again", "fails": 1}, "münchen:ü", attempts=2)
    for number in range(4):
        release.add(f"fetched-{number}", {"gate": "end"}, scope_key="scope:1")
    wait_for(lambda: release.fetched(node) == 8, "the messages to be fetched")


def wait_in_line(release: Release) -> None:
    """Jobs that no node has yet, or any more."""
    key = ApiKey("secret", "integration", "e-1", tenant_id="t-2", organization_id="org-2", user_id="u-2")
    principal = ApiPrincipal("api-key", key, owner_user_id="u-2", requested_user_id="u-3", extra={"via": "webhook"})
    release.add("waiting-1", {"gate": "end", "text": "\u2028 wartet"}, attempts=3)
    with request_context(tenant_id="t-2", organization_id="org-2", user="u-3", principal=principal):
        release.add("delegated", {"gate": "end"}, "t-2")
    with request_context(tenant_id="münchen:ü", user="u-1"):
        release.add(SNOW + "2", {"gate": "end"}, "münchen:ü")
    with traced():
        release.add("traced", {"gate": "end"})
        release.add("traced-later", {"gate": "end"}, delay_ms=LATER_MS)
    release.add("delayed-1", {"gate": "end"}, "t-1", delay_ms=LATER_MS)
    release.add("delayed-2", {"gate": "end"}, delay_ms=LATER_MS, attempts=2, backoff_ms=1000)
    release.service.retry("run-again")
    # Its first try fails, and the next has no backoff: it goes to the back of the queue.
    release.open_gate("again")
    wait_for(lambda: release.state("held", "münchen:ü") == "waiting", "the held one to have failed")

    for job_id, delay_ms in (
        ("cancelled", None),
        ("cancelled-later", LATER_MS),
        ("again", None),
        ("again-later", LATER_MS),
    ):
        release.add(job_id, {"gate": "end"}, delay_ms=delay_ms)
        release.service.cancel(job_id)
    release.service.cancel("fetched-3")
    release.service.cancel("alone-5")
    release.add("again", {"gate": "end", "life": 2})
    release.add("again-later", {"gate": "end", "life": 2}, delay_ms=LATER_MS)


@contextlib.contextmanager
def traced() -> Iterator[None]:
    """What is enqueued carries a header of a trace."""

    def listener(headers: dict[str, Any], **_: Any) -> None:
        headers["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    before_task_publish.connect(listener)
    yield
    before_task_publish.disconnect(listener)


def play(release: Release, stack: ExitStack) -> dict[str, list[str]]:
    """All of it, up to a moment in which two nodes live, frozen, and one has just died. Gives the nodes' ids."""
    with release.node("first", 2) as first:
        end_some(release)
        release.add_and_wait("active", "stalled", {"gate": "end", "step": 0}, attempts=2)
        living = stack.enter_context(release.node("living", 4, "--prefetch-multiplier", "2"))
        first.kill()
        starts = f"{PREFIX}-starts:"
        before = release.redis.llen(starts)
        wait_for(lambda: release.redis.llen(starts) == before + 1, "the stalled one to run again")
    fill(release, release.node_id(living))
    # Their first beats give them what is parked; with one slot, one of the two can't be fetched.
    dying = stack.enter_context(release.node("dying", 1))
    wait_for(lambda: release.state("alone-2") == "active", "the dying node to be busy")
    other = stack.enter_context(release.node("other", 1))
    wait_for(lambda: release.state("alone-3") == "active", "the other node to be busy")
    wait_in_line(release)

    nodes = {"living": [release.node_id(living), release.node_id(other)], "dead": [release.node_id(dying)]}
    dying.kill()
    for process in (living, other):
        process.send_signal(signal.SIGSTOP)
    return nodes


def key_as_json(client: Any, name: bytes) -> dict[str, Any]:
    """Type, life in ms (None: for ever) and value of a key."""
    kind = client.type(name).decode()
    read = {
        "string": client.get,
        "hash": client.hgetall,
        "set": lambda key: sorted(client.smembers(key)),
        "list": lambda key: client.lrange(key, 0, -1),
        "zset": lambda key: dict(client.zrange(key, 0, -1, withscores=True)),
    }
    life = client.pttl(name)
    return {"type": kind, "ttl": None if life < 0 else life, "value": as_text(read[kind](name))}


def as_text(value: Any) -> Any:
    """With text for bytes."""
    if isinstance(value, dict):
        return {as_text(key): as_text(one) for key, one in value.items()}
    if isinstance(value, list):
        return [as_text(one) for one in value]
    return value.decode() if isinstance(value, bytes) else value


def said_of(release: Release) -> list[dict[str, Any]]:
    """What the release says of each job."""
    jobs = []
    for tenant_id, job_id in release.jobs:
        found = release.service.get_job(job_id, tenant_id=tenant_id)
        jobs.append({"tenant_id": tenant_id, "id": job_id, "snapshot": found and asdict(found)})
    return jobs


def counted(service: ManagedQueueService) -> dict[str, int]:
    """How often each event has happened in the last hour."""
    counts: dict[str, int] = {}
    for minute in service.executor.run(service.store.tallies(60)).minutes:
        for names, events in minute.items():
            for event, number in events.items():
                name = f"{names[2]} {event}"
                counts[name] = counts.get(name, 0) + number
    return counts


def moved(text: str, moment: int, to: int) -> str:
    """With all times as far from `to` as they were from `moment`."""

    def move(found: re.Match[str]) -> str:
        at = int(found[0])
        return str(at - moment + to) if abs(at - moment) < SPAN else found[0]

    text = re.sub(r"(?<![\w.])\d{13}(?!\w)", move, text)
    return re.sub(r"(?<=:tally:)\d+", lambda found: str(int(found[0]) - moment // 60_000 + to // 60_000), text)


def without_machine(text: str) -> str:
    """Without the names of this machine's folders, and its own."""
    names = {
        str(CHECKOUT): "/platform",
        str(HERE): "/plugin",
        sys.prefix: "/python",
        f"{socket.gethostname()}:": "old:",
    }
    for own, ours in names.items():
        text = text.replace(own, ours)
    return text


def main() -> None:
    """Records."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        release = Release(stack.enter_context(EmbeddedServer()).url, folder)
        nodes = play(release, stack)
        seconds, microseconds = release.redis.time()
        names = sorted(release.redis.scan_iter(f"{PREFIX}:*", count=1000))
        kombu = re.compile(rb":(_kombu|unacked|control|events)")
        keys = {name.decode(): key_as_json(release.redis, name) for name in names if not kombu.match(name, len(PREFIX))}
        recording = {"nodes": nodes, "jobs": said_of(release), "counts": counted(release.service), "keys": keys}
        text = json.dumps(recording, indent=1, sort_keys=True)
        path = HERE / f"format{store.FORMAT}.json"
        path.write_text(without_machine(moved(text, seconds * 1000 + microseconds // 1000, MOMENT)) + "\n")
        release.service.close()


if __name__ == "__main__":
    main()
