"""The WSGI middleware: when the context is there, and when it is gone."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from xpert_mq import current_context, request_context
from xpert_mq.contrib.tenants import tenant_header
from xpert_mq.contrib.wsgi import Application, ContextMiddleware


def environ(tenant: str | None = "acme") -> dict[str, Any]:
    made: dict[str, Any] = {} if tenant is None else {"HTTP_TENANT_ID": tenant}
    setup_testing_defaults(made)
    return {**made, "QUERY_STRING": ""}


class Answer:
    def __init__(self) -> None:
        self.status = ""

    def start(self, status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        self.status = status
        return lambda _: None


def seen() -> bytes:
    return str(current_context().tenant_id).encode()


def call(app: Application, **headers: Any) -> Iterable[bytes]:
    return ContextMiddleware(app, tenant=tenant_header)(environ(**headers), Answer().start)


def test_request_runs_in_its_context_and_leaves_nothing() -> None:
    def app(_: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        return [seen()]

    assert call(app) == [b"acme"]
    assert call(app, tenant=None) == [b"None"]
    assert current_context().tenant_id is None


def test_context_lasts_while_the_answer_is_sent_and_closed() -> None:
    notes = []

    def app(_: Any, start: Any) -> Iterator[bytes]:
        try:
            start("200 OK", [("Content-Type", "text/plain")])
            yield seen()
            yield seen()
        finally:
            notes.append(seen())

    middleware = ContextMiddleware(app, tenant=tenant_header)
    answers = [iter(middleware(environ(tenant), Answer().start)) for tenant in ("acme", "globex")]
    with request_context(tenant_id="outer"):
        # One thread sends two answers in turn, and breaks them off.
        assert [next(answer) for answer in answers] == [b"acme", b"globex"]
        assert [next(answer) for answer in answers] == [b"acme", b"globex"]
        for answer in answers:
            answer.close()  # type: ignore[attr-defined]
        assert seen() == b"outer"
    assert notes == [b"acme", b"globex"]


def test_answer_is_a_valid_one() -> None:
    def app(_: Any, start: Any) -> Iterator[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        yield seen()

    checked = validator(ContextMiddleware(validator(app), tenant=tenant_header))
    answer = checked(environ(), Answer().start)

    assert b"".join(answer) == b"acme"
    answer.close()  # type: ignore[attr-defined]


class Closed(list[bytes]):
    """An answer that is made, but has something to close."""

    def __init__(self) -> None:
        super().__init__([b"parts"])
        self.notes: list[bytes] = []

    def close(self) -> None:
        self.notes.append(seen())


class Broken(Closed):
    def __iter__(self) -> Iterator[bytes]:
        raise KeyError(seen())


def test_list_with_a_close_is_closed_in_its_context() -> None:
    body = Closed()
    answer = call(lambda *_: body)

    assert list(answer) == [b"parts"]
    answer.close()  # type: ignore[attr-defined]
    assert body.notes == [b"acme"]


def test_answer_that_can_not_be_begun_can_be_closed() -> None:
    body = Broken()
    answer = call(lambda *_: body)

    with pytest.raises(KeyError, match="acme"):
        list(answer)
    answer.close()  # type: ignore[attr-defined]
    assert body.notes == [b"acme"]


def test_file_is_left_to_the_server() -> None:
    file = FileWrapper(io.BytesIO(b"content"))
    request = {**environ(), "wsgi.file_wrapper": FileWrapper}

    assert ContextMiddleware(lambda *_: file)(request, Answer().start) is file


def test_context_is_gone_after_an_error() -> None:
    def app(*_: Any) -> list[bytes]:
        raise KeyError(seen())

    with pytest.raises(KeyError, match="acme"):
        call(app)
    assert current_context().tenant_id is None


def test_refused_request_does_not_reach_the_application() -> None:
    answer = Answer()
    middleware = ContextMiddleware(
        lambda *_: pytest.fail("called"), user=lambda _: {"id": 1, "tenant_id": "acme"}, tenant=tenant_header
    )

    body = list(middleware(environ("globex"), answer.start))

    assert answer.status == "403 Forbidden"
    assert b"may not act for" in body[0]
