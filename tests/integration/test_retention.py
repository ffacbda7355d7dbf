from __future__ import annotations

from typing import Any

import pytest

from tests.integration.pretend import JOB, PretendWorker, failure, wait_until

OUTCOMES = pytest.mark.parametrize("outcome", ["completed", "failed"])


def _finish(worker: PretendWorker, outcome: str, job_id: str, keep: Any, **fields: Any) -> None:
    """Runs a job to its end, under the given retention, and none at all for the other outcome."""
    worker.enqueue(
        job_id,
        **{"remove_on_complete": True, "remove_on_fail": True, f"remove_on_{_verb(outcome)}": keep},
        **fields,
    )
    claim = worker.claim_next()
    assert worker.complete(claim) if outcome == "completed" else worker.fail(claim)


def _verb(outcome: str) -> str:
    return {"completed": "complete", "failed": "fail"}[outcome]


def _milliseconds_pass(worker: PretendWorker, count: int) -> None:
    """By the server's clock."""
    now = int(worker.server_ms())
    wait_until(lambda: worker.server_ms() >= now + count)


def _kept(worker: PretendWorker, ids: list[str], tenant_id: str | None = None) -> list[str]:
    return [job_id for job_id in ids if worker.service.get_job(job_id=job_id, tenant_id=tenant_id)]


@OUTCOMES
@pytest.mark.parametrize("keep", [True, 0, {"age": 0}, {"count": 0}, {"age": 60, "count": 0}, {"age": 0, "count": 9}])
def test_retention_at_once(any_worker: PretendWorker, outcome: str, keep: Any) -> None:
    _finish(any_worker, outcome, "id", keep)

    assert any_worker.service.get_job("id") is None
    assert any_worker.keys_left() == set()
    assert any_worker.enqueue("id").created


@OUTCOMES
def test_retention_never(any_worker: PretendWorker, outcome: str) -> None:
    _finish(any_worker, outcome, "id", False)

    job = any_worker.record_key("id")
    assert any_worker.redis.ttl(job) == -1
    assert any_worker.expire() == (0, None)
    assert not any_worker.enqueue("id").created


@OUTCOMES
@pytest.mark.parametrize("keep", [3, {"count": 3}, {"age": 60, "count": 3}])
def test_retention_keeps_the_newest(any_worker: PretendWorker, outcome: str, keep: Any) -> None:
    ids = [f"{9 - number}" for number in range(8)]
    for job_id in ids:
        _finish(any_worker, outcome, job_id, keep)
        _milliseconds_pass(any_worker, 1)

    assert _kept(any_worker, ids) == ids[-3:]


@OUTCOMES
def test_retention_keeps_the_newest_of_one_millisecond(worker: PretendWorker, outcome: str) -> None:
    """Ends within one millisecond are told apart too: the job that just ended is not the one to go."""
    ids = [f"{99 - number}" for number in range(50)]
    retention = {"remove_on_complete": 1, "remove_on_fail": 1}
    worker.service.enqueue_many([{**JOB, **retention, "job_id": job_id} for job_id in ids])
    claims = [worker.claim_next() for _ in ids]
    store = worker.store
    end = store.complete if outcome == "completed" else lambda claim: store.fail(claim, failure())
    worker.service.executor.run_many([end(claim) for claim in claims])

    assert _kept(worker, ids) == ids[-1:]


@OUTCOMES
def test_retention_age_removes_without_another_job(any_worker: PretendWorker, outcome: str) -> None:
    _finish(any_worker, outcome, "id", {"age": 0.25})
    assert any_worker.job("id").state == outcome

    wait_until(lambda: any_worker.service.get_job("id") is None)

    assert any_worker.enqueue("id").created


@OUTCOMES
@pytest.mark.parametrize("verb", ["enqueue", "cancel", "retry"])
def test_retention_age_over_frees_the_id_for_each_verb(any_worker: PretendWorker, outcome: str, verb: str) -> None:
    """None of them needs a read, or a node, before it."""
    _finish(any_worker, outcome, "id", {"age": 0.01})
    _milliseconds_pass(any_worker, 12)

    if verb == "enqueue":
        assert any_worker.enqueue("id", job_name="other").created
    else:
        assert getattr(any_worker.service, verb)("id").reason == "not_found"


