"""A server that answers as told: what no real one can be made to say."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class FakeServer(socketserver.ThreadingTCPServer):
    """Answers each command as told."""

    daemon_threads = True
    answer: Callable[[bytes], bytes]


class _FakeConnection(socketserver.StreamRequestHandler):
    server: FakeServer

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while head := self.rfile.readline():
                parts = [self._part() for _ in range(int(head[1:]))]
                self.wfile.write(self.server.answer(b" ".join(parts)))

    def _part(self) -> bytes:
        size = int(self.rfile.readline()[1:])
        return self.rfile.read(size + 2)[:-2]


@contextmanager
def fake_server(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """The URL of a server that answers each command as told."""
    with FakeServer(("127.0.0.1", 0), _FakeConnection) as server:
        server.answer = answer  # type: ignore[method-assign, assignment, unused-ignore]
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"redis://:s3cret@127.0.0.1:{server.server_address[1]}/0"
        finally:
            server.shutdown()
            thread.join()
