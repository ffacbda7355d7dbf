"""Jobs of another queue: each is added once, whatever has become of it, and however often it is offered."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.conftest import ServiceFactory
from tests.integration.pretend import JOB, PretendWorker, in_threads
from tests.integration.proxy import Cut, Proxy
from xpert_mq.adoption import Adopted, Adoption, AdoptionLedger
from xpert_mq.errors import InvalidJobError, QueueUnavailableError


def adoption(job_id: str, attempts_made: int = 0, **fields: Any) -> Adoption:
    return Adoption({**JOB, "job_id": job_id, **fields}, source_id=job_id, attempts_made=attempts_made)


@pytest.fixture
def ledger(worker: PretendWorker) -> AdoptionLedger:
    return AdoptionLedger("bull:old", worker.service)


def test_adopted_jobs_are_waiting_in_order(any_worker: PretendWorker) -> None:
    ids = [f"job-{number}" for number in range(600)]

    adopted = AdoptionLedger("bull:old", any_worker.service).adopt_many([adoption(job_id) for job_id in ids])

    assert adopted == [Adopted(job_id, "adopted", "waiting") for job_id in ids]
    assert any_worker.waiting_ids() == ids


@pytest.mark.parametrize("end", ["waiting", "delayed", "active", "completed", "failed", "gone"])
def test_job_is_adopted_once_whatever_became_of_it(worker: PretendWorker, ledger: AdoptionLedger, end: str) -> None:
    one = adoption("id", delay_ms=60_000 if end == "delayed" else None, remove_on_complete=end == "gone")
    ledger.adopt_many([one])
    if end not in ("waiting", "delayed"):
        claim = worker.claim_next()
        if end == "failed":
            worker.fail(claim)
        elif end != "active":
            worker.complete(claim)
    before = worker.service.get_job("id")

    assert ledger.adopt_many([one]) == [Adopted("id", "already", None)]
    assert worker.service.get_job("id") == before


def test_tries_that_were_made_elsewhere_count(worker: PretendWorker, ledger: AdoptionLedger) -> None:
    backoff = {"type": "exponential", "delay": 100}
    ledger.adopt_many([adoption("id", attempts_made=2, attempts=3, backoff_ms=backoff)])
    assert worker.job("id").attempts_made == 2

    claim = worker.claim_next()

    assert (claim.attempts_made, claim.opts.attempts, claim.opts.backoff_before(3)) == (2, 3, 400)


def test_prepared_job_is_adopted(worker: PretendWorker, ledger: AdoptionLedger) -> None:
    prepared = worker.service.prepare(JOB, job_id="id", delay_ms=60_000)

    assert ledger.adopt_many([Adoption(prepared, "1", attempts_made=1)]) == [Adopted("id", "adopted", "delayed")]
    assert worker.job("id").attempts_made == 1


def test_job_in_its_backoff_stays_delayed(worker: PretendWorker, ledger: AdoptionLedger) -> None:
    assert ledger.adopt_many([adoption("id", attempts_made=1, attempts=3, delay_ms=60_000)])[0].state == "delayed"

    job = worker.job("id")

    assert (job.state, job.attempts_made) == ("delayed", 1)


def test_id_that_is_held_is_neither_added_nor_noted(worker: PretendWorker, ledger: AdoptionLedger) -> None:
    worker.enqueue("same")
    worker.service.enqueue({**JOB, "job_name": "other"}, job_id="others")

    adopted = ledger.adopt_many([adoption("same"), adoption("others"), adoption("free")])

    assert [one.outcome for one in adopted] == ["kept", "conflict", "adopted"]
    assert ledger.count() == 1
    worker.service.cancel("same")
    assert ledger.adopt_many([adoption("same")])[0].outcome == "adopted"


def test_ledgers_know_nothing_of_each_other(worker: PretendWorker, ledger: AdoptionLedger) -> None:
    ledger.adopt_many([adoption("id", remove_on_complete=True)])
    worker.complete(worker.claim_next())

    other = AdoptionLedger("bull:older", worker.service)

    assert other.adopt_many([adoption("id")])[0].outcome == "adopted"


def test_forgotten_ledger_has_nothing(worker: PretendWorker, ledger: AdoptionLedger) -> None:
    ledger.adopt_many([adoption("a"), adoption("b")])
    assert ledger.count() == 2

    ledger.forget()

    assert ledger.count() == 0
    assert ledger.adopt_many([adoption("a")])[0].outcome == "kept"


@pytest.mark.parametrize(
    "wrong",
    [
        Adoption({**JOB, "attempts": 0}, "1"),
        Adoption(JOB, ""),
        Adoption(JOB, "1", attempts_made=-1),
        Adoption(JOB, "1", attempts_made=True),
        Adoption({**JOB, "unknown": 1}, "1"),
    ],
)
def test_invalid_one_is_named_and_none_is_added(worker: PretendWorker, ledger: AdoptionLedger, wrong: Adoption) -> None:
    with pytest.raises(InvalidJobError) as caught:
        ledger.adopt_many([adoption("fine"), wrong])

    assert caught.value.index == 1
    assert worker.service.get_job("fine") is None


def test_ledger_without_a_name(worker: PretendWorker) -> None:
    with pytest.raises(InvalidJobError):
        AdoptionLedger("", worker.service)


@pytest.mark.parametrize("where", ["before", "after"])
def test_connection_that_breaks(
    proxy: Proxy, worker: PretendWorker, service_factory: ServiceFactory, where: Cut
) -> None:
    service = service_factory(proxy.url, prefix=worker.service.settings.prefix)
    ledger = AdoptionLedger("bull:old", service)
    ledger.adopt_many([adoption("warm", remove_on_complete=True)])
    worker.complete(worker.claim_next())
    proxy.cut(where)

    ledger.adopt_many([adoption("id")])

    assert ledger.count() == 2
    assert worker.waiting_ids() == ["id"]


def test_two_at_once_add_each_job_once(worker: PretendWorker, ledger: AdoptionLedger) -> None:
    jobs = [adoption(f"job-{number}", remove_on_complete=True) for number in range(500)]
    results: list[list[Adopted]] = []
    in_threads(*[lambda: results.append(ledger.adopt_many(jobs))] * 2)

    outcomes = [{one.outcome for one in pair} for pair in zip(*results, strict=True)]
    assert outcomes == [{"adopted", "already"}] * 500


def test_server_that_is_away(service_factory: ServiceFactory) -> None:
    service = service_factory("redis://127.0.0.1:1/0", enqueue_timeout=0.2)

    ledger = AdoptionLedger("bull:old", service)

    for act in (lambda: ledger.adopt_many([adoption("id")]), ledger.count, ledger.forget):
        with pytest.raises(QueueUnavailableError):
            act()
