from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from xpert_mq.cli import filters
from xpert_mq.settings import Settings
from xpert_mq.store.keys import job_token
from xpert_mq.store.listing import STATES, JobFilter, Position, Tenants


def test_states_are_those_of_the_records() -> None:
    assert filters.STATES == STATES


@pytest.mark.parametrize(
    ("text", "ms"),
    [("90s", 90_000), ("10m", 600_000), ("2h", 7_200_000), ("7d", 604_800_000), ("1.5h", 5_400_000), (" 0.25s ", 250)],
)
def test_span(text: str, ms: int) -> None:
    assert filters._span(text) == ms


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "1w", "1h30m", "1,5h", "1e3s", "٣s", "inf", "9999999999d"])
def test_span_that_is_none(text: str) -> None:
    with pytest.raises(click.BadParameter, match="90s"):
        filters._span(text)


@pytest.mark.parametrize("tenant", [None, "t", "漢:1"])
def test_cursor_names_its_position(tenant: str | None) -> None:
    position = Position("1764000000250.0009", job_token(tenant, "a/b: ü\n"))
    cursor = filters.cursor_of(position)

    assert filters.position_of(cursor) == position
    assert cursor.replace("-", "").replace("_", "").isalnum()


@pytest.mark.parametrize("text", ["", "x", "ü", "bnVsbA", "W10", "WzEsMl0", "WyIxIiwgInRva2VuIl0", "WyJ4IiwgIjphIl0"])
def test_cursor_that_is_none(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is none"):
        filters.position_of(text)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, JobFilter(Tenants.ALL)),
        ({"tenant": "t"}, JobFilter("t")),
        ({"no_tenant": True}, JobFilter(None)),
        ({"states": ("failed", "waiting")}, JobFilter(states=("waiting", "failed"))),
        ({"default_states": ("failed",)}, JobFilter(states=("failed",))),
        (
            {"plugin": "p", "queue": "q", "job_name": "j", "older_than": 5, "newer_than": 9},
            JobFilter(plugin_name="p", queue_name="q", job_name="j", at_least_ms=5, at_most_ms=9),
        ),
    ],
)
def test_filter_of_the_options(given: dict[str, Any], wanted: JobFilter) -> None:
    assert filters.job_filter(**given) == wanted


@pytest.mark.parametrize("given", [{"tenant": "t", "no_tenant": True}, {"older_than": 5, "newer_than": 5}])
def test_options_that_exclude_each_other(given: dict[str, Any]) -> None:
    with pytest.raises(click.UsageError):
        filters.job_filter(**given)


def test_filter_in_words() -> None:
    wanted = JobFilter(None, ("waiting", "delayed"), "p", "q", "j", 600_000, 7_200_000)

    assert filters.in_words(JobFilter()) == ""
    assert filters.in_words(wanted) == (
        "waiting or delayed, plugin 'p', queue 'q', job name 'j', without a tenant, for more than 10 min, "
        "for less than 2 h"
    )


def test_nothing_there_tells_where_it_looked() -> None:
    settings = Settings(redis_url="redis://:secret@h:1/2", prefix="pre")

    assert filters.nothing_there(JobFilter(), settings) == "There are no jobs under the prefix pre on redis://h:1/2."
    assert "(of tenant 't')" in filters.nothing_there(JobFilter("t"), settings)


@pytest.mark.parametrize("interval", ["nan", "inf", "0", "-1"])
def test_interval_that_is_none(interval: str) -> None:
    command = click.command()(filters.interval_option(lambda interval: None))

    done = CliRunner().invoke(command, ["--interval", interval])

    assert done.exit_code == 2
    assert "--interval" in done.output
