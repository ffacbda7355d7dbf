"""How commands say things: tables for people, JSON for machines, and nothing that a terminal would obey."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table
    from rich.text import Text

#: Columns where nobody looks, as in a pipe or a file.
_PIPE_WIDTH = 140
_SHORT_JSON = 60

#: Control characters but tab and line feed, what turns the direction of writing, and what UTF-8 can't hold.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")

#: What would begin another line or column, or what a terminal may take for that.
_BREAKS = re.compile("[\t\n\u2028\u2029]")

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000))

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")


def safe(text: object) -> str:
    """The text as one may print it: what is not safe is written as JSON would escape it."""
    return _UNSAFE.sub(_escaped, str(text))


def one_line(text: object) -> str:
    """The same for a value in a list: also what breaks lines is escaped, so that no value looks like a row."""
    return _BREAKS.sub(_escaped, safe(text))


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def tenant_shown(tenant_id: str | None) -> str:
    """A tenant in a list: `-` is none, so a tenant of that name is escaped."""
    if tenant_id is None:
        return "-"
    return "\\u002d" if tenant_id == "-" else one_line(tenant_id)


def counted(number: object, one: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{number} {one}{'' if number == 1 else 's'}"


def say(text: str = "") -> None:
    """Some lines for people."""
    click.echo(safe(text))


def say_json(value: object) -> None:
    """A document for machines, as one line of UTF-8: mappings, lists and dataclasses, with integers of any size."""
    from xpert_mq.payload import encode_payload

    click.echo(safe(encode_payload(value, sys.maxsize, field="the output")).encode())


def json_text(value: object) -> str:
    """A value as JSON that people read: on one line where that is short."""
    try:
        line = json.dumps(value, ensure_ascii=False)
        return line if len(line) <= _SHORT_JSON else json.dumps(value, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):  # an integer with more digits than Python prints at once, or deep nesting
        from xpert_mq.payload import encode_payload

        return encode_payload(value, sys.maxsize)


def is_live() -> bool:
    """Whether somebody looks: what is printed goes to a terminal."""
    # A shell may have closed it.
    return sys.stdout is not None and sys.stdout.isatty()


def console() -> Console:
    """The terminal, or what takes its place. Without colours in a pipe, and where NO_COLOR is set."""
    from xpert_mq.cli.terminal import Terminal

    live = is_live()
    plain = not live or bool(os.environ.get("NO_COLOR"))
    return Terminal(
        color_system=None if plain else "auto",
        width=None if live or os.environ.get("COLUMNS") else _PIPE_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> Table:
    """A table whose cells are folded, and never cut. Line breaks in them are escaped.

    Args:
        title, columns, rows: what it says; a cell that is a rich text keeps its style.
        right: the columns of numbers.
        whole: the columns whose cells stay on one line.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    made.padding = (0, 1, 0, 0)
    for column in columns:
        side: JustifyMethod = "right" if column in right else "left"
        made.add_column(column, justify=side, overflow="fold", no_wrap=column in whole)
    return _filled(made, ([cell if isinstance(cell, Text) else one_line(cell) for cell in row] for row in rows))


def show_table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    right: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """Prints a `table`."""
    console().print(table(title, columns, rows, right, whole))


def show_pairs(rows: Iterable[tuple[str, object]], title: str = "") -> None:
    """Names and values, two columns without a head."""
    from rich.table import Table

    pairs = Table.grid(padding=(0, 2, 0, 0))
    pairs.title, pairs.title_justify, pairs.title_style = title or None, "left", "bold"
    pairs.add_column(style="dim", no_wrap=True)
    pairs.add_column(overflow="fold")
    console().print(_filled(pairs, rows))


def _filled(empty: Table, rows: Iterable[Sequence[object]]) -> Table:
    from rich.text import Text

    for row in rows:
        # As texts, whose square brackets mean nothing.
        empty.add_row(*(cell if isinstance(cell, Text) else Text(safe(cell)) for cell in row))
    return empty


def head_lines(*lines: str) -> Text:
    """What stands above lines that are no table, underlined as a table's head is."""
    from rich.text import Text

    width = console().width
    return Text("\n".join([*lines, "─" * width]), style="bold", no_wrap=True, overflow="crop")


def show_block(title: str, text: str) -> None:
    """A text with lines of its own, each as long as it is, so that it can be copied."""
    from rich.text import Text

    out = console()
    out.print()
    out.print(Text(safe(title), style="bold"), soft_wrap=True)
    out.print(Text("\n".join(f"  {line}" for line in safe(text).splitlines())), soft_wrap=True)


def local_time(ms: int) -> str:
    """A time of the server in this machine's zone, and how far from now it is."""
    moment = datetime.fromtimestamp(ms / 1000).astimezone()
    away = round(time.time() * 1000) - ms
    distance = f"{duration(away)} ago" if away >= 0 else f"in {duration(-away)}"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{ms % 1000:03d} {moment:%z} ({distance})"


def duration(ms: float) -> str:
    """`250 ms`, `1.5 s`, `2 min 5 s`, `3 d 4 h`."""
    if ms < 1000:
        return f"{ms:.0f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.1f}".removesuffix(".0") + " s"
    left = int(ms)
    parts: list[str] = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(part for part in parts[:2] if not part.startswith("0 "))


def age(ms: float) -> str:
    """A duration in one unit and few characters: `45 s`, `12 min`, `3 h`, `4 d`."""
    if ms < 1000:
        return "0 s" if ms < 100 else f"{ms / 1000:.1f} s"
    unit, size = next(one for one in _UNITS if ms >= one[1])
    return f"{int(ms // size)} {unit}"


def as_document(value: Any, *names: str) -> dict[str, Any]:
    """The named attributes of an object."""
    return {name: getattr(value, name) for name in names}
