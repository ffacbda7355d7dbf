"""docs/flask.md is true: its Python runs in the order of the text, and its table has all keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.testing.documents import DOCS, blocks, broken_links
from xpert_mq import registry
from xpert_mq.contrib.flask import configuration
from xpert_mq.testing import JobRun

DOCUMENT = "flask.md"


def run_block(number: int) -> dict[str, Any]:
    """Its names, after it has run as a module of its own."""
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(blocks(DOCUMENT, "python")[number], DOCUMENT, "exec"), names)  # our own text
    return names


def test_first_application_adds_a_job_that_runs(queue_kit: Any, run_jobs: Callable[..., list[JobRun]]) -> None:
    names = run_block(0)
    registry.register_processor(names["welcome"])

    job_id = names["app"].test_client().get("/welcome/ada").text

    assert [(run.job_id, run.result) for run in run_jobs()] == [(job_id, "Welcome, ada!")]


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, [None, None]),
        ({"authorization": "token-of-ada"}, ["acme", "ada"]),
        ({"authorization": "token-of-ada", "tenant-id": "acme"}, ["acme", "ada"]),
        ({"authorization": "token-of-ada", "tenant-id": "globex"}, None),
    ],
)
def test_finders_of_the_config_are_asked(queue_kit: Any, headers: dict[str, str], said: Any) -> None:
    answer = run_block(1)["app"].test_client().get("/me", headers=headers)

    assert answer.json == said if said else answer.status_code == 403


def test_every_block_is_run_by_a_test() -> None:
    assert len(blocks(DOCUMENT, "python")) == 2


def test_table_has_all_keys_and_links_lead_somewhere() -> None:
    rows = re.findall(r"^\| (`XPERT_MQ_.*?) \|", (DOCS / DOCUMENT).read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall("`(.*?)`", row)}

    assert named == {*configuration.FINDERS, *configuration.FLAGS}
    assert broken_links(DOCUMENT) == []
