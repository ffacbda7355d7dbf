"""`xpert-mq jobs`: what it shows of single jobs, and what it does to them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.test_cli import CLI, PASSWORD, WIDTHS, cli, document, lines, seen
from xpert_mq import ApiKey, ApiPrincipal, request_context
from xpert_mq.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def running(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A platform with one worker."""
    with closing(Deployment(server, tmp_path_factory.mktemp("cli"))) as platform:
        platform.worker()
        yield platform


def test_show_tells_all_of_a_failed_job(running: Deployment) -> None:
    payload = {"how": "plain", "times": 9}
    with request_context(tenant_id="acme", organization_id="hq", user="u-7"):
        job_id = running.enqueue("fail", payload, attempts=2, backoff_ms=20, job_id="a:b/ü")
    running.finished(job_id, "acme")

    texts = [seen(running, "jobs", "show", job_id, "--tenant", "acme", width=width, code=0) for width in WIDTHS]

    for width, text in zip(WIDTHS, texts, strict=True):
        shown = lines(text)
        assert max(map(len, shown[: shown.index("Payload")])) <= width
        assert "job            a:b/ü" in shown
        assert "state          failed" in shown
        assert "tenant         acme" in shown
        assert "organization   hq" in shown
        assert "enqueued by    user u-7" in shown
        assert "pool           default" in shown
        assert "tries          2 of 2 ended" in shown
        assert "failed with    went wrong" in shown
        assert "backoff        fixed, 20 ms" in shown
        assert "completed, is  kept for 1 d, among the latest 5000" in shown
        assert '  {"how": "plain", "times": 9}' in shown
        assert shown.count("  ValueError: went wrong") == 2
        assert shown.count("  Traceback (most recent call last):") == 2
        assert any(
            re.fullmatch(r"finished       20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} [+-]\d{4} \(.* ago, took .*ms\)", line)
            for line in shown
        )


def test_show_as_json_is_the_snapshot_and_the_envelope(running: Deployment) -> None:
    key = ApiKey(token="not-to-be-seen", type="workspace", entity_id="w-1")
    principal = ApiPrincipal(principal_type="api_key", api_key=key, requested_user_id="u-9")
    with request_context(tenant_id="acme", user="u-9", principal=principal):
        job_id = running.enqueue("echo", {"n": 2**70, "text": "ü\x1b\u009b\ud800"})
    snapshot = running.finished(job_id, "acme")

    done = cli(running, "jobs", "show", job_id, "--tenant", "acme", "--json")
    said = document(done)

    assert done.returncode == 0
    assert said["data"] == snapshot.data == {"n": 2**70, "text": "ü\x1b\u009b\ud800"}
    assert said["return_value"] == snapshot.return_value
    assert [said[name] for name in ("id", "state", "attempts_made", "timestamp", "finished_on")] == [
        job_id,
        "completed",
        1,
        snapshot.timestamp,
        snapshot.finished_on,
    ]
    assert said["opts"]["remove_on_complete"] == {"age": 86400, "count": 5000}
    assert said["execution_pool"] == "default"
    assert said["actor"]["type"] == "delegated_user"
    assert said["delegation"]["requested_user_id"] == "u-9"
    assert "not-to-be-seen" not in done.stdout
    assert not set(done.stdout) & {"\x1b", "\u009b", "\ud800"}


def test_show_tells_when_a_delayed_job_is_due(deployment: Deployment) -> None:
    job_id = deployment.enqueue("echo", delay_ms=7_200_000, execution_pool="sandbox-browser")

    text = cli(deployment, "jobs", "show", job_id, "--no-tenant").stdout
    said = document(cli(deployment, "jobs", "show", job_id, "--no-tenant", "--json"))

    assert re.search(r"^due .* \(in 1 h 59 min\)", text, re.MULTILINE)
    assert re.search(r"^delay +2 h *$", text, re.MULTILINE)
    assert re.search(r"^pool +sandbox-browser *$", text, re.MULTILINE)
    assert re.search(r"^tenant +- *$", text, re.MULTILINE)
    assert said["due_at"] - said["timestamp"] in (7_200_000, 7_200_001)


def test_show_prints_nothing_that_a_terminal_obeys(deployment: Deployment) -> None:
    job_id = deployment.enqueue("echo", {"a": "\x1b]0;title\x07", "b": "[red]\u202e"}, job_id="x\x1b[2J")

    text = cli(deployment, "jobs", "show", job_id, "--no-tenant").stdout

    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "x\\u001b[2J" in text
    assert "[red]" in text


def test_show_copes_with_what_is_huge(deployment: Deployment) -> None:
    long = deployment.enqueue("echo", ["x" * 80] * 1000)
    number = deployment.enqueue("echo", 10**6000)

    text = cli(deployment, "jobs", "show", long, "--no-tenant").stdout

    assert len(text) < 12_000
    assert re.search(r"… \d+ more characters: --json has them all", text)
    assert len(document(cli(deployment, "jobs", "show", long, "--no-tenant", "--json"))["data"]) == 1000
    assert f"1{'0' * 6000}" in cli(deployment, "jobs", "show", number, "--no-tenant").stdout


def test_job_of_another_tenant_is_not_there(deployment: Deployment) -> None:
    job_id = deployment.enqueue("echo", tenant_id="one")

    for owner in (["--tenant", "two"], ["--no-tenant"]):
        done = cli(deployment, "jobs", "show", job_id, *owner)

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"Error: there is no job {job_id!r}")
        assert cli(deployment, "jobs", "cancel", job_id, *owner).returncode == 1
    assert deployment.job(job_id, "one").state == "waiting"


