"""`xpert-mq jobs list` and `jobs watch`: what they show, at which width, and how they end."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import closing
from struct import pack
from typing import Any

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import environment, wait_for
from tests.acceptance.test_cli import CLI, STYLE, WIDTHS, cli, document, lines, seen
from tests.integration.pretend import STATES, PretendWorker, wait_until
from xpert_mq.embedded import EmbeddedServer

WECHAT = {
    "plugin_name": "@xpert-ai/plugin-community-wechat",
    "queue_name": "wechat.outbound",
    "job_name": "send-message",
}
TENANT = "6f2c1d1e-0d60-4d5c-9d0b-0b1a5a8f7c11"
LONG_ID = "long:" + "0123456789" * 20


@pytest.fixture(scope="module")
def filled(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A platform that holds a job in each state, and no worker."""
    with closing(Deployment(server, tmp_path_factory.mktemp("list"))) as platform:
        worker = PretendWorker(platform.service)
        for state in STATES[1:]:
            worker.bring_to(state, f"job-{state}", tenant_id="acme")
            next_millisecond(worker)
        worker.enqueue("retried", attempts=3)
        worker.fail_try(worker.claim_next(), "no\nanswer [red]\x1b", delay_ms=7_200_000)
        next_millisecond(worker)
        worker.enqueue("job-waiting", **WECHAT, tenant_id=TENANT)
        yield platform


def next_millisecond(worker: PretendWorker) -> None:
    """Waits for it, since jobs are listed by theirs."""
    now = int(worker.server_ms())
    wait_until(lambda: int(worker.server_ms()) > now)


def listed(deployment: Deployment, *words: str) -> list[str]:
    """The ids that the command tells as JSON."""
    return [job["id"] for job in document(cli(deployment, "jobs", "list", "--json", *words))["jobs"]]


def test_each_job_is_three_lines_at_80_columns(filled: Deployment) -> None:
    text = seen(filled, "jobs", "list", width=80, code=0)
    shown = lines(text)

    assert max(map(len, shown)) <= 80
    assert shown[:4] == [
        "state       since   tries  id",
        "  tenant  plugin/queue/job",
        "  due, or failed with",
        "─" * 80,
    ]
    waiting = next(i for i, line in enumerate(shown) if line.endswith("  job-waiting"))
    assert re.fullmatch(r"waiting +[\d.]+ s     0/1  job-waiting", shown[waiting])
    assert "".join(shown[waiting + 1 : waiting + 3]).split() == [TENANT, "/".join(WECHAT.values())]
    retried = next(i for i, line in enumerate(shown) if line.endswith("  retried"))
    assert re.fullmatch(r"delayed +[\d.]+ s     1/3  retried", shown[retried])
    assert shown[retried + 1 : retried + 3] == ["  -  plugin/queue/job", "  due in 1 h; no answer [red]\\u001b"]
    assert "  boom" in shown
    assert "\x1b[31mfailed" in text


def test_each_job_is_a_row_at_140_columns(filled: Deployment) -> None:
    shown = lines(seen(filled, "jobs", "list", width=140, code=0))

    assert max(map(len, shown)) <= 140
    assert " ".join(shown[0].split()) == "state since tries tenant plugin/queue/job id due, or failed with"
    row = next(line for line in shown if "job-failed" in line)
    assert re.fullmatch(r"failed +[\d.]+ s +1/1  acme +plugin/queue/job +job-failed +boom", row)


def test_id_is_never_broken(deployment: Deployment) -> None:
    deployment.enqueue("echo", job_id=LONG_ID, tenant_id="t")

    for width in WIDTHS:
        assert LONG_ID in seen(deployment, "jobs", "list", width=width, code=0)


@pytest.mark.parametrize("width", WIDTHS)
def test_values_cannot_look_like_rows(deployment: Deployment, width: int) -> None:
    deployment.enqueue("echo", job_id="a\nwaiting\tb", tenant_id="x\ny")
    deployment.enqueue("echo", job_id="of hyphen", tenant_id="-")
    deployment.enqueue("echo", job_id="of nobody")

    shown = "\n".join(lines(seen(deployment, "jobs", "list", width=width, code=0)))

    assert "a\\u000awaiting\\u0009b" in shown
    assert "x\\u000ay " in shown
    assert len(re.findall(r"^waiting ", shown, re.MULTILINE)) == 3
    assert len(re.findall(r"\\u002d  ?acme/", re.sub(" +", " ", shown))) == 1
    assert len(re.findall(r" - acme/", re.sub(" +", " ", shown))) == 1


