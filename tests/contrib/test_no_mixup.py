"""A thousand requests and their jobs, of two tenants in turn: every one sees its own context."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import pytest
import uvicorn

from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for
from tests.contrib import alternating
from xpert_mq import ManagedQueueService
from xpert_mq.contrib import asgi, wsgi
from xpert_mq.contrib.tenants import organization_header, tenant_header
from xpert_mq.embedded import EmbeddedServer

REQUESTS = 1000
CLIENTS = 16
SERVERS = 8
HEADERS: dict[str, Any] = {"tenant": tenant_header, "organization": organization_header}


def owner(number: int) -> tuple[str, str, str]:
    """Tenant, organization and user of a request: two in turn."""
    return (("acme", "hq", "ada"), ("globex", "lab", "bob"))[number % 2]


class PoolServer(WSGIServer):
    """Serves requests on few threads, each of them many."""

    request_queue_size = 128

    def __init__(self, app: Any) -> None:
        super().__init__(("127.0.0.1", 0), Quiet)
        self.set_app(app)
        self.pool = ThreadPoolExecutor(SERVERS)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.pool.submit(super().process_request, request, client_address)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Says nothing."""


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


def ask(port: int, number: int) -> str:
    tenant, organization, user = owner(number)
    with closing(HTTPConnection("127.0.0.1", port, timeout=15)) as connection:
        headers = {"Tenant-Id": tenant, "Organization-Id": organization, "User": user}
        connection.request("GET", f"/{number}", headers=headers)
        return connection.getresponse().read().decode()


@pytest.mark.parametrize("served", [served_wsgi, served_asgi])
def test_thousand_requests_and_jobs_of_two_tenants(
    served: Callable[[ManagedQueueService], Any], server: EmbeddedServer, tmp_path: Path
) -> None:
    with closing(Deployment(server, tmp_path, XPERT_MQ_PLUGINS=alternating.__name__)) as platform:
        platform.worker("--concurrency", str(SERVERS), pool="threads", wait=False)
        with served(platform.service) as port, ThreadPoolExecutor(CLIENTS) as clients:
            answers = list(clients.map(lambda number: ask(port, number), range(REQUESTS)))

        assert [f"{'/'.join(owner(number))} " * 2 == f"{said} " for number, said in enumerate(answers)].count(
            False
        ) == 0
        wrong = [number for number in range(REQUESTS) if not ran_right(platform, number)]
        assert wrong == []


def ran_right(platform: Deployment, number: int) -> bool:
    tenant, organization, user = owner(number)
    done = platform.finished(f"job-{number}", tenant, timeout=30)
    mine = f"{tenant}/{organization}/{user}"
    owners = (done.tenant_id, done.organization_id, done.user_id)
    return bool(done.return_value == [mine, mine, tenant] and owners == owner(number))
