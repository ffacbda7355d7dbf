"""Celery's publish signals: listeners see each enqueue, and the headers that they add reach the worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery.signals import after_task_publish, before_task_publish

from tests.integration.pretend import JOB, PretendWorker, wait_until
from xpert_mq.errors import JobIdConflictError

Heard = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What the signals said, in order."""
    said: Heard = []

    def before(**signal: Any) -> None:
        said.append(("before", signal))

    def after(**signal: Any) -> None:
        said.append(("after", signal))

    before_task_publish.connect(before)
    after_task_publish.connect(after)
    yield said
    before_task_publish.disconnect(before)
    after_task_publish.disconnect(after)


@pytest.fixture
def add_headers() -> Iterator[Callable[..., None]]:
    """Adds headers to what is published, as tracing does."""
    listeners = []

    def connect(**added: Any) -> None:
        def listener(headers: dict[str, Any], **_: Any) -> None:
            headers.update(added)

        listeners.append(listener)
        before_task_publish.connect(listener)

    yield connect
    for listener in listeners:
        before_task_publish.disconnect(listener)


def test_signals_around_an_enqueue(worker: PretendWorker, heard: Heard) -> None:
    worker.enqueue("id", tenant_id="t")

    assert [name for name, _ in heard] == ["before", "after"]
    for _, signal in heard:
        assert signal["sender"] == "xpert_mq.dispatch"
        assert signal["headers"]["task"] == "xpert_mq.dispatch"
        assert signal["headers"]["shadow"] == "plugin/queue/job"
        assert signal["routing_key"] == worker.queue
    assert heard[0][1]["headers"]["id"] == heard[1][1]["headers"]["id"]


def test_signals_after_only_for_what_was_added(worker: PretendWorker, heard: Heard) -> None:
    worker.enqueue("id")
    heard.clear()

    worker.enqueue("id")
    with pytest.raises(JobIdConflictError):
        worker.enqueue("id", job_name="other")

    assert "after" not in [name for name, _ in heard]


def test_signals_for_each_of_many(worker: PretendWorker, heard: Heard) -> None:
    worker.service.enqueue_many([{**JOB, "job_id": "a"}, {**JOB, "job_id": "a"}, {**JOB, "job_id": "b"}])

    assert [name for name, _ in heard].count("after") == 2


async def test_signals_of_the_async_twin(worker: PretendWorker, heard: Heard) -> None:
    await worker.service.aenqueue(JOB)

    assert [name for name, _ in heard] == ["before", "after"]


HEADERS: dict[str, Any] = {
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "nested": {"a": [1, None, 'ünï 🙂 "quoted" \\ ]==] \'']},
    "delivery_tag": "not ours",
    "empty": "",
    "lone": "\ud800",
}


def test_signals_headers_reach_every_message(any_worker: PretendWorker, add_headers: Callable[..., None]) -> None:
    add_headers(**HEADERS)
    any_worker.enqueue("id", attempts=5)
    any_worker.enqueue("later", delay_ms=1)

    def check() -> None:
        headers = any_worker.messages()[0]["headers"]
        assert {name: headers.get(name) for name in HEADERS} == HEADERS
        assert headers["task"] == "xpert_mq.dispatch"

    check()
    any_worker.fail_try(any_worker.claim_next())
    check()
    any_worker.fail_try(any_worker.claim_next(), delay_ms=1)
    wait_until(lambda: any_worker.promote() and len(any_worker.messages()) == 2)
    for _ in range(2):
        check()
        any_worker.fail(any_worker.claim_next())
    any_worker.service.retry("id")
    check()


def test_signals_headers_can_t_replace_the_job_s_own(worker: PretendWorker, add_headers: Callable[..., None]) -> None:
    add_headers(id="forged", task="forged", shadow="forged", retries=99)
    worker.enqueue("id")

    headers = worker.messages()[0]["headers"]
    assert (headers["task"], headers["shadow"], headers["retries"]) == ("xpert_mq.dispatch", "plugin/queue/job", 0)
    assert worker.claim_next().job_id == "id"


def test_signals_failing_listener_does_no_harm(worker: PretendWorker) -> None:
    def listener(**_: Any) -> None:
        raise RuntimeError("listener")

    before_task_publish.connect(listener)
    after_task_publish.connect(listener)
    try:
        assert worker.enqueue("id").created
    finally:
        before_task_publish.disconnect(listener)
        after_task_publish.disconnect(listener)
    assert worker.claim_next().job_id == "id"


def test_signals_headers_that_are_no_json_do_no_harm(worker: PretendWorker, add_headers: Callable[..., None]) -> None:
    add_headers(thing=object(), number=float("nan"), key={1: 2})

    assert worker.enqueue("id").created
    assert worker.claim_next().job_id == "id"
