"""The pytest plugin: fixtures for tests of plugins, on a private server that each test finds empty.

The server is started when a test first asks for one of the fixtures, once per test session (and so once per process of
pytest-xdist). While a test uses them, the process-wide `managed_queue` is on that server, wherever it was imported.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    # Imported where they are used: pytest loads this module in every project of the environment.
    from xpert_mq.context import RequestContext
    from xpert_mq.embedded import EmbeddedServer
    from xpert_mq.service import ManagedQueueService
    from xpert_mq.testing.enqueued import EnqueuedJobs
    from xpert_mq.testing.kit import KitMaker, QueueKit
    from xpert_mq.testing.runs import JobRun
    from xpert_mq.testing.worker import WorkerProcess


@pytest.fixture(scope="session")
def xpert_mq_settings() -> Mapping[str, Any]:
    """Settings for the tests, by their fields' names: override it, as with `{"user_loader": "users:load"}`.

    All that it leaves out is the process' own, but for the server's URL.
    """
    return {}


@pytest.fixture(scope="session")
def xpert_mq_server() -> Iterator[EmbeddedServer]:
    """The session's private server. Every test that uses the platform empties it."""
    from xpert_mq.embedded import EmbeddedServer

    with EmbeddedServer() as server:
        yield server


@pytest.fixture(scope="session")
def _xpert_mq_kits(xpert_mq_server: EmbeddedServer) -> Iterator[KitMaker]:
    from xpert_mq.testing.kit import KitMaker

    kits = KitMaker(xpert_mq_server.url)
    yield kits
    kits.close()


@pytest.fixture
def queue_kit(_xpert_mq_kits: KitMaker, xpert_mq_settings: Mapping[str, Any]) -> Iterator[QueueKit]:
    """The platform in the test's hands; the fixtures below are parts of it."""
    with _xpert_mq_kits.kit(xpert_mq_settings) as kit:
        yield kit


@pytest.fixture
def managed_queue(queue_kit: QueueKit) -> ManagedQueueService:
    """The process-wide service, on the session's private server, which is empty."""
    return queue_kit.service


@pytest.fixture
def run_jobs(queue_kit: QueueKit) -> Callable[..., list[JobRun]]:
    """`run_jobs()` runs what is due; see `QueueKit.run_jobs`."""
    return queue_kit.run_jobs


@pytest.fixture
def arun_jobs(queue_kit: QueueKit) -> Callable[..., Awaitable[list[JobRun]]]:
    """`await arun_jobs()` runs what is due, while the test's event loop goes on; see `QueueKit.arun_jobs`."""
    return queue_kit.arun_jobs


@pytest.fixture
def advance(queue_kit: QueueKit) -> Callable[[int], None]:
    """`advance(ms)` lets time pass for Redis; see `QueueKit.advance`."""
    return queue_kit.advance


@pytest.fixture
def enqueued(queue_kit: QueueKit) -> EnqueuedJobs:
    """`enqueued(job_name=…, payload=…)` asserts that there is one such job; see `EnqueuedJobs`."""
    return queue_kit.enqueued


@pytest.fixture
def use_context() -> Iterator[Callable[..., RequestContext]]:
    """`use_context(tenant_id=…)` sets the context for the rest of the test; takes what `request_context` takes."""
    from xpert_mq.context import request_context

    with ExitStack() as contexts:

        def use(*args: Any, **kwargs: Any) -> RequestContext:
            return contexts.enter_context(request_context(*args, **kwargs))

        yield use


@pytest.fixture
def start_worker(
    queue_kit: QueueKit, request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[Callable[..., WorkerProcess]]:
    """`start_worker()` starts a real worker and waits until it is ready; it ends with the test.

    Plugins are those of entry points, and those that the setting `plugins` names: what a test has registered by hand is
    not in the worker's process.

    Args of the function:
        options: of `celery worker`.
        pool: of Celery: `threads`, `prefork`, `solo` or `gevent`.
        concurrency: jobs at a time.
        folder: the working directory; default: pytest's root directory. Modules are found as in the test's process.
        env: variables of its environment.
    """
    from xpert_mq.testing.worker import WorkerProcess

    workers: list[WorkerProcess] = []

    def start(
        *options: str, pool: str = "threads", concurrency: int = 1, folder: Path | None = None, **env: str
    ) -> WorkerProcess:
        words = ("-P", pool, "-c", str(concurrency), "-n", f"w{len(workers)}@test", *options)
        log = tmp_path / f"worker-{len(workers)}.log"
        worker = WorkerProcess(queue_kit.forced, words, folder or request.config.rootpath, env, log)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        worker.stop()
