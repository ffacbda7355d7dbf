"""A WSGI server with few threads, each of which serves many requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

#: Threads, and jobs at a time of a worker beside it.
SERVERS = 8


class PoolServer(WSGIServer):
    """Listens on a free port of 127.0.0.1, `server_port`."""

    request_queue_size = 128

    def __init__(self, app: Any) -> None:
        super().__init__(("127.0.0.1", 0), Quiet)
        self.set_app(app)
        self.pool = ThreadPoolExecutor(SERVERS)

    def process_request(self, request: Any, client_address: Any) -> None:
        """On one of the threads."""
        self.pool.submit(super().process_request, request, client_address)


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, *_: Any) -> None:
        """Says nothing."""
