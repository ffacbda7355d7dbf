from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.migration.scan.reports import EXPECTED, FIXTURES, FORMS, NAMES, report


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_the_report_of_a_plugin_is_the_expected_one(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FIXTURES)
    assert report(name, form) == (EXPECTED / f"{name}.{form}").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", NAMES)
def test_each_finding_stands_where_it_says(name: str) -> None:
    document = json.loads((EXPECTED / f"{name}.json").read_text(encoding="utf-8"))
    for one in document["plugins"][0]["findings"]:
        line = (FIXTURES / one["file"]).read_text(encoding="utf-8").split("\n")[one["line"] - 1]
        rest = line[one["column"] - 1 :]
        assert rest
        assert rest == rest.lstrip()
        before = line[: one["column"] - 1][-1:]
        assert not (before.isalnum() and rest[0].isalnum()), one


def test_no_secret_is_in_a_report() -> None:
    assert "hunter2" in (FIXTURES / "legacy/lib/queue.js").read_text(encoding="utf-8")
    for path in EXPECTED.iterdir():
        assert "hunter2" not in path.read_text(encoding="utf-8")


def test_fixtures_have_something_of_every_kind_and_step() -> None:
    from migration.scan.findings import KINDS

    kinds: set[str] = set()
    for name in NAMES:
        document = json.loads(Path(EXPECTED / f"{name}.json").read_text(encoding="utf-8"))
        kinds |= {one["kind"] for one in document["plugins"][0]["findings"]}
    assert kinds == set(KINDS)
