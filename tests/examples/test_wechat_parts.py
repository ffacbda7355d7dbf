"""Parts of the plugin without a worker."""

from __future__ import annotations

import json
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme
from pydantic import ValidationError

from examples.wechat import client, handlers, keys
from examples.wechat.client import NotDeliveredError, RefusedError, ThrottledError, deliver
from examples.wechat.server import ChatServer
from examples.wechat.settings import Integration, QuietHours
from tests.examples.site import outcomes
from xpert_mq.handlers import declared


@pytest.mark.parametrize(
    ("hours", "now", "left_s"),
    [
        (("22:00", "07:00"), "2025-06-01T21:59:59", 0),
        (("22:00", "07:00"), "2025-06-01T22:00:00", 9 * 3600),
        (("22:00", "07:00"), "2025-06-02T06:59:59", 1),
        (("22:00", "07:00"), "2025-06-02T07:00:00", 0),
        (("12:00", "13:30"), "2025-06-02T13:00:00", 1800),
        (("12:00", "13:30"), "2025-06-02T11:00:00", 0),
        (("22:00", "07:00", "Asia/Shanghai"), "2025-06-01T14:00:00", 9 * 3600),
        # The clocks go forward at 2: the night is an hour shorter.
        (("23:00", "07:00", "Europe/Berlin"), "2025-03-29T22:00:00", 7 * 3600),
    ],
)
def test_quiet_hours(hours: tuple[str, ...], now: str, left_s: int) -> None:
    quiet = QuietHours.model_validate(dict(zip(("start", "end", "zone"), hours, strict=False)))

    assert quiet.left_ms(datetime.fromisoformat(now).replace(tzinfo=UTC)) == left_s * 1000


def test_integration_hides_its_token_and_refuses_what_it_does_not_know() -> None:
    fields: dict[str, Any] = {"id": "i", "url": "http://127.0.0.1:1", "token": "secret"}

    assert "secret" not in repr(Integration(**fields))
    with pytest.raises(ValidationError, match="backoff"):
        Integration.model_validate({**fields, "backoff": [1000, 2000]})


@pytest.mark.parametrize(
    "url",
    [
        "",
        "chat.example.com",
        "ftp://chat.example.com",
        "http://",
        "http://host:x",
        "https://me:secret@host",
        "http://h?a=1",
    ],
)
def test_integration_refuses_an_address_that_it_could_not_keep_to(url: str) -> None:
    with pytest.raises(ValidationError, match="url") as caught:
        Integration(id="i", url=url, token="t")

    assert "secret" not in str(caught.value)


def test_path_of_the_address_is_kept(chat: ChatServer) -> None:
    for base in ("", "/", "/v1", "/v1/"):
        deliver(Integration(id="i", url=chat.url + base, token="t"), "/messages", f"key{base}", {"text": "hello"})

    assert chat.service.arrived == ["/messages", "/messages", "/v1/messages", "/v1/messages"]


class SecureServer(HTTPServer):
    """Notes the tokens that it is sent."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), SecureHandler)
        self.tokens: list[str] = []
        self.url = f"https://127.0.0.1:{self.server_port}"
        self.socket = context.wrap_socket(self.socket, server_side=True)


class SecureHandler(BaseHTTPRequestHandler):
    server: SecureServer

    def do_POST(self) -> None:
        self.server.tokens.append(self.headers["Authorization"])
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@contextmanager
def secure_server(authority: trustme.CA) -> Iterator[SecureServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with SecureServer(context) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("trusted", [True, False])
def test_https_reaches_only_who_has_a_certificate(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority, other = trustme.CA(), trustme.CA()
    (authority if trusted else other).cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    client._certificates.cache_clear()
    try:
        with secure_server(authority) as server:
            integration = Integration(id="i", url=server.url, token="t")
            if trusted:
                deliver(integration, "/messages", "key", {"text": "hello"})
                assert server.tokens == ["Bearer t"]
                return
            with pytest.raises(NotDeliveredError, match="CERTIFICATE_VERIFY_FAILED") as caught:
                deliver(integration, "/messages", "key", {"text": "hello"})
            assert not caught.value.may_have_arrived
            assert server.tokens == []
    finally:
        client._certificates.cache_clear()


def test_plugin_declares_its_handlers() -> None:
    found = {target.__name__ for target in declared("examples.wechat")}

    assert found == {handlers.SendMessage.__name__, handlers.AggregateInbound.__name__, handlers.FlushInbound.__name__}
    assert keys.PLUGIN == "wechat-example"


def test_service_takes_a_key_once_per_token(chat: ChatServer) -> None:
    for token in ("one", "one", "two"):
        integration = Integration(id="i", url=chat.url, token=token)
        deliver(integration, "/messages", "key", {"text": "hello"})
    deliver(integration, "/dispatches", "key", {"texts": ["hello"]})

    assert [entry.outcome for entry in chat.service.log()] == ["accepted", "duplicate", "accepted", "accepted"]


def test_service_does_wrong_what_is_said_of_a_text(chat: ChatServer) -> None:
    chat.behave(faults={"a": ["failed", "refused", "lost"]})
    integration = Integration(id="i", url=chat.url, token="t")

    for error, may_have_arrived in ((NotDeliveredError, False), (RefusedError, False), (NotDeliveredError, True)):
        with pytest.raises(error) as caught:
            deliver(integration, "/messages", "1", {"text": "a"})
        assert caught.value.may_have_arrived == may_have_arrived
        deliver(integration, "/dispatches", "2", {"texts": ["b"]})
    deliver(integration, "/messages", "1", {"text": "a"})

    own = [entry.outcome for entry in chat.service.log() if entry.key == "1"]
    assert own == ["failed", "refused", "accepted", "duplicate"]
    assert [entry.outcome for entry in chat.taken("/dispatches")] == ["accepted"]


def test_service_is_told_how_to_behave_over_http(chat: ChatServer) -> None:
    how = json.dumps({"fail": 1, "throttle": 2, "refuse": ["bad"]}).encode()
    with urllib.request.urlopen(f"{chat.url}/behaviour", data=how) as response:
        assert response.status == 200
    integration = Integration(id="i", url=chat.url, token="t")

    for key, text, error in (("1", "a", NotDeliveredError), ("2", "bad", RefusedError), ("3", "a", ThrottledError)):
        with pytest.raises(error) as caught:
            deliver(integration, "/messages", key, {"text": text})
        assert not caught.value.may_have_arrived
    with urllib.request.urlopen(f"{chat.url}/log") as response:
        log = json.loads(response.read())["log"]
    assert [entry["outcome"] for entry in log] == ["failed", "refused", "throttled"]
    assert outcomes(chat)["accepted"] == 0
