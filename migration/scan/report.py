"""An inventory as a table for people, as JSON, and as a checklist in Markdown."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .findings import STEPS, Finding
from .inventory import Inventory, Plugin, Queue
from .scanner import shown

if TYPE_CHECKING:
    from rich.console import Console, JustifyMethod
    from rich.table import Table

    from .texts import Json

_PIPE_WIDTH = 140
#: A place up to that long stays on one line, so that it can be copied.
_WHOLE = 50
#: What a terminal would obey, what breaks lines, and what UTF-8 can't hold.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BY = {"rewrite": "migrate rewrite", "drain": "migrate drain", "person": "you"}


def safe(text: object) -> str:
    """The text on one line, with nothing in it that a terminal would obey."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", str(text))


def json_report(inventory: Inventory) -> str:
    """One line of JSON."""
    return safe(json.dumps(inventory.document(), ensure_ascii=False))


# --- what all forms say


def options_text(options: dict[str, Json]) -> str:
    """Options as `delay=1000, jobId=a-{id}`."""
    return ", ".join(f"{name}={_value(value)}" for name, value in options.items())


def _value(value: Json) -> str:
    if isinstance(value, dict):
        if set(value) == {"pattern"}:
            return str(value["pattern"])
        if set(value) == {"computed"}:
            return f"({value['computed']})"
        return "{" + ", ".join(f"{name}: {_value(one)}" for name, one in value.items()) + "}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _what(found: Finding) -> str:
    parts = [found.what, options_text(found.options)]
    if found.default_options:
        parts.append(f"defaults: {options_text(found.default_options)}")
    return "; ".join(filter(None, parts))


def _where(found: Finding) -> str:
    return f"{found.file}:{found.line}:{found.column}"


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def summary(inventory: Inventory) -> list[str]:
    """What was found, and what was not read, in a few sentences."""
    found = inventory.findings
    lines = [f"{_counted(inventory.files, 'file')} read, {_counted(len(found), 'finding')}."]
    if found:
        counts = {by: sum(one.by == by for one in found) for by in _BY}
        doers = [f"{_counted(count, 'is', 'are')} for {_BY[by]}" for by, count in counts.items() if count]
        lines = [f"{lines[0][:-1]}: {', '.join(doers)}."]
    if inventory.skipped:
        lines.append(f"{_counted(len(inventory.skipped), 'path')} not read, or not wholly:")
        lines += [f"  {one.path}: {one.reason}{one.detail and f', {one.detail}'}" for one in inventory.skipped]
    if inventory.folders:
        names = ", ".join(f"{name} ({count})" for name, count in sorted(inventory.folders.items()))
        lines.append(f"{_counted(sum(inventory.folders.values()), 'folder')} skipped, which --all reads: {names}.")
    return [safe(line) for line in lines]


def _queue_facts(queue: Queue) -> tuple[str, ...]:
    jobs = ", ".join("(no name)" if one is None else shown(one) for one in queue.jobs)
    concurrency = ", ".join(_value(one) for one in queue.concurrency)
    return (
        shown(queue.name),
        "" if queue.prefix is None else shown(queue.prefix),
        jobs,
        str(queue.producers),
        str(queue.processors),
        concurrency,
        options_text(queue.default_options),
    )


_QUEUE_COLUMNS = ("queue", "prefix", "jobs", "producers", "processors", "concurrency", "default options")


# --- tables


def print_table(inventory: Inventory) -> None:
    """Two tables for each plugin: its queues, and what is to do."""
    out = _console()
    for plugin in inventory.plugins:
        if plugin.queues:
            out.print(
                _table(_title(plugin), _QUEUE_COLUMNS, map(_queue_facts, plugin.queues), ("producers", "processors"))
            )
            out.print()
        rows = [(str(one.step), _where(one), one.kind, _what(one), _BY[one.by], one.hint) for one in plugin.findings]
        title = "" if plugin.queues else _title(plugin)
        out.print(_table(title, ("step", "where", "kind", "what", "by", "hint"), rows, ("step",)))
        out.print()
    for line in summary(inventory):
        out.print(line, soft_wrap=True)


def _title(plugin: Plugin) -> str:
    return safe(f"{plugin.name} ({plugin.path})")


def _console() -> Console:
    from rich.console import Console

    live = sys.stdout.isatty()
    plain = not live or bool(os.environ.get("NO_COLOR"))
    return Console(
        color_system=None if plain else "auto",
        width=None if live or os.environ.get("COLUMNS") else _PIPE_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    )


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title or None, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)
    made.padding = (0, 1, 0, 0)
    listed = list(rows)
    for column in columns:
        side: JustifyMethod = "right" if column in right else "left"
        whole = column == "where" and all(len(row[columns.index(column)]) <= _WHOLE for row in listed)
        made.add_column(column, justify=side, overflow="fold", no_wrap=whole)
    for row in listed:
        made.add_row(*(Text(safe(cell)) for cell in row))  # as texts, whose square brackets mean nothing
    return made


# --- Markdown


def markdown_report(inventory: Inventory) -> str:
    """A checklist, grouped by the steps of the platform's page."""
    lines = ["# Move to managed queues", ""]
    for plugin in inventory.plugins:
        lines += _plugin_lines(plugin)
    lines += [*(line if line.startswith("  ") else f"{line}" for line in _summary_lines(inventory)), ""]
    return "\n".join(lines)


def _summary_lines(inventory: Inventory) -> list[str]:
    return [f"- {_escaped(line.strip())}" if line.startswith("  ") else _escaped(line) for line in summary(inventory)]


def _plugin_lines(plugin: Plugin) -> list[str]:
    lines = [f"## {_escaped(plugin.name)}", "", f"In {_code(plugin.path)}.", ""]
    if plugin.queues:
        lines += [_row(_QUEUE_COLUMNS), _row(["---"] * len(_QUEUE_COLUMNS))]
        lines += [_row([_escaped(cell).replace("|", "\\|") for cell in _queue_facts(one)]) for one in plugin.queues]
        lines.append("")
    for step, title in STEPS.items():
        found = [one for one in plugin.findings if one.step == step]
        lines += [f"### {step}. {title}", ""]
        lines += [_item(one) for one in found] or ["Nothing found."]
        lines.append("")
    return lines


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _item(found: Finding) -> str:
    doer = "" if found.by == "person" else f" *({_BY[found.by]})*"
    return f"- [ ] {_code(_where(found))} {_escaped(_what(found))}{doer}<br>{safe(found.hint)}"


def _code(text: str) -> str:
    fence = "`" if "`" not in text else "``"
    return f"{fence}{safe(text)}{fence}"


def _escaped(text: str) -> str:
    """The text with what Markdown would take for its own marked as text."""
    return re.sub(r"([\\`*_<>\[\]#])", r"\\\1", safe(text))
