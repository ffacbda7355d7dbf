"""The reports of the fixtures, as `scan` prints them."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from migration.scan import command

FIXTURES = Path(__file__).parent / "fixtures"
EXPECTED = Path(__file__).parent / "expected"
NAMES = ("wechat", "lark", "reports", "shop", "legacy")
FORMS = {"txt": [], "md": ["--markdown"], "json": ["--json"]}


def report(name: str, form: str) -> str:
    """What `scan` prints of a fixture, in the fixtures' folder; JSON with line breaks, for readers of differences."""
    run = CliRunner().invoke(command, [name, *FORMS[form]], env={"COLUMNS": None, "NO_COLOR": None})
    assert run.exit_code == 1, run.output
    if form == "json":
        return json.dumps(json.loads(run.stdout), indent=1, ensure_ascii=False) + "\n"
    return run.stdout
