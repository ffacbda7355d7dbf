"""The command: its forms, and its exit codes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from migration.scan import command

QUEUE = "import { Queue } from 'bullmq'\nconst q = new Queue('n', { prefix: 'p' })\nq.add('job', {}, { delay: 5 })\n"
FINDING = {
    "step",
    "kind",
    "file",
    "line",
    "column",
    "what",
    "by",
    "hint",
    "queue",
    "jobs",
    "options",
    "default_options",
}


def scan(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments])


def test_nothing_to_migrate_is_0(tmp_path: Path) -> None:
    (tmp_path / "a.ts").write_text("export const a = 1")
    run = scan(tmp_path)
    assert run.exit_code == 0
    assert run.stdout == "1 file read, 0 findings.\n"


def test_something_found_is_1(tmp_path: Path) -> None:
    (tmp_path / "a.ts").write_text(QUEUE)
    run = scan(tmp_path)
    assert run.exit_code == 1
    assert "1 file read, 4 findings: 1 is for migrate drain, 3 are for you." in run.stdout


@pytest.mark.parametrize("arguments", [[], ["nowhere"], [".", "--max-size", "0"], [".", "--form"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    run = scan(*arguments)
    assert run.exit_code == 2
    assert "Error:" in run.stderr


def test_json_has_the_documented_form(tmp_path: Path) -> None:
    (tmp_path / "a.ts").write_text(QUEUE)
    (tmp_path / "bad.py").write_text("import bullmq\ndef (")
    (tmp_path / "dist").mkdir()
    run = scan(tmp_path, "--json")
    assert run.stdout.count("\n") == 1
    document: dict[str, Any] = json.loads(run.stdout)
    assert document["version"] == 1
    assert document["paths"] == [tmp_path.as_posix()]
    assert document["files"] == 1
    assert document["skipped"][0].keys() == {"path", "reason", "detail"}
    assert document["skipped_folders"] == {"dist": 1}
    assert document["totals"] == {
        "findings": 4,
        "by_step": {"1": 2, "2": 1, "3": 0, "4": 0, "5": 0, "6": 0, "7": 0, "8": 1},
        "by": {"drain": 1, "person": 3},
    }
    (plugin,) = document["plugins"]
    assert (plugin["name"], plugin["path"]) == (tmp_path.name, tmp_path.as_posix())
    assert all(one.keys() == FINDING for one in plugin["findings"])
    assert plugin["queues"] == [
        {
            "name": "n",
            "prefix": "p",
            "jobs": ["job"],
            "producers": 1,
            "processors": 0,
            "concurrency": [],
            "default_options": {},
            "file": (tmp_path / "a.ts").as_posix(),
            "line": 2,
            "column": 11,
        }
    ]


def test_markdown_is_a_checklist_by_step(tmp_path: Path) -> None:
    (tmp_path / "a.ts").write_text(QUEUE)
    lines = scan(tmp_path, "--markdown").stdout.split("\n")
    assert [line[4] for line in lines if line.startswith("### ")] == list("12345678")
    assert sum(line.startswith("- [ ] ") for line in lines) == 4


def test_sizes_and_skipped_folders_are_options(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "a.ts").write_text(QUEUE)
    (tmp_path / "big.ts").write_text(QUEUE + " " * 3000)
    assert scan(tmp_path, "--max-size", 1).exit_code == 0
    assert scan(tmp_path, "--max-size", 4).exit_code == 1
    assert scan(tmp_path, "--max-size", 1, "--all").exit_code == 1


@pytest.mark.parametrize("form", [[], ["--json"], ["--markdown"]])
def test_nothing_in_a_name_is_obeyed_by_a_terminal(tmp_path: Path, form: list[str]) -> None:
    name = "e\x1b[31m\u202e|<b>[x](y)\n\udcff.ts"
    Path(os.fsdecode(os.path.join(tmp_path, name))).write_text(QUEUE)
    run = scan(tmp_path, *form)
    assert run.exit_code == 1
    assert not {"\x1b", "\u202e", "\udcff"} & set(run.stdout)
    assert "<b>[x](y)\n" not in run.stdout


def test_a_terminal_is_not_needed_and_its_width_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.ts").write_text(QUEUE)
    monkeypatch.setenv("COLUMNS", "80")
    table = [line for line in scan(tmp_path).stdout.split("\n") if "│" in line or "─" in line]
    assert table
    assert max(len(line) for line in table) <= 80
