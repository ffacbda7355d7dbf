"""Old queues on the shared server, a managed queue beside them, and the commands."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from migration.drain import command
from tests.migration.drain.old_queues import AnyOldQueue, NodeProcess, OldQueueOf, PythonQueue
from xpert_mq import ManagedQueueService, Settings, managed_queue
from xpert_mq.embedded import EmbeddedServer

LIBRARIES = ("bullmq5", "bullmq6", "bull4", "python")

#: Maps each job of any queue to one of the same name and id, without a tenant.
ANY_JOB = """
["*"."*"]
plugin_name = "acme"
queue_name = "{queue}"
tenant_id = {{ none = true }}
"""


@pytest.fixture(scope="session")
def node(server: EmbeddedServer) -> Iterator[NodeProcess]:
    """Bull and BullMQ on the shared server."""
    with NodeProcess(server.port) as process:
        yield process


OldQueueFactory = Callable[..., AnyOldQueue]


@pytest.fixture
def old_queue_factory(server: EmbeddedServer, node: NodeProcess) -> OldQueueFactory:
    """Makes queues of a library, with a prefix of their own."""

    def make(library: str, prefix: str | None = None) -> AnyOldQueue:
        prefix = prefix or f"old-{uuid.uuid4().hex}"
        if library == "python":
            return PythonQueue(server.url, prefix)
        return OldQueueOf(node, library, prefix)

    return make


@pytest.fixture(params=LIBRARIES)
def any_old_queue(request: pytest.FixtureRequest, old_queue_factory: OldQueueFactory) -> AnyOldQueue:
    """A queue of each library in turn."""
    return old_queue_factory(request.param)


@pytest.fixture
def old_queue(old_queue_factory: OldQueueFactory) -> OldQueueOf:
    """A queue of BullMQ 5."""
    made = old_queue_factory("bullmq5")
    assert isinstance(made, OldQueueOf)
    return made


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    """A client of the shared server, whose replies are texts."""
    with redis.Redis.from_url(server.url, decode_responses=True) as made:
        yield made


@pytest.fixture
def service(settings: Settings) -> Iterator[ManagedQueueService]:
    """The process' managed queue, which the commands use, with a prefix of the test's own."""
    managed_queue.configure(settings)
    yield managed_queue
    managed_queue.configure(None)


class Drain:
    """Runs the commands on a queue."""

    def __init__(self, url: str, queue: AnyOldQueue, folder: Path) -> None:
        self.url = url
        self._queue = queue
        self._folder = folder

    def __call__(self, *words: str | Path, code: int = 0) -> str:
        """What a command printed; it must have ended with this code."""
        result = self.run(*words)
        assert result.exit_code == code, result.output
        return result.stdout if code != 2 else result.stderr

    def run(self, *words: str | Path) -> Result:
        named = ["--queue", self._queue.name, "--prefix", self._queue.prefix]
        result = CliRunner().invoke(command, [self.url, *named, *map(str, words)])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def document(self, *words: str | Path, code: int = 0) -> Any:
        """What a command printed as JSON."""
        return json.loads(self(*words, "--json", code=code))

    def mapping(self, text: str = ANY_JOB) -> Path:
        """A mapping file."""
        path = self._folder / "mapping.toml"
        path.write_text(text.format(queue=self._queue.name))
        return path

    def forward(self, *words: str, mapping: str = ANY_JOB, code: int = 0) -> Any:
        """Moves jobs; the report."""
        return self.document("forward", self.mapping(mapping), "--write", *words, code=code)


DrainFactory = Callable[[AnyOldQueue], Drain]


@pytest.fixture
def drain_of(server: EmbeddedServer, service: ManagedQueueService, tmp_path: Path) -> DrainFactory:
    """The commands on a queue; jobs go to `service`."""
    return lambda queue: Drain(server.url, queue, tmp_path)


@pytest.fixture
def drain(drain_of: DrainFactory, old_queue: OldQueueOf) -> Drain:
    """The commands on `old_queue`."""
    return drain_of(old_queue)


def states(service: ManagedQueueService, ids: Sequence[str], tenant_id: str | None = None) -> dict[str, str]:
    """Those of the jobs that the managed queue has."""
    jobs = [service.get_job(job_id, tenant_id) for job_id in ids]
    return {job.id: job.state for job in jobs if job}


def snapshot(client: redis.Redis, queue: AnyOldQueue) -> Mapping[str, bytes | None]:
    """All keys of a queue with what they hold."""
    keys = sorted(client.scan_iter(match=f"{queue.prefix}:*", count=1000))
    raw = redis.Redis(
        connection_pool=redis.ConnectionPool(**{**client.get_connection_kwargs(), "decode_responses": False})
    )
    with raw:
        return {key: raw.dump(key) for key in keys}
