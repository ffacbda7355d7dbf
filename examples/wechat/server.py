"""A chat service to try the plugin with: takes messages and dispatches over HTTP, once per idempotency key.

`python -m examples.wechat.server --port 8600` runs it; `ChatServer` is for tests. What it is to do wrong is set with
`behave`, or by a POST of the same fields to /behaviour. GET /log gives all that it did.
"""

from __future__ import annotations

import argparse
import json
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Literal, Self

Outcome = Literal["accepted", "duplicate", "failed", "throttled", "refused", "gone"]
Fault = Literal["failed", "refused", "lost"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the log: what came, and what became of it.

    Attributes:
        at: seconds, by a clock that never goes back.
        gone: (as an outcome) the client had left before the message was taken.
    """

    at: float
    path: str
    token: str
    key: str
    content: dict[str, Any]
    outcome: Outcome


@dataclass
class Behaviour:
    """What the service does wrong.

    Attributes:
        fail: answers so many requests with 500, and takes nothing.
        lose: takes so many requests, and breaks the connection instead of answering.
        delay_ms: waits before it answers; the message is taken before.
        throttle, throttle_ms: takes so many requests of a token in that time, the others get 429.
        refuse: texts that it never takes.
        faults: by text, what goes wrong with the first requests that carry it, one after the other: `failed`, `refused`
            (this once), or `lost` (taken, and not answered).
    """

    fail: int = 0
    lose: int = 0
    delay_ms: int = 0
    throttle: int = 0
    throttle_ms: int = 1000
    refuse: list[str] = field(default_factory=list)
    faults: dict[str, list[Fault]] = field(default_factory=dict)

    def next_fault(self, texts: Iterable[str]) -> Fault | None:
        return next((self.faults[text].pop(0) for text in texts if self.faults.get(text)), None)

    def counts_down(self, what: Literal["fail", "lose"]) -> bool:
        left: int = getattr(self, what)
        setattr(self, what, max(0, left - 1))
        return left > 0


class Service:
    """What the server knows, safe with many threads."""

    def __init__(self) -> None:
        self.behaviour = Behaviour()
        #: Requests wait at these two, before and after the message is taken.
        self.before = threading.Event()
        self.after = threading.Event()
        self.before.set()
        self.after.set()
        #: Paths of the requests that have come.
        self.arrived: list[str] = []
        self._lock = threading.Lock()
        self._log: list[Entry] = []
        self._taken: set[tuple[str, str, str]] = set()
        self._unanswered: set[tuple[str, str, str]] = set()
        self._recent: dict[str, deque[float]] = {}

    def log(self) -> list[Entry]:
        with self._lock:
            return list(self._log)

    def take(self, path: str, token: str, key: str, content: dict[str, Any], *, gone: bool) -> Outcome:
        """Decides about a request, and notes it, in one step."""
        with self._lock:
            now = time.monotonic()
            outcome = "gone" if gone else self._outcome((path, token, key), content, now)
            self._log.append(Entry(now, path, token, key, content, outcome))
            return outcome

    def retry_after_ms(self, token: str) -> int:
        with self._lock:
            oldest = self._recent[token][0]
            return max(1, round((oldest - time.monotonic()) * 1000) + self.behaviour.throttle_ms)

    def loses_answer(self, path: str, token: str, key: str) -> bool:
        with self._lock:
            if (path, token, key) in self._unanswered:
                self._unanswered.remove((path, token, key))
                return True
            return self.behaviour.counts_down("lose")

    def _outcome(self, request: tuple[str, str, str], content: dict[str, Any], now: float) -> Outcome:
        if request in self._taken:
            return "duplicate"
        if self._throttles(request[1], now):
            return "throttled"
        if self.behaviour.counts_down("fail"):
            return "failed"
        texts = [content["text"]] if "text" in content else content.get("texts", [])
        fault = self.behaviour.next_fault(texts)
        if fault == "failed" or fault == "refused":
            return fault
        if any(text in self.behaviour.refuse for text in texts):
            return "refused"
        if fault == "lost":
            self._unanswered.add(request)
        self._taken.add(request)
        return "accepted"

    def _throttles(self, token: str, now: float) -> bool:
        if not self.behaviour.throttle:
            return False
        recent = self._recent.setdefault(token, deque())
        while recent and recent[0] <= now - self.behaviour.throttle_ms / 1000:
            recent.popleft()
        if len(recent) >= self.behaviour.throttle:
            return True
        recent.append(now)
        return False


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self._answer(200, {"log": [asdict(entry) for entry in self.server.service.log()]})

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/behaviour":
            self.server.service.behaviour = Behaviour(**content)
            self._answer(200, content)
        else:
            self._take(content)

    def _take(self, content: dict[str, Any]) -> None:
        service = self.server.service
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        service.arrived.append(self.path)
        service.before.wait()
        key = self.headers.get("Idempotency-Key", "")
        outcome = service.take(self.path, token, key, content, gone=self._client_is_gone())
        service.after.wait()
        time.sleep(service.behaviour.delay_ms / 1000)
        if outcome in ("accepted", "duplicate"):
            if not service.loses_answer(self.path, token, key):
                self._answer(200, {"outcome": outcome})
        elif outcome == "throttled":
            self._answer(429, {"error": "too many requests", "retry_after_ms": service.retry_after_ms(token)})
        elif outcome != "gone":
            self._answer(500 if outcome == "failed" else 400, {"error": outcome})

    def _client_is_gone(self) -> bool:
        try:
            return not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Says nothing: the log is the service's own."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        self.service = Service()
        super().__init__(("127.0.0.1", port), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves in the middle is no error here."""


class ChatServer:
    """The server, in threads of this process, as a `with` block."""

    def __init__(self, port: int = 0) -> None:
        self._server = _Server(port)
        self.service = self._server.service
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="chat-server")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.service.before.set()
        self.service.after.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def behave(self, **how: Any) -> None:
        """From now on; what is not named is as it should be."""
        self.service.behaviour = Behaviour(**how)

    def taken(self, path: str = "/messages", token: str | None = None) -> Iterator[Entry]:
        """What it has accepted, in order."""
        for entry in self.service.log():
            if entry.outcome == "accepted" and entry.path == path and token in (None, entry.token):
                yield entry


def main() -> None:
    """Runs it until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A chat service to try the wechat example with.")
    parser.add_argument("--port", type=int, default=8600)
    server = _Server(parser.parse_args().port)
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
