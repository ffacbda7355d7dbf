"""What was measured: one line per figure, as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach; `holds` takes ours and plain Celery's."""

    text: str
    holds: Callable[[float, float | None], bool]


def at_least_times_plain(factor: float) -> Target:
    """At least `factor` times what plain Celery reaches."""
    return Target(f">= {factor:g} x plain", lambda ours, plain: plain is not None and ours >= factor * plain)


def at_most_plain() -> Target:
    """Not more than plain Celery takes."""
    return Target("<= plain", lambda ours, plain: plain is not None and ours <= plain)


def at_most(bound: float) -> Target:
    """Not more than `bound`."""
    return Target(f"<= {bound:g}", lambda ours, plain: ours <= bound)


def at_least(bound: float) -> Target:
    """Not less than `bound`."""
    return Target(f">= {bound:g}", lambda ours, plain: ours >= bound)


@dataclass(frozen=True, slots=True)
class Line:
    """One figure: what each round gave, for us and, where there is one, for plain Celery."""

    name: str
    unit: str
    ours: Sequence[float]
    plain: Sequence[float] = ()
    target: Target | None = None
    more_is_better: bool = False

    @property
    def our_median(self) -> float:
        return median(self.ours)

    @property
    def plain_median(self) -> float | None:
        return median(self.plain) if self.plain else None

    @property
    def times_better(self) -> float | None:
        """How many times better than plain Celery; None where that says nothing."""
        ours, plain = self.our_median, self.plain_median
        if plain is None or min(ours, plain) <= 0:
            return None
        return ours / plain if self.more_is_better else plain / ours

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "pass" if self.target.holds(self.our_median, self.plain_median) else "MISS"

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": self.our_median,
            "plain": self.plain_median,
            "times_better": self.times_better,
            "target": self.target.text if self.target else None,
            "verdict": self.verdict or None,
            "rounds": {"ours": list(self.ours), "plain": list(self.plain)},
        }


class Reported(Protocol):
    """What goes into the file."""

    def as_json(self) -> dict[str, Any]:
        """The figures, and what is said of them."""


def table(lines: Sequence[Line]) -> str:
    """The lines for people."""
    rows: list[tuple[str, ...]] = [("", "xpert_mq", "plain", "unit", "times better", "target", "")]
    rows += [_row(line) for line in lines]
    return aligned(rows, left={0, 3, 5, 6})


def write_json(path: Path, lines: Sequence[Reported], server: str, options: dict[str, Any]) -> None:
    """The lines for programs, with what they depend on."""
    packages = {name: version(name) for name in ("celery", "kombu", "redis")}
    machine = {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
    about = {**machine, **packages, "server": server, **options}
    path.write_text(json.dumps({"about": about, "lines": [line.as_json() for line in lines]}, indent=2) + "\n")


def _row(line: Line) -> tuple[str, ...]:
    times = line.times_better
    return (
        line.name,
        number(line.our_median),
        "" if line.plain_median is None else number(line.plain_median),
        line.unit,
        "" if times is None else f"{times:.2f}",
        line.target.text if line.target else "",
        line.verdict,
    )


def number(value: float) -> str:
    """For people."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.{1 if abs(value) >= 10 else 2}f}"


def aligned(rows: Sequence[Sequence[str]], left: Collection[int]) -> str:
    """Rows as lines, their columns below one another: those of `left` begin so, the others end so."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            text.ljust(width) if column in left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