@OUTCOMES
def test_retention_age_is_removed_by_the_expire_script(any_worker: PretendWorker, outcome: str) -> None:
    for number in range(5):
        _finish(any_worker, outcome, f"job-{number}", {"age": 0.02}, tenant_id=f"t{number % 2}")
    _finish(any_worker, outcome, "longer", {"age": 60}, tenant_id="t0")

    removed = 0

    def all_removed() -> bool:
        nonlocal removed
        removed += any_worker.expire()[0]
        return removed == 5

    wait_until(all_removed)

    count, wait = any_worker.expire()
    assert count == 0
    assert wait is not None
    assert 50_000 < wait <= 60_000
    assert any_worker.job("longer", "t0").state == outcome
    records = {key for key in any_worker.all_keys() if key.startswith(any_worker.store.keys.jobs)}
    assert records == {any_worker.record_key("longer", "t0")}


def test_retention_expire_in_batches(any_worker: PretendWorker) -> None:
    for number in range(10):
        _finish(any_worker, "completed", f"job-{number}", {"age": 0.01}, tenant_id=f"t{number % 3}")
    _milliseconds_pass(any_worker, 12)

    assert [any_worker.expire(4)[0] for _ in range(4)] == [4, 4, 2, 0]
    assert any_worker.expire(4) == (0, None)


def test_retention_expire_tells_when_the_next_is_over(any_worker: PretendWorker) -> None:
    assert any_worker.expire() == (0, None)
    _finish(any_worker, "completed", "a", {"age": 60})
    _finish(any_worker, "completed", "b", {"age": 20})
    _finish(any_worker, "completed", "c", {"age": 40})

    wait = any_worker.expire()[1]
    assert wait is not None
    assert 15_000 < wait <= 20_000


def test_retention_age_leaves_a_backstop(worker: PretendWorker) -> None:
    _finish(worker, "completed", "id", {"age": 60})

    ttl: Any = worker.redis.pttl(worker.record_key("id"))
    assert ttl > 60_000


@OUTCOMES
def test_retention_counts_per_tenant_and_logical_job(any_worker: PretendWorker, outcome: str) -> None:
    owners: list[dict[str, Any]] = [
        {},
        {"tenant_id": "t"},
        {"tenant_id": "-"},
        {"plugin_name": "p2"},
        {"queue_name": "q2"},
        {"job_name": "j2"},
        {"plugin_name": "plugin5:queue", "queue_name": "q"},
    ]
    ids = [f"id-{number}" for number in range(len(owners))]
    for job_id, owner in zip(ids, owners, strict=True):
        _finish(any_worker, outcome, job_id, 1, **owner)

    for job_id, owner in zip(ids, owners, strict=True):
        assert any_worker.job(job_id, owner.get("tenant_id")).state == outcome


def test_retention_counts_per_outcome(worker: PretendWorker) -> None:
    _finish(worker, "completed", "good", 1)
    _finish(worker, "failed", "bad", 1)

    assert _kept(worker, ["good", "bad"]) == ["good", "bad"]


@OUTCOMES
def test_retention_false_is_not_evicted_by_a_sibling_s_count(any_worker: PretendWorker, outcome: str) -> None:
    _finish(any_worker, outcome, "kept-1", False)
    _finish(any_worker, outcome, "kept-2", False)
    for number in range(4):
        _milliseconds_pass(any_worker, 1)
        _finish(any_worker, outcome, f"job-{number}", 1)
    _finish(any_worker, outcome, "gone", True)

    assert _kept(any_worker, ["kept-1", "kept-2", "job-2", "job-3", "gone"]) == ["kept-1", "kept-2", "job-3"]


def test_retention_count_zero_of_a_sibling_evicts_nobody(worker: PretendWorker) -> None:
    _finish(worker, "completed", "kept", {"age": 60})
    for keep in (True, 0, {"count": 0}, {"age": 0}):
        _finish(worker, "completed", "gone", keep)

    assert _kept(worker, ["kept", "gone"]) == ["kept"]


