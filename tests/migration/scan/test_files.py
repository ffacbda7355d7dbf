"""Files that are not read, and why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from migration.scan.inventory import Inventory, take
from tests.migration.scan.trees import scanned

GOOD = "import 'bullmq'"


def reasons(inventory: Inventory) -> list[tuple[str, str]]:
    return [(Path(one.path).name, one.reason) for one in inventory.skipped]


@pytest.mark.parametrize(
    ("name", "raw", "reason"),
    [
        ("bad.py", b"import bullmq\ndef (:\n", "syntax"),
        ("bad.py", b"import bullmq\nprint 'two'\n", "syntax"),
        ("bad.py", b"# coding: nonsense\nimport bullmq\n", "encoding"),
        ("bad.py", b"import bullmq  # \xff\n", "encoding"),
        ("bad.ts", b"import 'bullmq' // \xff\n", "encoding"),
        ("bad.ts", b"G\x00@bullmq\x00", "binary"),
        ("bad.ts", b"/* bullmq */" + b"x" * 5000, "too-big"),
        ("bad.py", b"bullmq = " + b"(" * 3000 + b")" * 3000, "syntax"),
        ("bad.js", b"bullmq = " + b"a+" * 1900 + b"a", "syntax"),
        ("bad.ts", b"import 'bullmq'\nfunction ( {\n", "syntax"),
    ],
)
def test_a_bad_file_is_skipped_and_the_scan_goes_on(tmp_path: Path, name: str, raw: bytes, reason: str) -> None:
    (tmp_path / name).write_bytes(raw)
    (tmp_path / "good.ts").write_text(GOOD)
    inventory = take([tmp_path], limit=6100 if reason == "syntax" else 4000)
    assert reasons(inventory) == [(name, reason)]
    assert "good.ts" in {Path(one.file).name for one in inventory.findings}
    assert inventory.files == (2 if raw.startswith(b"import 'bullmq'\nf") else 1)


def test_the_line_that_is_not_understood_is_told(tmp_path: Path) -> None:
    inventory = scanned(tmp_path, {"a.py": "import bullmq\n\ndef (:", "b.ts": "import 'bullmq'\nfunction ( {"})
    assert [one.detail.split(":")[0] for one in inventory.skipped] == ["line 3", "line 2"]


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("a.ts", b"\xef\xbb\xbfimport 'bullmq'\r\n"),
        ("a.ts", "import 'bullmq'".encode("utf-16")),
        ("a.py", b"# coding: latin-1\n# \xe9\nimport bullmq\n"),
        ("a.py", b"\xef\xbb\xbfimport bullmq\r\n"),
        ("a.py", "s = 'é\x0c'; import bullmq\r".encode()),
        ("a.js", b"#!/usr/bin/env node\nrequire('bullmq')"),
    ],
)
def test_other_encodings_and_ends_of_lines(tmp_path: Path, name: str, raw: bytes) -> None:
    (tmp_path / name).write_bytes(raw)
    inventory = take([tmp_path])
    assert [one.kind for one in inventory.findings] == ["import"]
    assert inventory.skipped == []


def test_columns_count_characters(tmp_path: Path) -> None:
    inventory = scanned(tmp_path, {"a.ts": "const é = '🙂'; require('bullmq')", "b.py": "é = '🙂'; import bullmq"})
    assert [(one.line, one.column) for one in inventory.findings] == [(1, 16), (1, 10)]


def test_links(tmp_path: Path) -> None:
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (tree / "inner").mkdir(parents=True)
    outside.mkdir()
    (tree / "inner" / "a.ts").write_text(GOOD)
    (outside / "b.ts").write_text(GOOD)
    (tree / "inner" / "loop").symlink_to(tree)
    (tree / "inner" / "self").symlink_to(tree / "inner" / "self")
    (tree / "away").symlink_to(outside)
    (tree / "gone").symlink_to(tree / "nowhere")
    (tree / "same.ts").symlink_to(tree / "inner" / "a.ts")
    inventory = take([tree])
    assert len(inventory.findings) == 1
    assert dict(reasons(inventory)) == dict.fromkeys(["away", "gone", "loop", "self"], "symlink")


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ts")
    (tmp_path / "folder.ts").mkdir()
    (tmp_path / "good.ts").write_text(GOOD)
    assert len(take([tmp_path]).findings) == 1
    assert reasons(take([tmp_path / "pipe.ts"])) == [("pipe.ts", "unreadable")]


def test_an_unreadable_folder_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "good.ts").write_text(GOOD)
    scandir = os.scandir

    def refusing(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # a test that runs as root can't be refused by the system
    inventory = take([tmp_path])
    assert reasons(inventory) == [("closed", "unreadable")]
    assert len(inventory.findings) == 1


def test_folders_of_others_are_skipped_and_counted(tmp_path: Path) -> None:
    names = ["node_modules", ".venv", "dist", "build", ".git", "__pycache__"]
    for name in names:
        (tmp_path / "x" / name).mkdir(parents=True)
        (tmp_path / "x" / name / "a.ts").write_text(GOOD)
    inventory = take([tmp_path])
    assert inventory.findings == []
    assert inventory.folders == dict.fromkeys(names, 1)
    assert len(take([tmp_path], everything=True).findings) == len(names)


def test_a_file_is_read_once_however_often_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    file = tmp_path / "src" / "a.ts"
    file.write_text(GOOD)
    assert take([tmp_path, tmp_path / "src", file, file]).files == 1
    assert len(take([file]).findings) == 1
