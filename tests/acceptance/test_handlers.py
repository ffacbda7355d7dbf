"""In every pool: handlers of every kind are called as the contract says, and what they give or raise is recorded."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.deployment import Deployment

QUEUES = pytest.mark.parametrize("queue", ["sync", "async"])


@QUEUES
def test_handler_sees_job_and_context(site: Deployment, queue: str) -> None:
    with_all = {"tenant_id": "t-1", "organization_id": "o-1", "scope_key": "s-1"}

    done = site.run("echo", {"a": 1}, queue=queue, job_id=f"echo:{queue}:1", attempts=3, **with_all)

    assert done.state == "completed"
    assert done.attempts_made == 1
    seen = done.return_value
    assert {name: seen[name] for name in ("id", "name", "data", "attempts_made", "attempts")} == {
        "id": f"echo:{queue}:1",
        "name": "echo",
        "data": {"a": 1},
        "attempts_made": 0,
        "attempts": 3,
    }
    named = {"plugin_name": "acme", "queue_name": queue, "job_name": "echo", "user_id": None}
    assert seen["context"] == {**named, **with_all}
    assert seen["current"] == ["t-1", "o-1", None, None]


def test_handler_class_for_several_jobs(site: Deployment) -> None:
    first, second = (site.run(job, queue="stacked").return_value for job in ("first", "second"))

    assert first[:2] == ["first", "acme"]
    assert second[:2] == ["second", "acme"]
    # One instance for both, in a process.
    assert first[2] == second[2]


def test_handler_class_with_process(site: Deployment) -> None:
    assert site.run("processed", queue="stacked").return_value == ["processed", "stacked"]


PAYLOADS: dict[str, Any] = {
    "none": None,
    "false": False,
    "zero": 0,
    "empty": "",
    "list": [],
    "large": ["payload of 200 KB", "x" * 200_000],
    "non-ascii": {"zażółć": "gęślą jaźń 🦆 \x00 \u2028"},
    "integer": [2**70, -(2**70), 2**53 + 1],
    "surrogate": {"half \ud83e": "\udd86 half"},
    "nested": [[[[[[{"a": [{}]}]]]]]],
    "float": [0.1, 1e300, -0.0],
}


@QUEUES
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_payload_comes_and_returns_as_it_was(site: Deployment, queue: str, payload: Any) -> None:
    done = site.run("give", payload, queue=queue)

    assert done.state == "completed"
    assert done.data == payload
    assert done.return_value == payload


@pytest.mark.parametrize(
    "job_id", ['quo"te', "back\\slash", "line\nbreak\x00", "50% {0} %s", "gęś/🦆", "a:b:1", "-", "x" * 300], ids=repr
)
def test_any_text_is_a_job_id(site: Deployment, job_id: str) -> None:
    for tenant in (None, 'te:"nant\\🦆'):
        done = site.run("echo", job_id=job_id, tenant_id=tenant)

        assert done.return_value["id"] == job_id


@QUEUES
@pytest.mark.parametrize("what", ["object", "nan", "function", "large", "key"])
def test_result_that_is_not_json_is_dropped_with_a_warning(site: Deployment, queue: str, what: str) -> None:
    done = site.run("give", what, queue=queue)

    assert (done.state, done.return_value, done.failed_reason) == ("completed", None, None)
    site.workers[0].wait_for_line(f"job {done.id}: its return value is dropped")


ERRORS = {
    "plain": ("went wrong", "ValueError: went wrong"),
    "empty": ("", "ValueError"),
    "chained": ("effect", "KeyError: 'cause'"),
    "group": ("several (2 sub-exceptions)", "KeyError: 'two'"),
    "unpicklable": ("can't be pickled", "can't be pickled"),
    "two-arguments": ("one two", "one two"),
    "surrogate": ("bad \\ud800 text", "bad \\ud800 text"),
    "stop": ("", "StopIteration"),
    "ignore": ("ignored", "ignored"),
    "reject": ("", "Reject"),
    "retry": ("", "Retry"),
    "soft-limit": ("", "SoftTimeLimitExceeded"),
}


@QUEUES
@pytest.mark.parametrize("how", ERRORS)
def test_error_is_a_failed_try(site: Deployment, queue: str, how: str) -> None:
    again = site.run("fail", {"times": 1, "how": how}, queue=queue, attempts=2)
    last = site.run("fail", {"times": 9, "how": how}, queue=queue, attempts=2)

    assert (again.state, again.return_value, again.attempts_made) == ("completed", 1, 2)
    assert (last.state, last.attempts_made, len(last.stacktrace)) == ("failed", 2, 2)
    reason, in_stack = ERRORS[how]
    assert reason in str(last.failed_reason)
    assert all(in_stack in stack for stack in (*again.stacktrace, *last.stacktrace))


@QUEUES
def test_unrecoverable_error_fails_at_once(site: Deployment, queue: str) -> None:
    done = site.run("fail", {"times": 9, "how": "unrecoverable"}, queue=queue, attempts=5)

    assert (done.state, done.attempts_made, done.failed_reason) == ("failed", 1, "never again")


@QUEUES
def test_defer_spends_no_attempt(site: Deployment, queue: str) -> None:
    done = site.run("defer", 50, queue=queue)

    assert (done.state, done.return_value, done.attempts_made) == ("completed", 0, 1)
    first, second = site.notes(done.id)
    assert second["at"] - first["at"] >= 50
    assert done.stacktrace == []


def test_unknown_handler_is_a_failed_try(site: Deployment) -> None:
    done = site.run("nobody", attempts=2)

    assert (done.state, done.attempts_made) == ("failed", 2)
    assert done.failed_reason == "No managed queue handler registered for acme/sync/nobody"


@QUEUES
def test_checkpoint_is_seen_by_the_next_try(site: Deployment, queue: str) -> None:
    done = site.run("checkpoint", {"step": 0, "kept": "é\ud800"}, queue=queue, attempts=3)

    assert done.state == "completed"
    assert done.return_value == done.data == {"step": 3, "kept": "é\ud800"}
    assert done.attempts_made == 3


@QUEUES
def test_handler_cancels_and_enqueues_itself(site: Deployment, queue: str) -> None:
    done = site.run("own", queue=queue, tenant_id="t-own")

    *own, nested_id = done.return_value
    assert own == [False, "active", False, "active"]
    nested = site.finished(nested_id, "t-own")
    assert nested.return_value["current"][0] == "t-own"
    assert site.service.get_job(nested_id) is None


def test_platform_client_serves_sync_and_async_handlers(site: Deployment) -> None:
    done = [site.run("client", "both", queue=queue) for queue in ["sync", "async"] * 3]

    assert [(one.state, one.return_value) for one in done] == [("completed", number) for number in range(1, 7)]


def test_failed_job_runs_again_by_retry(site: Deployment) -> None:
    job_id = site.enqueue("fail", {"times": 1, "how": "plain"}, attempts=1)
    assert site.finished(job_id).state == "failed"

    assert site.service.retry(job_id).success

    # Its attempts start anew, so it fails again.
    site.wait_state(job_id, "failed")
    assert [one["event"] for one in site.notes(job_id)] == ["start", "end", "start", "end"]
