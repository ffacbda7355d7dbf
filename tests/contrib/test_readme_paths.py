"""The README's ways from nothing to a job are those of docs/django.md and docs/flask.md, which are tried literally."""

from __future__ import annotations

import re

import pytest

from tests.acceptance.nodes import ROOT

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fenced(text: str, *languages: str) -> list[str]:
    return [block for language, block in _FENCE.findall(text) if language in languages]


@pytest.mark.parametrize(("name", "count"), [("Django", 5), ("Flask", 2)])
def test_path_is_that_of_the_document(name: str, count: int) -> None:
    section = (ROOT / "README.md").read_text().partition("## In Django and in Flask\n")[2].partition("\n## ")[0]
    path = section.partition(f"**{name}**")[2].partition("\n**")[0]
    document = (ROOT / f"docs/{name.lower()}.md").read_text()

    shown = fenced(path, "py", "shell")

    assert shown == fenced(document, "python", "sh")[:count]
