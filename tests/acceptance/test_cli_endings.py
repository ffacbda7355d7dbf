"""How commands end that are interrupted, or whose output nobody reads."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.acceptance.conftest import DeploymentFactory
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import environment, wait_for
from tests.acceptance.test_cli import CLI
from tests.conftest import ServerFactory
from tests.integration.pretend import JOB, PretendWorker

NO_TENANT = "--no-tenant"
CLOSED_PIPE = 128 + signal.SIGPIPE


@pytest.fixture(autouse=True)
def _commands_can_be_interrupted() -> Iterator[None]:
    """Also where this process was told to ignore it, which commands would inherit."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "words",
    [
        ["jobs", "list"],
        ["jobs", "show", "x", NO_TENANT],
        ["jobs", "cancel", "--tenant", "t"],
        ["jobs", "retry", "--tenant", "t"],
        ["queues"],
        ["doctor"],
    ],
)
def test_interrupt_while_waiting_for_the_server(deployment: Deployment, words: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        process = deployment.spawn(*CLI, *words, name="command", XPERT_MQ_REDIS_URL=url, XPERT_MQ_ENQUEUE_TIMEOUT="60")
        connection, _ = silent.accept()
        with connection:
            process.kill("SIGINT")
            code = process.wait(10)

    assert code == 130
    assert process.logs() == b"Interrupted.\n"


def test_interrupt_at_the_question(deployment: Deployment) -> None:
    worker = PretendWorker(deployment.service)
    for job_id in ("a", "b"):
        worker.enqueue(job_id)
    command = subprocess.Popen(
        [sys.executable, *CLI, "jobs", "cancel", "a", "b", NO_TENANT],
        env=environment(**deployment.env),
        cwd=deployment.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with command:
        assert command.stderr
        asked = b""
        while b"[y/N]: " not in asked:
            asked += (part := os.read(command.stderr.fileno(), 4096))
            assert part, asked
        command.send_signal(signal.SIGINT)
        output, rest = command.communicate(timeout=10)

    assert (command.returncode, output, rest) == (130, b"", b"\nInterrupted.\n")
    assert worker.waiting_ids() == ["a", "b"]


@pytest.mark.parametrize("as_json", [False, True])
def test_interrupt_amid_many_tells_what_was_done(
    server_factory: ServerFactory, deploy: DeploymentFactory, as_json: bool
) -> None:
    deployment = deploy(server_factory())
    service, total = deployment.service, 10_000
    service.enqueue_many([{**JOB, "job_id": str(number)} for number in range(total)])
    waiting = f"{deployment.prefix}:plugin-jobs:waiting"

    def left() -> int:
        return int(service.get_redis().zcard(waiting))

    words = ("jobs", "cancel", NO_TENANT, "--yes", *(["--json"] if as_json else []))
    process = deployment.spawn(*CLI, *words, name="cancel", XPERT_MQ_ENQUEUE_TIMEOUT="30")
    wait_for(lambda: left() < total, "the first batch")
    deployment.server.freeze()
    process.kill("SIGINT")
    deployment.server.thaw()

    assert process.wait(20) == 130
    done = total - left()
    assert 0 < done < total
    said = process.logs().decode()
    if as_json:
        assert sorted(said.splitlines()) == [
            "Interrupted.",
            f'{{"matched":{total},"cancelled":{{"waiting":{done}}},"not":{{}}}}',
        ]
    else:
        assert said == f"Interrupted; {done} jobs cancelled: {done} waiting.\n"


def test_interrupt_amid_many_ids(server_factory: ServerFactory, deploy: DeploymentFactory) -> None:
    deployment = deploy(server_factory())
    ids = [str(number) for number in range(5_000)]
    deployment.service.enqueue_many([{**JOB, "job_id": job_id} for job_id in ids])
    process = deployment.spawn(*CLI, "jobs", "cancel", NO_TENANT, "--yes", *ids, name="cancel")
    wait_for(lambda: b"cancelled" in process.logs(), "the first job")

    deployment.server.freeze()
    process.kill("SIGINT")
    deployment.server.thaw()

    assert process.wait(20) == 130
    *cancelled, last = process.logs().decode().splitlines()
    assert last == f"Interrupted after {len(cancelled)} of 5000 jobs."
    assert deployment.service.get_job(ids[len(cancelled) - 1]) is None
    assert deployment.job(ids[len(cancelled)]).state == "waiting"


@pytest.mark.parametrize(
    "words", [["--help"], ["jobs", "--help"], ["jobs", "list"], ["jobs", "list", "--json"], ["queues"], ["doctor"]]
)
def test_output_that_nobody_reads(deployment: Deployment, words: list[str]) -> None:
    PretendWorker(deployment.service).enqueue("j")
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, *CLI, *words],
            env=environment(**deployment.env),
            cwd=deployment.folder,
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    finally:
        os.close(writer)

    assert (done.returncode, done.stderr) == (CLOSED_PIPE, b"")


def test_each_look_of_a_watched_list_has_its_time_in_a_pipe(deployment: Deployment) -> None:
    PretendWorker(deployment.service).enqueue("j")
    process = deployment.spawn(*CLI, "jobs", "watch", "--interval", "0.1", name="watch")

    def times() -> int:
        return len(re.findall(rb"^\d\d:\d\d:\d\d\nstate ", process.logs(), re.MULTILINE))

    wait_for(lambda: times() >= 2, "two looks")
    process.kill("SIGINT")

    assert process.wait(10) == 0
    assert process.logs().count(b"state ") == times()
