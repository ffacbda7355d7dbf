"""The command: what it prints, what it writes, and what it does with files that it can't rewrite."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from migration.rewrite import command

BEFORE = """from bullmq import Queue

queue = Queue("mail")


async def send(tenant_id):
    await queue.add("send", 1)
"""
URGENT = BEFORE.replace("1)", '1, {"priority": 1})')
OURS = "await managed_queue.aenqueue("


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "shop"\n[tool.ruff]\nline-length = 120\n')
    (tmp_path / "mail.py").write_text(BEFORE)
    return tmp_path


def invoke(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "500"}).invoke(command, [str(one) for one in arguments])


def report(*arguments: object) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(invoke(*arguments, "--json").stdout)
    return found


def test_dry_run_shows_a_diff_and_changes_nothing(plugin: Path) -> None:
    result = invoke(plugin)
    assert result.exit_code == 0
    assert '-    await queue.add("send", 1)\n' in result.stdout
    assert f"+    {OURS}" in result.stdout
    assert "1 file would be rewritten, 0 to decide, 0 left out. Run it with --write to do it." in result.stdout
    assert (plugin / "mail.py").read_text() == BEFORE


def test_write_and_again(plugin: Path) -> None:
    assert "1 file rewritten" in invoke(plugin, "--write").stdout
    text = (plugin / "mail.py").read_text()
    assert OURS in text
    assert 'plugin_name="shop"' in text
    result = invoke(plugin, "--write")
    assert (result.exit_code, result.stdout) == (0, "0 files rewritten, 0 to decide, 0 left out.\n")
    assert (plugin / "mail.py").read_text() == text


def test_check_ends_with_one_while_something_would_change(plugin: Path) -> None:
    result = invoke(plugin, "--check")
    assert result.exit_code == 1
    assert "@@" not in result.stdout
    assert (plugin / "mail.py").read_text() == BEFORE
    invoke(plugin, "--write")
    assert invoke(plugin, "--check").exit_code == 0


def test_finding_names_the_line_of_the_file_as_it_is(plugin: Path) -> None:
    (plugin / "mail.py").write_text(URGENT)
    dry = report(plugin)["findings"][0]
    assert (dry["line"], dry["level"], dry["rule"]) == (7, "decide", "priority")
    done = report(plugin, "--write")["findings"][0]
    lines = (plugin / "mail.py").read_text().split("\n")
    assert "queue.add" in lines[int(done["line"]) - 1]
    result = invoke(plugin)
    assert result.exit_code == 1
    assert f"{plugin / 'mail.py'}:{done['line']}" in result.stdout.replace("\n", "")


def test_json(plugin: Path) -> None:
    document = report(plugin)
    assert (document["version"], document["written"], document["skipped"]) == (1, False, [])
    assert document["files"][0]["path"] == str(plugin / "mail.py")
    assert document["files"][0]["diff"].startswith("--- a/")


def test_plugin_name_is_given_or_found_or_missed(plugin: Path) -> None:
    invoke(plugin, "--write", "--plugin-name", "@xpert-ai/plugin-mail")
    assert 'plugin_name="@xpert-ai/plugin-mail"' in (plugin / "mail.py").read_text()
    (plugin / "mail.py").write_text(BEFORE)
    (plugin / "pyproject.toml").write_text("[tool.other]\n")
    assert [one["rule"] for one in report(plugin)["findings"]] == ["plugin-name"]
    (plugin / "pyproject.toml").write_text('[tool.poetry]\nname = "old"\n')
    assert report(plugin)["findings"] == []


@pytest.mark.parametrize("arguments", [("--write", "--check"), ("--plugin-name", " ")])
def test_wrong_usage(plugin: Path, arguments: tuple[str, ...]) -> None:
    assert invoke(plugin, *arguments).exit_code == 2
    assert (plugin / "mail.py").read_text() == BEFORE


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"from bullmq import Queue\ndef broken(:\n", "not parsed: invalid syntax, line 2"),
        (b"from bullmq import Queue\n\n# \xff\n", "not in its encoding"),
        (b"# coding: nonsense\nfrom bullmq import Queue\n", "not parsed"),
        (b"x = 1\0\n", "not parsed"),
        (b"x = " + b"(" * 1500 + b"\n", "not parsed"),
        (b"# " + b"x" * 3000 + b"\n", "3003 bytes, more than 2000"),
    ],
)
def test_bad_file_is_left_out_and_the_others_are_rewritten(plugin: Path, data: bytes, reason: str) -> None:
    (plugin / "bad.py").write_bytes(data)
    result = invoke(plugin, "--write", "--max-bytes", 2000, "--json")
    assert result.exit_code == 2
    document = json.loads(result.stdout)
    assert [(one["path"], one["reason"][: len(reason)]) for one in document["skipped"]] == [
        (str(plugin / "bad.py"), reason)
    ]
    assert (plugin / "bad.py").read_bytes() == data
    assert OURS in (plugin / "mail.py").read_text()


def test_links_are_not_followed(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "far.py"
    outside.write_text(BEFORE)
    (plugin / "far.py").symlink_to(outside)
    (plugin / "near.py").symlink_to(plugin / "mail.py")
    (plugin / "round").symlink_to(plugin)
    result = invoke(plugin, "--write")
    assert result.exit_code == 0
    assert outside.read_text() == BEFORE
    assert (plugin / "near.py").is_symlink()
    assert OURS in (plugin / "mail.py").read_text()
    assert {Path(one["path"]).name for one in report(plugin)["skipped"]} == {"far.py", "round"}
    (plugin / "loop.py").symlink_to(plugin / "loop.py")
    assert invoke(plugin).exit_code == 2


def test_folders_of_others_are_not_looked_into(plugin: Path) -> None:
    for name in (".venv", "node_modules", "build"):
        (plugin / name).mkdir()
        (plugin / name / "theirs.py").write_text(BEFORE)
    assert len(report(plugin)["files"]) == 1


@pytest.mark.parametrize(
    ("before", "encoding"),
    [
        (BEFORE.replace("\n", "\r\n").encode(), "utf-8"),
        (b"\xef\xbb\xbf" + BEFORE.encode(), "utf-8-sig"),
        (f"# coding: latin-1\n{BEFORE}# caf\xe9\n".encode("latin-1"), "latin-1"),
        (BEFORE.encode().rstrip(b"\n"), "utf-8"),
    ],
)
def test_bytes_are_kept(plugin: Path, before: bytes, encoding: str) -> None:
    path = plugin / "mail.py"
    path.write_bytes(before)
    path.chmod(0o750)
    assert invoke(plugin, "--write").exit_code == 0
    after = path.read_bytes()
    assert OURS in after.decode(encoding)
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert after.startswith(before[:3]) or encoding == "utf-8"
    assert after.count(b"\r\n") in (0, after.count(b"\n"))
    assert (b"\r\n" in after) == (b"\r\n" in before)
    assert after.endswith(b"\n") == before.endswith(b"\n")


def test_file_is_whole_when_writing_fails(plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    result = invoke(plugin, "--write")
    assert result.exit_code == 2
    assert "not written: [Errno 28] No space left on device" in result.stdout
    assert (plugin / "mail.py").read_text() == BEFORE
    assert sorted(os.listdir(plugin)) == ["mail.py", "pyproject.toml"]
