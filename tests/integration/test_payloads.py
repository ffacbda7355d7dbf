from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.integration.pretend import PretendWorker

PAYLOADS: tuple[Any, ...] = (
    None,
    False,
    0,
    -0.0,
    "",
    {},
    [],
    {"": {"": []}},
    2**53 + 1,
    -(10**400),
    1e308,
    "\0\x1f\x7f\u2028\ud800 lone",
    {"a\ud834": "🙂", "nested": [[[[]]]], "big": "x" * 300_000},
)


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_payload_survives(any_worker: PretendWorker, payload: object) -> None:
    any_worker.enqueue("id", payload=payload)

    assert any_worker.job("id").data == payload
    assert type(any_worker.job("id").data) is type(payload)


def test_payload_never_in_the_message(worker: PretendWorker) -> None:
    secret = uuid.uuid4().hex
    worker.enqueue(payload=secret)

    assert secret not in repr(worker.messages())
