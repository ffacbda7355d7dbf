"""The README is true: its Python runs in the order of the text, prints what it says, and its tables are right."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from xpert_mq import Settings

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BIN = Path(sys.executable).parent

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\w+)\.py\n")
_SAID = re.compile(r"^\s*#> (.*)$", re.MULTILINE)

#: Runs blocks one after the other in one namespace, as a reader would in a shell.
_RUNNER = """
import contextlib, io, json, sys, traceback
namespace = {"__name__": "readme"}
results = []
for place, code in json.load(sys.stdin):
    printed = io.StringIO()
    error = None
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(code, place, "exec"), namespace)
        except BaseException:
            error = traceback.format_exc()
    results.append([printed.getvalue(), error])
json.dump(results, sys.stdout)
"""


@dataclass(frozen=True)
class Block:
    """A fenced block, and the line in which its content begins."""

    language: str
    text: str
    line: int

    @property
    def place(self) -> str:
        return f"README.md:{self.line}"

    @property
    def module(self) -> str | None:
        """The name of the module that it is the file of."""
        named = _FILE.match(self.text) if self.language == "python" else None
        return named[1] if named else None


def blocks() -> list[Block]:
    text = README.read_text(encoding="utf-8")
    return [Block(one[1], one[2], text.count("\n", 0, one.start()) + 2) for one in _FENCE.finditer(text)]


FILES = [block for block in blocks() if block.module]
SNIPPETS = [block for block in blocks() if block.language == "python" and not block.module]
COMMANDS = [
    (block.place, line.partition("#")[0].strip())
    for block in blocks()
    if block.language == "sh"
    for line in block.text.splitlines()
]


def celery(command: str) -> list[str]:
    """A command of the README, with this environment's Celery."""
    return [str(BIN / Path(word).name) if word.startswith(".venv/bin/") else word for word in command.split()]


@dataclass(frozen=True)
class Site:
    """A server with a worker, and what the README's snippets did there."""

    folder: Path
    environment: dict[str, str]
    worker_log: Path
    results: dict[str, tuple[str, str | None]]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    from xpert_mq.embedded import EmbeddedServer

    folder = tmp_path_factory.mktemp("readme")
    for block in FILES:
        (folder / f"{block.module}.py").write_text(block.text, encoding="utf-8")
    log = folder / "worker.log"
    start = next(command for _, command in COMMANDS if " worker " in command)
    with EmbeddedServer() as server, log.open("wb") as output:
        environment = {
            **{name: value for name, value in os.environ.items() if name not in SETTINGS},
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
            "XPERT_MQ_REDIS_URL": server.url,
            "XPERT_MQ_PLUGINS": ",".join(str(block.module) for block in FILES),
        }
        worker = subprocess.Popen(celery(start), cwd=folder, env=environment, stdout=output, stderr=output)
        try:
            _wait_until_ready(worker, log, environment)
            yield Site(folder, environment, log, _run_snippets(folder, environment))
        finally:
            worker.terminate()
            worker.wait(30)


def _wait_until_ready(worker: subprocess.Popen[bytes], log: Path, environment: dict[str, str]) -> None:
    """Asks with the README's own command until a node answers."""
    deadline = time.monotonic() + 30
    ask = celery(next(command for _, command in COMMANDS if command.endswith(" status")))
    while subprocess.run(ask, cwd=log.parent, env=environment, capture_output=True, check=False).returncode:
        assert worker.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()


def _run_snippets(folder: Path, environment: dict[str, str]) -> dict[str, tuple[str, str | None]]:
    done = subprocess.run(
        [sys.executable, "-c", _RUNNER],
        input=json.dumps([[block.place, block.text] for block in SNIPPETS]),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    results: list[Any] = json.loads(done.stdout)
    return {block.place: tuple(result) for block, result in zip(SNIPPETS, results, strict=True)}


SETTINGS = {str(field.validation_alias): field.get_default() for field in Settings.model_fields.values()}


@pytest.mark.timeout(120)
@pytest.mark.parametrize("block", SNIPPETS, ids=lambda block: block.place)
def test_snippet_prints_what_the_readme_says(site: Site, block: Block) -> None:
    printed, error = site.results[block.place]

    assert error is None, error
    assert printed.splitlines() == _SAID.findall(block.text)


def test_worker_loaded_every_file_and_nothing_failed_but_what_should(site: Site) -> None:
    log = site.worker_log.read_text()

    assert "could not be loaded" not in log
    assert set(re.findall(r"raised unexpected: (\w+)", log)) <= {"ValueError", "UnrecoverableError"}


@pytest.mark.parametrize("block", FILES, ids=lambda block: block.place)
def test_file_of_a_plugin_is_short(block: Block) -> None:
    code = [line for line in block.text.splitlines() if line.strip()]

    ast.parse(block.text)
    assert len(code) <= 20


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("place", "command"), COMMANDS)
def test_command_works(site: Site, place: str, command: str) -> None:
    words = celery(command)
    if command.startswith("make "):
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
    elif command.startswith("export "):
        assert all(word.partition("=")[0] in SETTINGS for word in words[1:])
    elif {"worker", "events", "flower"} & set(words):
        # They run until they are ended: look whether Celery knows them, and the options that they are given.
        helped = _run(site, [*words[:4], "--help"])
        options = [word.partition("=")[0] for word in words[4:] if word.startswith("-")]
        assert [option for option in options if option not in helped and words[3] != "flower"] == []
    else:
        assert "OK" in _run(site, words)


def _run(site: Site, words: list[str]) -> str:
    done = subprocess.run(words, cwd=site.folder, env=site.environment, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_settings_table_is_complete_and_right() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (?:`(.*?)`)? ?\|", README.read_text(), re.MULTILINE)

    assert {name for name, _ in rows} == SETTINGS.keys()
    for name, said in rows:
        default = SETTINGS[name]
        shown = ",".join(default) if isinstance(default, tuple) else "" if default is None else str(default)
        assert said in (shown, shown.removesuffix(".0")), name


def test_links_lead_somewhere() -> None:
    text = README.read_text()
    headings = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }

    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings, target
        else:
            assert (ROOT / target).exists(), target
