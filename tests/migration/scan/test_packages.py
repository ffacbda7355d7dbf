"""Plugins, and the dependencies that they drop."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migration.scan.trees import found, scanned

PYPROJECT = """[project]
name = "x"
# "bullmq"
dependencies = [
  "bullmq>=2",
  "httpx",
]
[project.optional-dependencies]
fast = ["redis[hiredis]"]
[dependency-groups]
dev = ["BullMQ==3"]
"""
REQUIREMENTS = """-r other.txt
# bullmq

bullmq[x]==1 ; python_version > '3'  # why
redis \\
  --hash=sha256:0
bullmq2
"""


@pytest.mark.parametrize(
    ("file", "text", "dropped"),
    [
        (
            "package.json",
            '{\n  "dependencies": {"bullmq": "5", "zod": "3"},\n  "peerDependencies": {\n    "@nestjs/bull": "1"\n}}',
            [(2, 20, "bullmq in dependencies"), (4, 5, "@nestjs/bull in peerDependencies")],
        ),
        (
            "package.json",
            '{"devDependencies": {"@bull-board/api": "6"}}',
            [(1, 22, "@bull-board/api in devDependencies")],
        ),
        (
            "pyproject.toml",
            PYPROJECT,
            [(5, 4, "bullmq in dependencies"), (9, 10, "redis in fast"), (11, 9, "bullmq in dev")],
        ),
        (
            "pyproject.toml",
            '[tool.poetry]\nname = "x"\n[tool.poetry.dependencies]\npython = "^3"\nbullmq = "^2"\n',
            [(5, 1, "bullmq in dependencies")],
        ),
        (
            "requirements-prod.txt",
            REQUIREMENTS,
            [(4, 1, "bullmq in requirements-prod.txt"), (5, 1, "redis in requirements-prod.txt")],
        ),
        (
            "setup.cfg",
            "[metadata]\nname = x\n[options]\ninstall_requires =\n    httpx\n    bullmq>=2\n",
            [(6, 5, "bullmq in install_requires")],
        ),
        (
            "setup.py",
            "from setuptools import setup\nsetup(name='x',\n  install_requires=['bullmq>2', 'httpx'])\n",
            [(3, 21, "bullmq in install_requires")],
        ),
        ("Pipfile", '[packages]\nbullmq = "*"\n', [(2, 1, "bullmq in packages")]),
    ],
)
def test_dependencies_with_their_lines(
    tmp_path: Path, file: str, text: str, dropped: list[tuple[int, int, str]]
) -> None:
    findings = found(tmp_path, {file: text}, "dependency")
    assert [(one.line, one.column, one.what) for one in findings] == dropped


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("package.json", "{ not json"),
        ("package.json", "[1]"),
        ("pyproject.toml", "= broken"),
        ("setup.cfg", "no section"),
        ("setup.py", "def ("),
    ],
)
def test_a_broken_manifest_is_skipped_and_the_plugin_is_there(tmp_path: Path, file: str, text: str) -> None:
    inventory = scanned(tmp_path, {file: text, "a.ts": "import 'bullmq'"})
    assert ("syntax", file) in [(one.reason, Path(one.path).name) for one in inventory.skipped]
    assert len(inventory.plugins) == 1


def test_a_plugin_is_the_nearest_folder_with_a_manifest(tmp_path: Path) -> None:
    inventory = scanned(
        tmp_path,
        {
            "package.json": '{"name": "root"}',
            "tools/a.ts": "import 'bullmq'",
            "plugins/one/package.json": '{"name": "@acme/one"}',
            "plugins/one/src/deep/a.ts": "import 'bullmq'",
            "plugins/two/pyproject.toml": "[project]\nname = 'two'",
            "plugins/two/a.py": "import bullmq",
            "plugins/three/setup.py": "",
            "plugins/three/a.py": "import bullmq",
            "plugins/one-more/a.ts": "import 'bullmq'",
            "plugins/clean/package.json": '{"name": "clean"}',
        },
    )
    found_in = {one.name: [Path(each.file).parts[-2] for each in one.findings] for one in inventory.plugins}
    assert found_in == {"root": ["one-more", "tools"], "@acme/one": ["deep"], "two": ["two"], "three": ["three"]}


def test_queues_of_two_plugins_are_not_mixed(tmp_path: Path) -> None:
    line = "import { Queue } from 'bullmq'\nnew Queue('same', { prefix: '%s' })"
    files = {f"{name}/package.json": "{}" for name in ("a", "b")} | {f"{name}/q.ts": line % name for name in ("a", "b")}
    inventory = scanned(tmp_path, files)
    assert [[(one.name, one.prefix) for one in plugin.queues] for plugin in inventory.plugins] == [
        [("same", "a")],
        [("same", "b")],
    ]
