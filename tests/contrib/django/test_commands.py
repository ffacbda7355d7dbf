from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.management import call_command

from tests.contrib.django.site.shop.managed_jobs import SHOP
from tests.integration.pretend import PretendWorker
from xpert_mq import InvalidJobError, ManagedQueueService

JOB = {**SHOP, "job_name": "note"}


@pytest.fixture
def managed_jobs(queue: ManagedQueueService, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command; gives its exit code and output."""

    def run(*words: str) -> tuple[Any, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            call_command("managed_jobs", *words)
        return ended.value.code, capsys.readouterr().out

    return run


def test_list_and_show(queue: ManagedQueueService, managed_jobs: Any) -> None:
    queue.enqueue(JOB, tenant_id="t", job_id="id", payload={"name": "n"})

    code, listed = managed_jobs("list", "--tenant", "t", "--json")
    _, shown = managed_jobs("show", "id", "--tenant", "t", "--json")

    assert (code, [job["id"] for job in json.loads(listed)["jobs"]]) == (0, ["id"])
    assert json.loads(shown)["data"] == {"name": "n"}


def test_cancel(queue: ManagedQueueService, managed_jobs: Any) -> None:
    queue.enqueue(JOB, tenant_id="t", job_id="id")

    assert managed_jobs("cancel", "id", "--no-tenant")[0] == 1
    assert managed_jobs("cancel", "id", "--tenant", "t")[0] == 0
    assert queue.get_job("id", tenant_id="t") is None


def test_retry(queue: ManagedQueueService, managed_jobs: Any) -> None:
    worker = PretendWorker(queue)
    queue.enqueue(JOB, tenant_id="t", job_id="id")
    assert managed_jobs("retry", "id", "--tenant", "t")[0] == 1
    worker.fail(worker.claim_next())

    assert managed_jobs("retry", "id", "--tenant", "t")[0] == 0
    assert worker.job("id", "t").state == "waiting"


def test_without_words_it_tells_what_there_is(managed_jobs: Any) -> None:
    code, said = managed_jobs()

    assert code == 0
    assert "manage.py managed_jobs" in said
    assert all(verb in said for verb in ("list", "show", "cancel", "retry"))


def test_worker_of_an_unknown_pool(queue: ManagedQueueService) -> None:
    with pytest.raises(InvalidJobError, match="is not declared"):
        call_command("xpert_mq_worker", "--execution-pool", "nowhere")
