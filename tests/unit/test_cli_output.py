from __future__ import annotations

import io
import re
import time

import pytest

from xpert_mq.cli import output
from xpert_mq.cli.job import _kept
from xpert_mq.models import Keep


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("plain ü 漢 🙂\n\ttext", "plain ü 漢 🙂\n\ttext"),
        ("\x1b[31mred", "\\u001b[31mred"),
        ("a\rb\x08c\x7fd\x9be", "a\\u000db\\u0008c\\u007fd\\u009be"),
        ("x\u202etxt.exe", "x\\u202etxt.exe"),
        ("\ud800", "\\ud800"),
    ],
)
def test_safe_text_is_nothing_that_a_terminal_obeys(text: str, printed: str) -> None:
    assert output.safe(text) == printed
    assert printed.encode()


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1 s"),
        (1550, "1.6 s"),
        (60_000, "1 min"),
        (125_000, "2 min 5 s"),
        (3_600_000, "1 h"),
        (7_199_000, "1 h 59 min"),
        (86_400_000, "1 d"),
        (86_400_000 * 3 + 5 * 3_600_000 + 61_000, "3 d 5 h"),
        (86_400_000 + 61_000, "1 d"),
    ],
)
def test_duration_has_two_units_at_most(ms: float, said: str) -> None:
    assert output.duration(ms) == said


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (-5, "0 s"),
        (99, "0 s"),
        (450, "0.5 s"),
        (1000, "1 s"),
        (59_999, "59 s"),
        (60_000, "1 min"),
        (7_199_000, "1 h"),
        (86_400_000 * 400, "400 d"),
    ],
)
def test_age_has_one_unit(ms: float, said: str) -> None:
    assert output.age(ms) == said


def test_local_time_says_how_far_away_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1_764_000_000_250
    monkeypatch.setattr(time, "time", lambda: now / 1000)
    monkeypatch.setenv("TZ", "UTC-02:00")
    time.tzset()
    try:
        assert output.local_time(now) == "2025-11-24 18:00:00.250 +0200 (0 ms ago)"
        assert output.local_time(now - 90_000).endswith("17:58:30.250 +0200 (1 min 30 s ago)")
        assert output.local_time(now + 2000).endswith("(in 2 s)")
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        (True, "removed at once"),
        (False, "kept for ever"),
        (0, "removed at once"),
        (1, "among the latest 1"),
        (50, "among the latest 50"),
        ({"age": 86400}, "kept for 1 d"),
        ({"count": 7}, "among the latest 7"),
        ({"count": 0, "age": 5}, "removed at once"),
        ({"age": 0}, "removed at once"),
        ({"age": 0.5, "count": 2}, "kept for 500 ms, among the latest 2"),
    ],
)
def test_retention_in_words(keep: Keep, said: str) -> None:
    assert _kept(keep) == said


@pytest.mark.parametrize("width", [20, 40, 80])
def test_table_folds_and_never_cuts(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    name = "abcdefghij" * 5

    output.show_table("Title", ("name", "count"), [(name, 12345)], right=("count",), whole=("count",))
    printed = capsys.readouterr().out

    assert max(map(len, printed.splitlines())) <= width
    assert name in re.sub(r"[\s\d]", "", printed)
    assert "12345" in printed


def test_square_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output.show_pairs([("[bold]", "[/] :smile: [link=x]y")])
    output.show_block("[red]title", "[blue]text")

    assert capsys.readouterr().out.split("\n") == [
        "[bold]  [/] :smile: [link=x]y",
        "",
        "[red]title",
        "  [blue]text",
        "",
    ]


def test_json_is_utf8_whatever_the_terminal_is(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))

    output.say_json({"a": "ü\x9b", "n": 10**5000})

    assert raw.getvalue() == f'{{"a":"ü\\u009b","n":1{"0" * 5000}}}\n'.encode()
