from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from migration.scan.inventory import take
from tests.migration.scan.reports import FIXTURES

PLAIN = "\n".join(
    f"export class S{number} {{ async list(id: string) {{ const seen = new Set(); seen.add(id); return `${{id}}` }} }}"
    for number in range(100)
)


@pytest.mark.slow
def test_two_thousand_files_take_seconds(tmp_path: Path) -> None:
    for number in range(10):
        shutil.copytree(FIXTURES, tmp_path / f"plugins{number}")
    for number in range(1800):
        (tmp_path / f"plain{number}.ts").write_text(PLAIN)
    before = time.process_time()
    inventory = take([tmp_path])
    assert time.process_time() - before < 6  # measured: 1
    assert inventory.files > 2000


def test_code_that_calls_itself_has_an_end(tmp_path: Path) -> None:
    branches = "\n".join(f"  if (n > {number}) return f(n - {number}) || f(g(n))" for number in range(20))
    code = f"import 'bullmq'\nfunction f(n) {{\n{branches}\n}}\nconst g = (n) => f(f(n))\nf(1).add(g(2), {{}})"
    (tmp_path / "a.ts").write_text(code)
    before = time.process_time()
    assert [one.kind for one in take([tmp_path]).findings] == ["import"]
    assert time.process_time() - before < 3  # measured: 0.1
