from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.contrib.django.conftest import Configure
from tests.contrib.django.site.shop.managed_jobs import SHOP
from tests.integration.pretend import PretendWorker
from xpert_mq import ManagedQueueService
from xpert_mq.contrib.django.management.commands.xpert_mq_worker import Command
from xpert_mq.contrib.django.models import OutboxJob

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


def test_options_of_django_after_the_words(queue: ManagedQueueService, managed_jobs: Any) -> None:
    queue.enqueue(JOB, tenant_id="t", job_id="--settings")

    code, shown = managed_jobs(
        "show", "--settings", "a.b", "--pythonpath=.", "--json", "--tenant=t", "--", "--settings"
    )

    assert (code, json.loads(shown)["id"]) == (0, "--settings")


@pytest.fixture
def became(queue: ManagedQueueService, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The command that `manage.py xpert_mq_worker …` becomes, from the word `worker` on."""

    def run(*words: str) -> list[str]:
        taken: list[str] = []
        monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
        monkeypatch.setattr(os, "execv", lambda _, command: taken.extend(command))
        Command().run_from_argv(["manage.py", "xpert_mq_worker", *words])
        return taken[taken.index("worker") + 1 :]

    return run


def test_worker_passes_on_what_is_celery_s(became: Any) -> None:
    words = ["-n", "a@%h", "--concurrency", "2", "-E", "--pool=threads", "--loglevel", "INFO"]

    assert became(*words) == [
        *("--concurrency", "2", "--pool", "threads"),
        *("-n", "a@%h", "-E", "--loglevel", "INFO"),
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--execution-pool", "nowhere"], 1, "is not declared"),
        (["--execution-pool", "default", "-Q", "a"], 1, "give one of them"),
        (["--concurrency", "0"], 1, "at least 1"),
        (["--concurrency", "many"], 2, "invalid int value"),
    ],
)
def test_worker_with_wrong_options(
    became: Any, capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        became(*words)

    assert ended.value.code == code
    assert said in capsys.readouterr().err


def test_worker_of_a_project_with_errors(became: Any, configure: Configure, capsys: pytest.CaptureFixture[str]) -> None:
    configure(TENANT="no.such.function")

    with pytest.raises(SystemExit) as ended:
        became("--pool", "threads")

    assert ended.value.code == 1
    assert "xpert_mq.E002" in capsys.readouterr().err
    assert became("--pool", "threads", "--skip-checks") == ["--pool", "threads"]


def test_worker_called_from_code(queue: ManagedQueueService) -> None:
    with pytest.raises(CommandError, match="is not declared"):
        call_command("xpert_mq_worker", execution_pool=["nowhere"])


def test_commands_over_all_models_find_no_table_of_jobs(queue: ManagedQueueService, tmp_path: Path) -> None:
    OutboxJob.objects.create(job_id="id", text="{}")

    call_command("dumpdata", "xpert_mq", "--all", output=str(tmp_path / "dump.json"))

    dumped = json.loads((tmp_path / "dump.json").read_text())
    assert [(one["model"], one["fields"]["job_id"]) for one in dumped] == [("xpert_mq.outboxjob", "id")]


def test_migrations_are_those_of_the_models(tables: None) -> None:
    call_command("makemigrations", "xpert_mq", check=True, verbosity=0)
