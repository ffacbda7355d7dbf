from __future__ import annotations

import pytest

from tests.integration.pretend import PretendWorker
from xpert_mq.models import CancelResult


def test_rerun_gives_all_attempts_again(any_worker: PretendWorker) -> None:
    any_worker.enqueue("id", payload=0, attempts=2, tenant_id="t")
    for _ in range(2):
        any_worker.enqueue("id", attempts=2, tenant_id="t")
    any_worker.fail_try(any_worker.claim_next(), "one")
    last = any_worker.claim_next()
    any_worker.checkpoint(last, "5")
    any_worker.fail(last, "two")

    assert any_worker.service.retry("id", tenant_id="t") == CancelResult(True, "id", "waiting")

    job = any_worker.job("id", "t")
    assert (job.state, job.attempts_made, job.data) == ("waiting", 0, 5)
    assert (job.failed_reason, job.processed_on, job.finished_on) == (None, None, None)
    assert job.stacktrace == ["Traceback: one", "Traceback: two"]
    claim = any_worker.claim_next()
    assert (claim.attempts_made, claim.payload) == (0, b"5")
    any_worker.fail_try(claim, "three")
    assert any_worker.claim_next().attempts_made == 1
    assert any_worker.job("id", "t").stacktrace[2:] == ["Traceback: three"]


def test_rerun_goes_to_the_back(worker: PretendWorker) -> None:
    worker.bring_to("failed", "failed")
    worker.enqueue("fresh")
    worker.service.retry("failed")

    assert worker.waiting_ids() == ["fresh", "failed"]


@pytest.mark.parametrize("state", ["waiting", "delayed", "active", "completed"])
def test_rerun_refuses_other_states(any_worker: PretendWorker, state: str) -> None:
    any_worker.bring_to(state, "id")
    before, messages = any_worker.job("id"), any_worker.messages()

    assert any_worker.service.retry("id") == CancelResult(False, "id", state, state)  # type: ignore[arg-type]
    assert any_worker.job("id") == before
    assert any_worker.messages() == messages


def test_rerun_twice_runs_once(worker: PretendWorker) -> None:
    worker.bring_to("failed", "id")

    assert worker.service.retry("id").success
    assert worker.service.retry("id") == CancelResult(False, "id", "waiting", "waiting")
    assert len(worker.messages()) == 1


def test_rerun_unknown(worker: PretendWorker) -> None:
    worker.bring_to("failed", "id", tenant_id="t")

    assert worker.service.retry("id") == CancelResult(False, "id", None, "not_found")
    assert worker.service.retry("id", tenant_id="other") == CancelResult(False, "id", None, "not_found")


def test_rerun_again_and_again(any_worker: PretendWorker) -> None:
    any_worker.bring_to("failed", "id")
    for _ in range(3):
        assert any_worker.service.retry("id").success
        assert any_worker.fail(any_worker.claim_next())
    assert any_worker.service.retry("id").success
    assert any_worker.complete(any_worker.claim_next(), "1")

    job = any_worker.job("id")
    assert (job.state, job.return_value, job.attempts_made, len(job.stacktrace)) == ("completed", 1, 1, 4)