@pytest.mark.parametrize("verb", ["show", "cancel", "retry"])
@pytest.mark.parametrize("owner", [[], ["--tenant", "a", "--no-tenant"], ["--tenant", " "]])
def test_owner_must_be_said(deployment: Deployment, verb: str, owner: list[str]) -> None:
    done = cli(deployment, "jobs", verb, "some-id", *owner)

    assert (done.returncode, done.stdout) == (2, "")
    assert "tenant" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_cancel_of_one_job_does_not_ask(deployment: Deployment) -> None:
    job_id = deployment.enqueue("echo", tenant_id="t", delay_ms=60_000)

    first = cli(deployment, "jobs", "cancel", job_id, "--tenant", "t")
    second = cli(deployment, "jobs", "cancel", job_id, "--tenant", "t")

    assert (first.returncode, first.stdout) == (0, f"{job_id}: cancelled, it was delayed\n")
    assert (second.returncode, second.stdout) == (1, f"{job_id}: there is no such job\n")
    assert deployment.service.get_job(job_id, tenant_id="t") is None


def test_cancel_of_more_asks_first(deployment: Deployment) -> None:
    ids = [deployment.enqueue("echo", tenant_id="t") for _ in range(2)]
    words = ("jobs", "cancel", *ids, "--tenant", "t")

    refused = seen(deployment, *words, width=80, answer="n\n", code=1)
    unasked = cli(deployment, *words)

    assert f"Cancel 2 jobs of tenant 't': '{ids[0]}', '{ids[1]}'? [y/N]" in refused.replace("\n", "")
    assert "nothing was done" in refused
    assert unasked.returncode == 2
    assert "--yes" in unasked.stderr
    assert [deployment.job(job_id, "t").state for job_id in ids] == ["waiting"] * 2

    agreed = seen(deployment, *words, width=80, answer="y\n", code=0)

    assert agreed.count("cancelled, it was waiting") == 2
    assert [deployment.service.get_job(job_id, tenant_id="t") for job_id in ids] == [None, None]


def test_cancel_as_json_with_one_that_is_not_there(deployment: Deployment) -> None:
    job_id = deployment.enqueue("echo")

    done = cli(deployment, "jobs", "cancel", job_id, "--", "-other", job_id, "--no-tenant")
    assert done.returncode == 2  # after the -- all words are ids, so the owner is not said

    done = cli(deployment, "jobs", "cancel", "--no-tenant", "--yes", "--json", "--", job_id, "-other", job_id)

    assert done.returncode == 1
    assert document(done) == [
        {"job_id": job_id, "success": True, "state": "waiting", "reason": None},
        {"job_id": "-other", "success": False, "state": None, "reason": "not_found"},
    ]


def test_id_in_an_answer_cannot_look_like_another_line(deployment: Deployment) -> None:
    job_id = "a\nb: cancelled, it was waiting\tc\u2028d"
    deployment.enqueue("echo", job_id=job_id, tenant_id="x\ny")
    words = (job_id, "--tenant", "x\ny")

    shown = cli(deployment, "jobs", "show", *words).stdout
    done = cli(deployment, "jobs", "cancel", *words)

    escaped = "a\\u000ab: cancelled, it was waiting\\u0009c\\u2028d"
    assert re.search(rf"^job +{re.escape(escaped)} *$", shown, re.MULTILINE)
    assert re.search(r"^tenant +x\\u000ay *$", shown, re.MULTILINE)
    assert done.stdout == f"{escaped}: cancelled, it was waiting\n"


def test_owner_said_twice(deployment: Deployment) -> None:
    done = cli(deployment, "jobs", "show", "x", "--no-tenant", "--tenant", "acme")

    assert done.returncode == 2
    assert "--tenant and --no-tenant exclude each other" in done.stderr


def test_retry_runs_a_failed_job_again(running: Deployment) -> None:
    failed = running.enqueue("fail", {"how": "unrecoverable", "times": 1}, attempts=3)
    done = running.run("echo")
    running.finished(failed)

    first = cli(running, "jobs", "retry", failed, "--no-tenant")
    second = cli(running, "jobs", "retry", done.id, "--no-tenant")

    assert (first.returncode, first.stdout) == (0, f"{failed}: runs again\n")
    assert (second.returncode, second.stdout) == (1, f"{done.id}: not run again, it is completed\n")
    running.finished(failed)


@pytest.mark.parametrize("words", [["jobs", "show", "j"], ["jobs", "cancel", "j"], ["jobs", "list"], ["queues"]])
def test_celery_is_not_imported(deployment: Deployment, words: list[str]) -> None:
    deployment.enqueue("echo", job_id="j")

    done = deployment.python("-X", "importtime", *CLI, *words, "--no-tenant")

    assert done.returncode == 0
    assert " redis\n" in done.stderr
    assert not re.search(r"\| +(celery|kombu)$", done.stderr, re.MULTILINE)


def test_redis_away(deployment: Deployment) -> None:
    nowhere = f"redis://:{PASSWORD}@127.0.0.1:1/0"

    for verb in ("show", "cancel", "retry"):
        started = time.monotonic()
        done = cli(
            deployment, "jobs", verb, "x", "--no-tenant", XPERT_MQ_REDIS_URL=nowhere, XPERT_MQ_ENQUEUE_TIMEOUT="0.3"
        )

        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("Error: Redis at redis://127.0.0.1:1/0 is unavailable")
        assert "Traceback" not in done.stderr
        assert PASSWORD not in done.stderr
        assert time.monotonic() - started < 5
