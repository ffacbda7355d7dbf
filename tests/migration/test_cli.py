"""`python -m migration` and `xpert-mq migrate` are the same commands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.nodes import ROOT

NAMES = ("drain", "rewrite", "scan")


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, timeout=30
    )


@pytest.mark.parametrize("words", [("-m", "migration"), ("-m", "xpert_mq.cli", "migrate")])
def test_help_lists_the_commands(words: tuple[str, ...]) -> None:
    done = run(*words, "--help")

    assert done.returncode == 0
    assert all(f"\n  {name} " in done.stdout for name in NAMES)


def test_command_that_is_none() -> None:
    done = run("-m", "migration", "scam", ".")

    assert done.returncode == 2
    assert "scam" in done.stderr


def test_what_reads_no_code_imports_no_parser() -> None:
    hidden = "import sys; sys.modules.update(libcst=None, tree_sitter=None); import migration.cli"

    assert run("-c", hidden).returncode == 0


@pytest.mark.parametrize("main", ["migration.cli import migrate as main", "xpert_mq.cli import main"])
def test_missing_parser_is_named(main: str) -> None:
    words = ["rewrite", "examples/wechat"] if "migration" in main else ["migrate", "rewrite", "examples/wechat"]
    hidden = f"import sys; sys.modules.update(libcst=None, tree_sitter=None); from {main}; main({words})"

    done = run("-c", hidden)

    assert done.returncode == 2
    assert "xpert-mq[migrate]" in done.stderr


def test_output_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "mail.py").write_text('from bullmq import Queue\nmail = Queue("é")\n', encoding="utf-8")

    done = run("-m", "migration", "scan", str(tmp_path), PYTHONIOENCODING="ascii")

    assert done.returncode == 1
    assert r"\xe9" in done.stdout