def test_completed_job_shows_no_reason_of_an_earlier_try(deployment: Deployment) -> None:
    worker = PretendWorker(deployment.service)
    worker.enqueue("j", attempts=2)
    worker.fail_try(worker.claim_next(), "boom")
    before = cli(deployment, "jobs", "list").stdout
    worker.complete(worker.claim_next())

    after = cli(deployment, "jobs", "list").stdout
    (job,) = document(cli(deployment, "jobs", "list", "--json"))["jobs"]

    assert "boom" in before
    assert "boom" not in after
    assert (job["state"], job["failed_reason"]) == ("completed", "boom")


def test_pipe_has_no_colours(filled: Deployment) -> None:
    assert "\x1b" not in cli(filled, "jobs", "list", NO_COLOR="").stdout
    assert not STYLE.search(seen(filled, "jobs", "list", width=80, NO_COLOR="1"))


def test_filters(filled: Deployment) -> None:
    everything = ["job-waiting", "retried", "job-failed", "job-completed", "job-active", "job-delayed"]

    assert listed(filled) == everything
    assert listed(filled, "--state", "failed", "--state", "active") == ["job-failed", "job-active"]
    assert listed(filled, "--plugin", "@xpert-ai/plugin-community-wechat") == ["job-waiting"]
    of_acme = listed(filled, "--queue", "queue", "--job-name", "job", "--tenant", "acme", "--oldest-first")
    assert of_acme == everything[:1:-1]
    assert listed(filled, "--no-tenant") == ["retried"]
    assert listed(filled, "--newer-than", "1h", "--state", "failed") == ["job-failed"]
    assert listed(filled, "--older-than", "1h") == []


def test_json_has_what_the_list_knows(filled: Deployment) -> None:
    said = document(cli(filled, "jobs", "list", "--json", "--no-tenant"))
    (job,) = said["jobs"]

    assert said["next"] is None
    assert job["due_at"] - job["since"] in (7_200_000, 7_200_001)
    assert {name: job[name] for name in ("id", "state", "attempts", "attempts_made", "tenant_id", "queue_name")} == {
        "id": "retried",
        "state": "delayed",
        "attempts": 3,
        "attempts_made": 1,
        "tenant_id": None,
        "queue_name": "queue",
    }
    assert job["failed_reason"].startswith("no\nanswer")


def test_cursor_goes_on_where_the_list_broke_off(filled: Deployment) -> None:
    done = cli(filled, "jobs", "list", "--limit", "4")
    cursor = re.search(r"^There are more: --after (\S+)$", done.stdout, re.MULTILINE)
    assert cursor

    assert listed(filled, "--limit", "4", "--after", cursor[1]) == ["job-active", "job-delayed"]
    assert document(cli(filled, "jobs", "list", "--json", "--limit", "4"))["next"] == cursor[1]
    assert document(cli(filled, "jobs", "list", "--json", "--limit", "6"))["next"] is None


def test_long_list_is_read_page_by_page(deployment: Deployment) -> None:
    ids = [f"{number:03}" for number in range(450)]
    jobs = [{**WECHAT, "job_id": job_id, "delay_ms": 600_000} for job_id in ids]
    deployment.service.enqueue_many(jobs)

    said = document(cli(deployment, "jobs", "list", "--json", "--limit", "401", "--oldest-first"))
    rest = listed(deployment, "--limit", "1000", "--oldest-first", "--after", said["next"])

    assert [job["id"] for job in said["jobs"]] + rest == ids


def test_nothing_there_tells_where_it_looked(deployment: Deployment) -> None:
    for command in (["jobs", "list"], ["queues"]):
        done = cli(deployment, *command, "--plugin", "p", "--tenant", "t")

        assert done.returncode == 0
        said = " ".join(done.stdout.split())
        assert f"No jobs match (plugin 'p', of tenant 't') under the prefix {deployment.prefix} on redis://" in said


@pytest.mark.parametrize(
    "words",
    [
        ["--tenant", "t", "--no-tenant"],
        ["--older-than", "2h", "--newer-than", "1h"],
        ["--after", "nonsense"],
    ],
)
def test_wrong_use(deployment: Deployment, words: list[str]) -> None:
    done = cli(deployment, "jobs", "list", *words)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["jobs", "watch"], ["queues", "--json"]])
def test_redis_away(deployment: Deployment, words: list[str]) -> None:
    done = cli(deployment, *words, XPERT_MQ_REDIS_URL="redis://:hunter2@127.0.0.1:1/0", XPERT_MQ_ENQUEUE_TIMEOUT="0.3")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: Redis at redis://127.0.0.1:1/0 is unavailable")
    assert "hunter2" not in done.stderr


