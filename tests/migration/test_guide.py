"""migration/README.md: its links lead somewhere, its commands and options are there, its mapping file can be read."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from migration.cli import migrate
from migration.drain.mapping import JobMapping, read_mapping
from tests.acceptance.nodes import ROOT

GUIDE = (ROOT / "migration/README.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def all_options(command: click.Command) -> set[str]:
    own = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return own.union(*map(all_options, below))


def test_links_lead_somewhere() -> None:
    anchors = {heading.lower().replace(" ", "-").replace(",", "") for heading in re.findall(r"^#+ (.*)$", GUIDE, re.M)}
    links = re.findall(r"\]\(([^)]+)\)", GUIDE)

    assert links
    assert [link for link in links if link.startswith("#") and link[1:] not in anchors] == []
    assert [link for link in links if not link.startswith("#") and not (ROOT / "migration" / link).exists()] == []


def test_options_are_there() -> None:
    named = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", GUIDE))

    assert named - all_options(migrate) == set()


@pytest.mark.parametrize("line", sorted(set(re.findall(r"^python -m migration (.*)$", GUIDE, re.MULTILINE))))
def test_commands_are_there(line: str) -> None:
    name, *words = re.split(r"\s+[#>|]", line)[0].split()
    command = migrate.commands[name]

    assert {word for word in words if word.startswith("--")} <= all_options(command)


def test_mapping_file_can_be_read(tmp_path: Path) -> None:
    (text,) = [text for language, text in _BLOCK.findall(GUIDE) if language == "toml"]
    file = tmp_path / "mail.toml"
    file.write_text(text)

    assert isinstance(read_mapping(file), JobMapping)
