"""What the scripts push is what Celery itself would have sent."""

from __future__ import annotations

import base64
import json
from typing import Any, cast

import pytest
from celery import Celery, Task

from tests.integration.pretend import PretendWorker
from xpert_mq.store import TASK_NAME


class _Plain(Task):  # type: ignore[misc, unused-ignore] # Celery has no types
    """Celery's own task, which nothing of ours has touched."""

    name = TASK_NAME


def sent_by_celery(worker: PretendWorker, task_id: str, shadow: str, retries: int) -> dict[str, Any]:
    """The message that Celery puts into Redis for a task without arguments."""
    queue = f"{worker.service.settings.prefix}:by-celery"
    app = Celery("plain", broker=worker.service.settings.redis_url, set_as_current=False, fixups=[])
    app.conf.update(task_default_queue=queue, broker_transport_options={"global_keyprefix": ""})
    try:
        task = app.register_task(_Plain())
        task.apply_async(task_id=task_id, shadow=shadow, retries=retries, reply_to="", queue=queue)
        raw = cast("bytes", worker.redis.rpop(queue))
    finally:
        app.close()
        worker.redis.delete(f"_kombu.binding.{queue}")
    return cast("dict[str, Any]", json.loads(raw))


def comparable(message: dict[str, Any]) -> dict[str, Any]:
    """Without what differs by nature: the tag, the sender's name and where it waits for replies, the queue's name."""
    message = json.loads(json.dumps(message))
    message["properties"].pop("delivery_tag")
    message["properties"]["delivery_info"].pop("routing_key")
    message["properties"].pop("reply_to")
    message["headers"].pop("origin")
    message["body"] = json.loads(base64.b64decode(message["body"]))
    return message


@pytest.mark.parametrize("job_id", ["id", "ünï:🙂 \"'\\/\x00\x7f"])
@pytest.mark.parametrize("life", ["enqueued", "delayed", "retried", "run again"])
def test_message_is_as_celery_s_own(any_worker: PretendWorker, job_id: str, life: str) -> None:
    names = {"plugin_name": "@x/p ü", "queue_name": 'q"', "job_name": "j\\"}
    any_worker.enqueue(job_id, **names, attempts=3, tenant_id="t:1", delay_ms=1 if life == "delayed" else 0)
    if life == "delayed":
        any_worker.promote_next()
    if life == "retried":
        any_worker.fail_try(any_worker.claim_next())
    if life == "run again":
        any_worker.fail(any_worker.claim_next())
        any_worker.service.retry(job_id, tenant_id="t:1")

    ours = any_worker.messages()[0]

    task_id = any_worker.task_id(job_id, "t:1")
    retries = 1 if life == "retried" else 0
    theirs = sent_by_celery(any_worker, task_id, '@x/p ü/q"/j\\', retries)
    assert comparable(ours) == comparable(theirs)
    assert ours["properties"]["delivery_info"]["routing_key"] == any_worker.queue
    assert ours["headers"]["id"] == task_id


def test_message_of_another_pool_names_its_queue(worker: PretendWorker) -> None:
    worker.enqueue("id", execution_pool="sandbox-browser")
    queue = worker.service.settings.queue_name("sandbox-browser")

    assert worker.messages(queue)[0]["properties"]["delivery_info"] == {"exchange": "", "routing_key": queue}


def test_message_tags_are_all_different(worker: PretendWorker) -> None:
    for number in range(20):
        worker.enqueue(f"job-{number}", attempts=2)
    tags = [message["properties"]["delivery_tag"] for message in worker.messages()]
    for _ in range(20):
        worker.fail_try(worker.claim_next())
    tags += [message["properties"]["delivery_tag"] for message in worker.messages()]

    assert len(set(tags)) == 40
    assert all(isinstance(tag, str) for tag in tags)


def test_message_fetched_is_noted_as_unacknowledged(any_worker: PretendWorker) -> None:
    for number in range(5):
        any_worker.enqueue(f'job-"{number}"')
    raw = any_worker.redis.lrange(any_worker.queue, 0, -1)[::-1]

    taken = any_worker.fetch(3, queues=[any_worker.queue, "none"])

    assert taken == raw[:3]
    unacked = any_worker.store.keys.unacked_of(any_worker.node)
    notes = cast("dict[bytes, bytes]", any_worker.redis.hgetall(unacked))
    tags = [json.loads(message)["properties"]["delivery_tag"] for message in raw[:3]]
    assert {tag.decode() for tag in notes} == set(tags)
    for tag, message in zip(tags, taken, strict=True):
        assert isinstance(message, bytes)
        assert notes[tag.encode()] == any_worker.queue.encode() + b"\n" + message
    assert len(any_worker.messages()) == 2
    # Another idle worker is told of the rest.
    assert any_worker.redis.exists(f"{any_worker.queue}:wake")