# --- Watching ---------------------------------------------------------------------------------------------------------


def test_watched_job_that_fails(deployment: Deployment) -> None:
    worker = PretendWorker(deployment.service)
    worker.enqueue("j", tenant_id="t", attempts=2)
    words = ("jobs", "watch", "j", "--tenant", "t", "--interval", "0.1")
    process = deployment.spawn(*CLI, *words, name="watch")
    wait_for(lambda: b"waiting" in process.logs(), "the first line")

    worker.fail_try(worker.claim_next(), "first", delay_ms=600_000)
    wait_for(lambda: b"delayed" in process.logs(), "the second line")
    deployment.service.get_redis().zadd(f"{worker.queue}:delayed", {"1:t:j": 1})
    worker.promote()
    worker.fail(worker.claim_next(), "second")

    assert process.wait(10) == 1
    told = [line[10:] for line in process.logs().decode().splitlines()]
    assert told[0] == "waiting    tries 0/2"
    assert "delayed    tries 1/2  due in 9 min  failed with: first" in told
    assert told[-1] == "failed     tries 2/2  failed with: second"
    assert cli(deployment, *words).returncode == 1


def test_watched_job_that_completes_or_is_gone(deployment: Deployment) -> None:
    worker = PretendWorker(deployment.service)
    worker.bring_to("completed", "done")
    worker.enqueue("cancelled")

    done = cli(deployment, "jobs", "watch", "done", "--no-tenant", "--json")
    words = ("jobs", "watch", "cancelled", "--no-tenant", "--interval", "0.1")
    process = deployment.spawn(*CLI, *words, name="watch")
    wait_for(lambda: b"waiting" in process.logs(), "the first line")
    deployment.service.cancel("cancelled")

    assert done.returncode == 0
    assert document(done)["state"] == "completed"
    assert process.wait(10) == 1
    assert process.logs().endswith(b"gone: cancelled, or ended and not kept\n")
    assert cli(deployment, "jobs", "watch", "nobody", "--no-tenant").returncode == 1


def test_watch_takes_an_id_or_filters(deployment: Deployment) -> None:
    assert "not both" in cli(deployment, "jobs", "watch", "x", "--no-tenant", "--plugin", "p").stderr
    assert "whose job" in cli(deployment, "jobs", "watch", "x").stderr


@pytest.mark.parametrize(
    ("words", "shown", "code"),
    [
        (["jobs", "watch", "--json"], b'"id":"j"', 0),
        (["queues", "--watch"], b"plugin/queue/job", 0),
        (["jobs", "watch", "j", "--no-tenant"], b"waiting", 130),
    ],
)
def test_interrupt_ends_quietly(deployment: Deployment, words: list[str], shown: bytes, code: int) -> None:
    PretendWorker(deployment.service).enqueue("j")
    process = deployment.spawn(*CLI, *words, "--interval", "0.1", name="watch")
    often = 1 if code else 3
    wait_for(lambda: process.logs().count(shown) >= often, "what is watched")

    process.kill("SIGINT")

    assert process.wait(10) == code
    assert not set(process.logs().decode().split()) & {"Traceback", "Aborted!", "Error:"}
    if "--json" in words:
        assert {len(json.loads(line)["jobs"]) for line in process.logs().splitlines()} == {1}


def test_list_is_live_in_a_terminal(deployment: Deployment) -> None:
    PretendWorker(deployment.service).enqueue("job-1")
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, pack("HHHH", 24, 80, 0, 0))
    process = subprocess.Popen(
        [sys.executable, *CLI, "jobs", "watch", "--interval", "0.1"],
        env=environment(**{**deployment.env, "TERM": "xterm", "NO_COLOR": "", "COLUMNS": ""}),
        cwd=deployment.folder,
        stdin=inside,
        stdout=inside,
        stderr=inside,
    )
    os.close(inside)
    os.set_blocking(terminal, False)
    try:
        output = _read_until(terminal, b"job-1")
        deployment.service.cancel("job-1")
        output += _read_until(terminal, b"There are no jobs under")
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait()
        os.close(terminal)

    assert b"\x1b[1A" in output  # drawn in place of what was there
    assert b"Traceback" not in output


def _read_until(terminal: int, wanted: bytes) -> bytes:
    parts: list[bytes] = []

    def read() -> Any:
        try:
            parts.append(os.read(terminal, 65536))
        except BlockingIOError:
            return False
        return wanted in b"".join(parts)

    wait_for(read, f"{wanted!r} in the terminal")
    return b"".join(parts)