def test_retention_count_alone_keeps_that_many_without_age(worker: PretendWorker) -> None:
    for number in range(3):
        _milliseconds_pass(worker, 1)
        _finish(worker, "completed", f"job-{number}", {"count": 2})

    assert _kept(worker, ["job-0", "job-1", "job-2"]) == ["job-1", "job-2"]
    assert worker.redis.ttl(worker.record_key("job-2")) == -1
    assert worker.expire() == (0, None)


def test_retention_between_tries_removes_nothing(worker: PretendWorker) -> None:
    worker.enqueue("id", attempts=2, remove_on_fail=True, remove_on_complete=True)
    worker.fail_try(worker.claim_next())

    assert worker.job("id").state == "waiting"


def test_retention_rerun_takes_the_job_out_of_it(any_worker: PretendWorker) -> None:
    _finish(any_worker, "failed", "id", {"age": 0.25, "count": 1})
    assert any_worker.service.retry("id").success
    _finish_next_of_another(any_worker)
    _milliseconds_pass(any_worker, 260)
    any_worker.expire()

    assert any_worker.job("id").state == "active"
    assert any_worker.redis.ttl(any_worker.record_key("id")) == -1


def _finish_next_of_another(worker: PretendWorker) -> None:
    """The job in the queue stays active; two others of its kind fail, of which one may be kept."""
    worker.claim_next()
    for job_id in ("x", "y"):
        _finish(worker, "failed", job_id, 1)


def test_retention_of_many_removes_all_beyond_the_count(worker: PretendWorker) -> None:
    jobs = [{**JOB, "job_id": f"job-{number}", "remove_on_complete": {"age": 60}} for number in range(300)]
    worker.service.enqueue_many(jobs)
    claims = [worker.claim_next() for _ in jobs]
    worker.service.executor.run_many([worker.store.complete(claim) for claim in claims])

    _finish(worker, "completed", "last", 10)

    assert len(_kept(worker, [str(job["job_id"]) for job in jobs])) == 9


def test_retention_leaves_no_key_without_an_owner(any_worker: PretendWorker) -> None:
    keeps: list[Any] = [True, 2, {"age": 0.02}, {"age": 0.02, "count": 2}, {"count": 1}]
    for number, keep in enumerate(keeps * 3):
        fields = {"tenant_id": f"t{number % 2}", "attempts": 3, "remove_on_complete": keep, "remove_on_fail": keep}
        any_worker.enqueue(f"job-{number}", **fields, delay_ms=number % 2)
        if number % 2:
            any_worker.promote_next()
        claim = any_worker.claim_next()
        any_worker.checkpoint(claim, "1")
        any_worker.fail_try(claim, delay_ms=1)
        any_worker.promote_next()
        claim = any_worker.claim_next()
        if number % 3:
            any_worker.fail(claim)
            if not any_worker.service.retry(f"job-{number}", tenant_id=fields["tenant_id"]).success:
                continue
            claim = any_worker.claim_next()
        any_worker.complete(claim)
    any_worker.enqueue("cancelled", delay_ms=100)
    any_worker.service.cancel("cancelled")

    # What count alone has kept goes when its owner asks for none.
    for tenant in ("t0", "t1"):
        _finish(any_worker, "completed", f"end-{tenant}", {"age": 0.01, "count": 1}, tenant_id=tenant)
        _finish(any_worker, "failed", f"fail-{tenant}", {"age": 0.01, "count": 1}, tenant_id=tenant)

    def nothing_left() -> bool:
        any_worker.expire()
        return any_worker.keys_left() == set()

    wait_until(nothing_left)


def test_retention_answers_are_short_lived(worker: PretendWorker) -> None:
    _finish(worker, "completed", "id", True)

    answers = list(worker.redis.scan_iter(match=f"{worker.store.keys.answers}*"))
    assert answers
    assert all(0 < worker.redis.ttl(key) <= 60 for key in answers)
