"""Hundreds of requests and their jobs, of two tenants in turn: every one sees its own context."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for
from tests.contrib import alternating
from tests.contrib.alternating import owner
from tests.contrib.pool_server import SERVERS, PoolServer
from xpert_mq import ManagedQueueService
from xpert_mq.contrib import asgi, wsgi
from xpert_mq.contrib.tenants import organization_header, tenant_header
from xpert_mq.embedded import EmbeddedServer

CLIENTS = 16
HEADERS: dict[str, Any] = {"tenant": tenant_header, "organization": organization_header}


@contextmanager
def served_wsgi(queue: ManagedQueueService) -> Iterator[int]:
    app = wsgi.ContextMiddleware(
        alternating.wsgi_app(queue), user=lambda environ: environ["HTTP_USER"], allows=lambda *_: True, **HEADERS
    )
    with PoolServer(app) as server, server.pool:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@contextmanager
def served_asgi(queue: ManagedQueueService) -> Iterator[int]:
    async def find_user(scope: Any) -> str:
        return str(next(value for name, value in scope["headers"] if name == b"user"), "ascii")

    app = asgi.ContextMiddleware(alternating.asgi_app(queue), user=find_user, **HEADERS)
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none", backlog=128)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_for(lambda: server.started, "uvicorn to start")
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def headers_of(number: int) -> dict[str, str]:
    tenant, organization, user = owner(number)
    return {"Tenant-Id": tenant, "Organization-Id": organization, "User": user}


def ask(port: int, number: int, headers: dict[str, str]) -> str:
    with closing(HTTPConnection("127.0.0.1", port, timeout=15)) as connection:
        connection.request("GET", f"/{number}", headers=headers)
        return connection.getresponse().read().decode()


@pytest.mark.parametrize("requests", [100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("served", [served_wsgi, served_asgi])
def test_requests_and_jobs_of_two_tenants(
    served: Callable[[ManagedQueueService], Any], server: EmbeddedServer, tmp_path: Path, requests: int
) -> None:
    with closing(Deployment(server, tmp_path, XPERT_MQ_PLUGINS=alternating.__name__)) as platform:
        platform.worker("--concurrency", str(SERVERS), pool="threads", wait=False)
        with served(platform.service) as port, ThreadPoolExecutor(CLIENTS) as clients:
            answers = list(clients.map(lambda number: ask(port, number, headers_of(number)), range(requests)))

        wrong = [number for number, said in enumerate(answers) if not answered_right(said, owner(number))]
        assert wrong == []
        wrong = [number for number in range(requests) if not ran_right(platform, number, owner(number))]
        assert wrong == []


def answered_right(said: str, owners: tuple[str, str, str]) -> bool:
    return said.split(" ") == ["/".join(owners)] * 2


def ran_right(platform: Deployment, number: int, owners: tuple[str, str, str], user_name: str | None = None) -> bool:
    """Also by what the job's record says."""
    done = platform.finished(f"job-{number}", owners[0], timeout=30)
    mine = "/".join(owners)
    kept = (done.tenant_id, done.organization_id, done.user_id)
    return bool(done.return_value == [mine, mine, owners[0], user_name] and kept == owners)
