"""Requests to the chat service. Each carries an idempotency key: the service takes what has the same key once."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

from .settings import Integration


class NotDeliveredError(Exception):
    """The service did not take it, or did not say so.

    Attributes:
        may_have_arrived: it may have taken it. Only the same request with the same key may follow then.
    """

    def __init__(self, reason: str, *, may_have_arrived: bool = False) -> None:
        super().__init__(reason)
        self.may_have_arrived = may_have_arrived


class ThrottledError(NotDeliveredError):
    """The service wants nothing for `retry_after_ms`."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(f"the service asks to wait {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms


class RefusedError(NotDeliveredError):
    """The service will never take it."""


def deliver(integration: Integration, path: str, key: str, content: Mapping[str, Any]) -> None:
    """Posts the content. Returns when the service has it, whether from this request or from an earlier one."""
    status, answer = _post(integration, path, key, json.dumps(content).encode())
    said = f"{status} {answer.get('error', '')}".strip()
    if status == 429:
        raise ThrottledError(int(answer.get("retry_after_ms", 1000)))
    if 400 <= status < 500:
        raise RefusedError(f"the service refuses it: {said}")
    if status != 200:
        raise NotDeliveredError(f"the service failed: {said}")


def _post(integration: Integration, path: str, key: str, body: bytes) -> tuple[int, dict[str, Any]]:
    url = urlsplit(integration.url)
    headers = {"Authorization": f"Bearer {integration.token}", "Idempotency-Key": key}
    connection = _connection(url, integration.timeout_ms / 1000)
    try:
        _connect(connection, url.netloc)
        try:
            connection.request("POST", url.path.rstrip("/") + path, body, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = f"no answer from {url.netloc}: {type(error).__name__}: {error}"
            raise NotDeliveredError(said, may_have_arrived=True) from error
    finally:
        connection.close()


def _connection(url: SplitResult, seconds: float) -> http.client.HTTPConnection:
    if url.scheme == "https":
        return http.client.HTTPSConnection(url.netloc, timeout=seconds, context=_certificates())
    return http.client.HTTPConnection(url.netloc, timeout=seconds)


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: they are many."""
    return ssl.create_default_context()


def _connect(connection: http.client.HTTPConnection, address: str) -> None:
    try:
        connection.connect()
    except OSError as error:
        raise NotDeliveredError(f"{address} can't be reached: {error}") from error
