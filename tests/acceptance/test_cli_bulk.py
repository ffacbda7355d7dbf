"""`xpert-mq jobs cancel` and `retry` by filters."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.test_cli import cli, document, seen
from tests.integration.pretend import JOB, PretendWorker
from xpert_mq.cli.bulk import Bulk
from xpert_mq.store.listing import JobFilter

CANCEL = ("jobs", "cancel")
RETRY = ("jobs", "retry")


@pytest.fixture
def worker(deployment: Deployment) -> PretendWorker:
    return PretendWorker(deployment.service)


def states(worker: PretendWorker, *ids: str, tenant: str | None = None) -> list[str | None]:
    jobs = [worker.service.get_job(job_id, tenant_id=tenant) for job_id in ids]
    return [job.state if job else None for job in jobs]


def test_cancel_asks_and_names_a_few(deployment: Deployment, worker: PretendWorker) -> None:
    ids = [f"j{number}" for number in range(7)]
    worker.service.enqueue_many([{**JOB, "job_id": job_id, "tenant_id": "t"} for job_id in ids])
    words = (*CANCEL, "--plugin", "plugin", "--all-tenants")

    refused = seen(deployment, *words, width=80, answer="n\n", code=1)
    unasked = cli(deployment, *words)

    named = ", ".join(f"'j{number}' of tenant 't'" for number in range(5))
    question = f"Cancel 7 jobs of 1 tenant (all tenants, waiting or delayed, plugin 'plugin'): such as {named}? [y/N]"
    assert question in refused.replace("\n", "")
    assert "nothing was done" in refused
    assert (unasked.returncode, unasked.stdout) == (2, "")
    assert "--yes" in unasked.stderr
    assert states(worker, *ids, tenant="t") == ["waiting"] * 7

    agreed = seen(deployment, *words, width=80, answer="y\n", code=0)

    assert "7 jobs cancelled: 7 waiting." in agreed
    assert states(worker, *ids, tenant="t") == [None] * 7


def test_question_about_all_tenants_tells_how_many(deployment: Deployment, worker: PretendWorker) -> None:
    for tenant in ("t", "u\nv", None):
        worker.enqueue("j", tenant_id=tenant)

    asked = cli(deployment, *CANCEL, "--all-tenants", "--queue", "queue")
    of_one = cli(deployment, *CANCEL, "--tenant", "t")

    assert "Cancel 3 jobs of 2 tenants and without a tenant (all tenants, waiting or delayed, queue 'queue'): " in (
        asked.stderr
    )
    assert "'j' of tenant 't', 'j' of tenant 'u\\nv', 'j' without a tenant? [y/N]" in asked.stderr
    assert "all tenants" not in of_one.stderr


def test_cancel_takes_what_the_filters_say(deployment: Deployment, worker: PretendWorker) -> None:
    worker.bring_to("active", "running", tenant_id="t")
    others: dict[str, dict[str, Any]] = {
        "mine": {"tenant_id": "t"},
        "later": {"tenant_id": "t", "delay_ms": 60_000},
        "other-name": {"tenant_id": "t", "job_name": "other"},
        "other-tenant": {"tenant_id": "u"},
        "no-tenant": {},
    }
    for job_id, fields in others.items():
        worker.enqueue(job_id, **fields)

    young = cli(deployment, *CANCEL, "--tenant", "t", "--older-than", "1h")
    done = cli(deployment, *CANCEL, "--tenant", "t", "--job-name", "job", "--yes", "--json")

    assert young.returncode == 0
    assert "No jobs match (waiting or delayed, of tenant 't', for more than 1 h)" in young.stdout
    assert (done.returncode, done.stderr) == (0, "")
    assert document(done) == {"matched": 2, "cancelled": {"waiting": 1, "delayed": 1}, "not": {}}
    assert states(worker, "mine", "later", "other-name", "running", tenant="t") == [None, None, "waiting", "active"]
    assert states(worker, "other-tenant", tenant="u") == ["waiting"]
    assert states(worker, "no-tenant") == ["waiting"]

    one = cli(deployment, *CANCEL, "--no-tenant", "--queue", "queue")

    assert (one.returncode, one.stdout) == (0, "1 job cancelled: 1 waiting.\n")


def test_retry_of_many_in_their_order(deployment: Deployment, worker: PretendWorker) -> None:
    ids = [f"j{number:03}" for number in range(230)]
    worker.service.enqueue_many([{**JOB, "job_id": job_id, "tenant_id": "t"} for job_id in ids])
    for _ in ids:
        worker.fail(worker.claim_next())

    first = cli(deployment, *RETRY, "--tenant", "t", "--oldest-first", "--limit", "220", "--yes")

    assert (first.returncode, first.stdout) == (0, "220 jobs run again.\n")
    assert worker.waiting_ids() == ids[:220]

    rest = cli(deployment, *RETRY, "--state", "failed", "--all-tenants", "--yes", "--json")

    assert document(rest) == {"matched": 10, "retried": 10, "not": {}}
    assert worker.waiting_ids() == ids


def test_what_happens_meanwhile_is_counted(worker: PretendWorker) -> None:
    for job_id in ("starts", "ends", "goes", "stays"):
        worker.enqueue(job_id)
    bulk = Bulk(worker.service, "cancel")
    found = bulk.find(JobFilter(None, ("waiting",)), None, False)
    worker.claim_next()
    worker.complete(worker.claim_next())
    worker.service.cancel("goes")

    bulk.act(found)

    assert bulk.document() == {
        "matched": 4,
        "cancelled": {"waiting": 1},
        "not": {"active": 1, "completed": 1, "not_found": 1},
    }
    assert bulk.in_words() == "1 job cancelled: 1 waiting. Meanwhile: 1 started, 1 completed, 1 gone."


def test_tenant_alone_is_asked_about_even_for_one_job(deployment: Deployment, worker: PretendWorker) -> None:
    worker.enqueue("only", tenant_id="t")

    done = cli(deployment, *CANCEL, "--tenant", "t")

    assert done.returncode == 2
    assert "Cancel 1 job (waiting or delayed, of tenant 't'): 'only'?" in done.stderr
    assert states(worker, "only", tenant="t") == ["waiting"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x", "--tenant", "t", "--limit", "3"], "either IDs or filters"),
        (["x", "--all-tenants"], "either IDs or filters"),
        (["--all-tenants", "--limit", "5"], "needs another filter"),
        (["--plugin", "p"], "--all-tenants"),
        (["--plugin", "p", "--tenant", "t", "--all-tenants"], "exclude each other"),
        ([], "say which jobs"),
    ],
)
def test_refused(deployment: Deployment, worker: PretendWorker, words: list[str], said: str) -> None:
    worker.enqueue("x", tenant_id="t", plugin_name="p")

    done = cli(deployment, *CANCEL, *words, "--yes")

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr.splitlines()[-1]
    assert states(worker, "x", tenant="t") == ["waiting"]


@pytest.mark.parametrize(("verb", "state"), [("cancel", "active"), ("retry", "waiting")])
def test_state_that_cannot_be_acted_on(deployment: Deployment, verb: str, state: str) -> None:
    done = cli(deployment, "jobs", verb, "--all-tenants", "--state", state)

    assert done.returncode == 2
    assert "--state" in done.stderr.splitlines()[-1]
