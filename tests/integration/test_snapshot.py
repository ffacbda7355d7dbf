from __future__ import annotations

from typing import Any

import pytest

from tests.integration.pretend import JOB, PretendWorker
from xpert_mq.models import JobSnapshot

FIELDS: dict[str, Any] = {
    "payload": {"step": 0},
    "tenant_id": "t",
    "organization_id": "org",
    "scope_key": "scope",
    "user_id": "u",
    "attempts": 2,
    "backoff_ms": {"type": "exponential", "delay": 1500},
    "remove_on_complete": {"age": 0.5, "count": 3},
    "remove_on_fail": 7,
}


def test_snapshot_of_fresh_job_has_all_fields(any_worker: PretendWorker) -> None:
    before = int(any_worker.server_ms())
    any_worker.enqueue("id", delay_ms=5000.9, **FIELDS)
    after = any_worker.server_ms()

    job = any_worker.job("id", "t")

    assert before <= job.timestamp <= after
    assert job == JobSnapshot(
        id="id",
        name="job",
        data={"step": 0},
        attempts_made=0,
        opts=job.opts,
        state="delayed",
        failed_reason=None,
        stacktrace=[],
        return_value=None,
        timestamp=job.timestamp,
        processed_on=None,
        finished_on=None,
        plugin_name="plugin",
        queue_name="queue",
        tenant_id="t",
        organization_id="org",
        scope_key="scope",
        user_id="u",
    )
    assert dict(job.opts) == {
        "attempts": 2,
        "delay_ms": 5000,
        "backoff_ms": {"type": "exponential", "delay": 1500},
        "remove_on_complete": {"age": 0.5, "count": 3},
        "remove_on_fail": 7,
    }


def test_snapshot_of_defaults(any_worker: PretendWorker) -> None:
    result = any_worker.service.enqueue(JOB)

    job = any_worker.job(result.job_id)

    assert (job.data, job.state) == (None, "waiting")
    assert (job.tenant_id, job.organization_id, job.scope_key, job.user_id) == (None, None, None, None)
    assert dict(job.opts) == {
        "attempts": 1,
        "delay_ms": 0,
        "backoff_ms": None,
        "remove_on_complete": {"age": 24 * 3600, "count": 5000},
        "remove_on_fail": {"age": 7 * 24 * 3600, "count": 5000},
    }


@pytest.mark.parametrize("keep", [True, False, 0, 5, {"age": 1}, {"count": 2}, {"age": 1.5, "count": 2}])
def test_snapshot_shows_retention_as_given(worker: PretendWorker, keep: Any) -> None:
    worker.enqueue("id", remove_on_complete=keep, remove_on_fail=keep)

    opts = worker.job("id").opts
    for shown in (opts.remove_on_complete, opts.remove_on_fail):
        assert shown == keep
        assert type(shown) is type(keep)


def test_snapshot_times_of_a_life(any_worker: PretendWorker) -> None:
    any_worker.enqueue("id", attempts=2)
    queued = any_worker.job("id")
    claim = any_worker.claim_next()
    active = any_worker.job("id")
    assert active.processed_on is not None
    assert queued.timestamp <= active.processed_on <= any_worker.server_ms()
    any_worker.fail_try(claim, delay_ms=2)
    between = any_worker.job("id")
    assert (between.processed_on, between.finished_on) == (active.processed_on, None)

    any_worker.promote_next()
    second = any_worker.claim_next()
    again = any_worker.job("id")
    assert again.processed_on is not None
    assert again.processed_on >= active.processed_on + 2
    any_worker.complete(second)

    done = any_worker.job("id")
    assert (done.timestamp, done.processed_on) == (queued.timestamp, again.processed_on)
    assert done.finished_on is not None
    assert again.processed_on <= done.finished_on <= any_worker.server_ms()


@pytest.mark.parametrize("result", ["", "null", "0", "false", '""', '{"a":[1,"\\ud800"]}', "1" + "0" * 5000])
def test_snapshot_return_value(any_worker: PretendWorker, result: str) -> None:
    any_worker.enqueue("id")
    any_worker.complete(any_worker.claim_next(), result)

    expected = {"0": 0, "false": False, '""': "", '{"a":[1,"\\ud800"]}': {"a": [1, "\ud800"]}}
    assert any_worker.job("id").return_value == (10**5000 if len(result) > 100 else expected.get(result))


def test_snapshot_of_failed(any_worker: PretendWorker) -> None:
    any_worker.bring_to("failed", "id")

    job = any_worker.job("id")

    assert (job.state, job.failed_reason, job.stacktrace) == ("failed", "boom", ["Traceback: boom"])
    assert (job.attempts_made, job.return_value) == (1, None)
    assert job.finished_on is not None


def test_snapshot_is_not_changed_by_reading(any_worker: PretendWorker) -> None:
    any_worker.bring_to("completed", "id")
    keys = any_worker.all_keys()

    assert any_worker.job("id") == any_worker.job("id")
    assert any_worker.all_keys() == keys


def test_snapshot_of_unknown_is_none(worker: PretendWorker) -> None:
    assert worker.service.get_job("id") is None
    assert worker.service.get_job({"jobId": "id"}) is None
    assert worker.service.get_job(job_id="id", tenant_id="t") is None


def test_snapshot_outlives_a_newer_release_s_fields(worker: PretendWorker) -> None:
    worker.enqueue("id", attempts=2)
    worker.redis.hset(worker.record_key("id"), "of_a_later_release", "x")

    assert worker.job("id").attempts_made == 0
    assert worker.claim_next().attempts_made == 0
