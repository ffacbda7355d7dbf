"""docs/django.md is true: its blocks run in their order, from `django-admin startproject` to a job that ran."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import pytest

from tests.acceptance.conftest import DeploymentFactory, deploy  # noqa: F401 - a fixture
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import ROOT, wait_for
from xpert_mq.contrib.django.conf import Configuration

DOCS = (ROOT / "docs/django.md").read_text(encoding="utf-8")
_FENCE = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\S+\.py)")
_SAID = re.compile(r"^\s*#> (.*)$", re.MULTILINE)

#: Statements as they are typed, each until it ends with what it should say: a job takes its time.
_SHELL = """
import contextlib, io, time

def said(statement):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(statement, "docs/django.md", "single"), globals())
    return printed.getvalue().splitlines()

for statement, expected in {statements}:
    deadline = time.monotonic() + 15
    while (found := said(statement))[len(found) - len(expected):] != expected:
        assert time.monotonic() < deadline, (statement, found)
        time.sleep(0.05)
"""


def test_newcomer_writes_at_most_12_lines() -> None:
    path = DOCS.partition("\n## ")[0]
    code = "".join(text for language, text in _FENCE.findall(path) if language == "python")

    assert 0 < len([line for line in code.splitlines() if line and not line.startswith("#")]) <= 12


def test_table_names_every_key() -> None:
    named = re.findall(r"`([A-Z_]+)`", "".join(re.findall(r"^\|([^|]*)\|", DOCS, re.MULTILINE)))

    assert sorted(named) == sorted(one.name.upper() for one in fields(Configuration))


@pytest.mark.slow
def test_blocks_run_in_their_order(deploy: DeploymentFactory, tmp_path: Path) -> None:  # noqa: F811 - the fixture
    site = deploy(XPERT_MQ_PLUGINS="", PYTHONPATH=f"{ROOT}")
    typed: list[tuple[str, list[str]]] = []

    for language, text in _FENCE.findall(DOCS):
        if language == "sh":
            for command in text.splitlines():
                run(site, command)
        elif named := _FILE.match(text):
            with (tmp_path / named[1]).open("a", encoding="utf-8") as file:
                file.write(text.replace("redis://127.0.0.1:6379/0", site.settings.redis_url))
        else:
            typed += statements(text)
    run(site, "python manage.py check")
    shell = site.python("manage.py", "shell", "-v", "0", "-c", _SHELL.format(statements=typed))

    assert shell.returncode == 0, shell.stderr
    assert [site.finished(job_id).return_value for job_id in ("o-7", "o-8")] == [
        f"order {number} is confirmed" for number in (7, 8)
    ]


def run(site: Deployment, command: str) -> None:
    """A command, to its end; of a worker until it is ready."""
    program, *words = command.split()
    words = ["-m", "django", *words] if program == "django-admin" else words
    if "xpert_mq_worker" in words:
        worker = site.spawn(*words, "-l", "INFO", name="worker")
        wait_for(lambda: b" ready." in worker.logs(), "the worker", 30)
        return
    done = site.python("-W", "error", *words)
    assert done.returncode == 0, done.stderr


def statements(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each statement of a block, and what follows it as `#>`."""
    starts = [node.lineno - 1 for node in ast.parse(text).body]
    lines = text.splitlines(keepends=True)
    for start, end in pairwise([*starts, len(lines)]):
        statement = "".join(lines[start:end])
        yield statement, _SAID.findall(statement)
