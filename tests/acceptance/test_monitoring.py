"""Monitors see logical jobs: events, logs, Flower and results."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import LocalProcess, wait_for

LISTENER = """
import json
from celery.events import EventReceiver
from xpert_mq import app

def show(event):
    print(json.dumps({name: event.get(name) for name in ("type", "name", "uuid", "hostname", "result", "exception")}))

with app.connection_for_read() as connection:
    app.events.Receiver(connection, handlers={"*": show}).capture(wakeup=False)
"""

RESULT = """
import json, sys
from xpert_mq import app
results = {}
for task_id in json.loads(sys.argv[1]):
    result = app.AsyncResult(task_id)
    try:
        value = result.get(timeout=5)
    except Exception as error:
        value = f"{type(error).__name__}: {error}"
    results[task_id] = [result.state, value, result.name, result.retries]
print(json.dumps(results))
"""


def task_id_of(deployment: Deployment, job_id: str, tenant_id: str | None = None) -> str:
    record = deployment.service.executor.run(deployment.service.store.read(tenant_id, job_id))
    assert record is not None
    return record.task_id()


def events_of(listener: LocalProcess) -> list[dict[str, Any]]:
    whole, _, _ = listener.logs().decode().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]


def test_events_carry_the_names_of_logical_jobs(deployment: Deployment) -> None:
    worker = deployment.worker("-E")
    listener = deployment.spawn("-c", LISTENER, name="listener")
    ids: list[str] = []

    def heard() -> bool:
        ids.append(deployment.run("fail", {"times": 1, "how": "plain"}, attempts=2).id)
        return any(event["type"] == "task-retried" for event in events_of(listener))

    # The first events may come before the listener has subscribed.
    wait_for(heard, "the event of a retry")
    last = deployment.run("fail", {"times": 1, "how": "plain"}).id

    def of_last() -> list[dict[str, Any]]:
        found = [event for event in events_of(listener) if last in (event["uuid"] or "")]
        return found if any(event["type"] == "task-failed" for event in found) else []

    seen = wait_for(of_last, "the events of the last job")
    by_type = {event["type"]: event for event in seen}
    assert sorted(by_type) == ["task-failed", "task-received", "task-started"]
    assert by_type["task-received"]["name"] == "acme/sync/fail"
    assert by_type["task-failed"]["exception"] == "ValueError('went wrong')"
    assert {event["hostname"] for event in seen} == {worker.hostname()}


def test_logs_name_logical_jobs(deployment: Deployment) -> None:
    worker = deployment.worker()

    done = deployment.run("fail", {"times": 1, "how": "surrogate"}, attempts=2, job_id="zażółć")

    assert done.state == "completed"
    for said in ("received", "retry: Retry", "succeeded"):
        worker.wait_for_line(said)
    about = [line for line in worker.logs().splitlines() if "Task acme/sync/fail[:zażółć:" in line]
    assert len(about) >= 4
    assert "Logging error" not in worker.logs()


def test_result_from_another_process(deployment: Deployment) -> None:
    deployment.worker()
    completed = deployment.run("give", {"a": [1]}, tenant_id="t:1")
    failed = deployment.run("fail", {"times": 9, "how": "plain"}, attempts=2)
    waiting = deployment.enqueue("give", delay_ms=3_600_000)
    ids = [
        task_id_of(deployment, completed.id, "t:1"),
        task_id_of(deployment, failed.id),
        task_id_of(deployment, waiting),
    ]

    asked = deployment.python("-c", RESULT, json.dumps(ids))

    assert asked.returncode == 0, asked.stderr
    assert json.loads(asked.stdout) == {
        ids[0]: ["SUCCESS", {"a": [1]}, "acme/sync/give", 1],
        ids[1]: ["FAILURE", "ValueError: went wrong", "acme/sync/fail", 2],
        ids[2]: ["PENDING", "TimeoutError: The operation timed out.", "acme/sync/give", 0],
    }


@pytest.mark.slow
def test_flower_shows_logical_jobs(deployment: Deployment) -> None:
    worker = deployment.worker("-E", fast=False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    deployment.start(
        "flower", f"--port={port}", "--address=127.0.0.1", name="flower", FLOWER_UNAUTHENTICATED_API="true"
    )

    def api(path: str) -> Any:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/{path}", timeout=5) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            return None

    wait_for(lambda: api("tasks") is not None, "Flower to answer", 20)

    def shown() -> dict[str, Any]:
        done = deployment.run("give", {"a": 1}, tenant_id="t-1")
        tasks: dict[str, Any] = api("tasks")
        return {
            task: seen
            for task, seen in tasks.items()
            if done.id not in task and seen["name"] and seen["state"] == "SUCCESS"
        }

    tasks = wait_for(shown, "Flower to show a job", 20)
    task_id, seen = next(iter(tasks.items()))
    assert seen["name"] == "acme/sync/give"
    assert seen["worker"] == worker.hostname()
    assert api(f"task/info/{urllib.parse.quote(task_id)}")["name"] == "acme/sync/give"
    workers = wait_for(lambda: api("workers?refresh=1"), "Flower to ask the worker", 20)
    assert worker.hostname() in workers
    # From the answer to `inspect stats`.
    assert workers[worker.hostname()]["stats"]["pool"]
