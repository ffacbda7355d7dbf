"""The command line as a process: how this and its sister files run it, and what `--help` says."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import subprocess
import sys
import termios
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import environment

CLI = ("-m", "xpert_mq.cli")
PASSWORD = "hunter2-secret"
WIDTHS = (80, 140)

STYLE = re.compile(r"\x1b\[[0-9;]*m")


def cli(deployment: Deployment, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return deployment.python(*CLI, *words, **env)


def document(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.stdout.count("\n") == 1, done.stdout + done.stderr
    return json.loads(done.stdout)


def seen(deployment: Deployment, *words: str, width: int, answer: str = "", code: int | None = None, **env: str) -> str:
    """What a terminal of this width gets, escape sequences included."""
    terminal, inside = pty.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, pack("HHHH", 40, width, 0, 0))
    process = subprocess.Popen(
        [sys.executable, *CLI, *words],
        env=environment(**{**deployment.env, "TERM": "xterm-256color", "NO_COLOR": "", "COLUMNS": "", **env}),
        cwd=deployment.folder,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    os.write(terminal, answer.encode())
    output = b""
    try:
        while part := os.read(terminal, 65536):
            output += part
    except OSError:  # how Linux tells that the other side is closed
        pass
    status = process.wait(30)
    os.close(terminal)
    assert code is None or status == code, output
    return output.decode().replace("\r\n", "\n")


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in STYLE.sub("", text).splitlines()]


def test_help_imports_nothing_it_does_not_need(tmp_path: Path) -> None:
    code = (
        "import sys, xpert_mq.cli as cli; cli.main(['--help'], standalone_mode=False);"
        "print(sorted({'celery', 'kombu', 'pydantic', 'redis', 'rich'} & set(sys.modules)))"
    )

    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "[]"


def test_documents_exit_codes(deployment: Deployment) -> None:
    done = cli(deployment, "--help")

    assert done.returncode == 0
    codes = re.findall(r"^ +(\d)  \w", done.stdout.partition("Exit codes:")[2], re.MULTILINE)
    assert codes == ["0", "1", "2"]


@pytest.mark.parametrize("command", ["worker", "server", "jobs", "queues", "plugins", "doctor", "demo"])
def test_short_help_is_whole(deployment: Deployment, command: str) -> None:
    done = cli(deployment, "--help")
    (line,) = re.findall(rf"^  {command} .*$", done.stdout, re.MULTILINE)

    assert "..." not in line
    assert cli(deployment, command, "--help").returncode == 0


def test_unknown_command(deployment: Deployment) -> None:
    done = cli(deployment, "nonsense")

    assert (done.returncode, done.stdout) == (2, "")
    assert "nonsense" in done.stderr
