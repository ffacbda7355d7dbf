"""What was measured: a row for each measure with a figure for each peer; ratios, and what was to be reached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench.peers.catalog import KINDS, OURS
from bench.report import aligned, number

#: The name of a figure that is no peer's; the row's name tells what it is.
BASE = "base"


@dataclass(frozen=True, slots=True)
class Bound:
    """What ours should reach: `factor` times the best of the peers `of`; without peers, `factor` itself.

    Args:
        is_aim: it is wished, not demanded.
    """

    factor: float
    of: tuple[str, ...] = ()
    is_aim: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One measure: what each round gave, by the peer's name."""

    name: str
    unit: str
    figures: Mapping[str, Sequence[float]]
    bounds: Sequence[Bound] = ()
    more_is_better: bool = True

    def of(self, name: str) -> float | None:
        """The median of its rounds."""
        return median(self.figures[name]) if name in self.figures else None

    def ratio(self, name: str) -> float | None:
        """How many times better ours is; None where that says nothing."""
        ours, other = self.of(OURS), self.of(name)
        if ours is None or other is None or min(ours, other) <= 0:
            return None
        return ours / other if self.more_is_better else other / ours

    def wanted(self, bound: Bound) -> float | None:
        """The figure that the bound demands; None where none of its peers ran."""
        if not bound.of:
            return bound.factor
        others = [other for other in map(self.of, bound.of) if other is not None]
        if not others:
            return None
        return bound.factor * (max(others) if self.more_is_better else min(others))

    def holds(self, bound: Bound) -> bool | None:
        """Whether ours reaches it; None where that can't be said."""
        ours, wanted = self.of(OURS), self.wanted(bound)
        if ours is None or wanted is None:
            return None
        return ours >= wanted if self.more_is_better else ours <= wanted

    def as_json(self) -> dict[str, Any]:
        bounds = [
            {"factor": bound.factor, "of": bound.of, "aim": bound.is_aim, "wanted": self.wanted(bound)}
            | {"holds": self.holds(bound)}
            for bound in self.bounds
        ]
        ratios = {name: self.ratio(name) for name in self.figures if name != OURS}
        rounds = {name: list(figures) for name, figures in self.figures.items()}
        return {"name": self.name, "unit": self.unit, "rounds": rounds, "times_better": ratios, "bounds": bounds}


def report(rows: Sequence[Row]) -> str:
    """Figures, ratios, bounds, and in words what is not equal."""
    parts = [
        ("Figures (medians)", _figures(rows)),
        (f"How many times better {OURS} is", _ratios(rows)),
        ("To be reached", _bounds(rows)),
        ("Not equal", _words(rows)),
    ]
    return "\n\n".join(f"{title}\n\n{text}" for title, text in parts)


def _columns(rows: Sequence[Row]) -> list[str]:
    there = {name for row in rows for name in row.figures}
    return [name for name in (*(kind.name for kind in KINDS), BASE) if name in there]


def _figures(rows: Sequence[Row]) -> str:
    names = _columns(rows)
    lines = [("", "unit", *names)]
    lines += [(row.name, row.unit, *(_shown(row.of(name)) for name in names)) for row in rows]
    return aligned(lines, left={0, 1})


def _ratios(rows: Sequence[Row]) -> str:
    names = [name for name in _columns(rows) if name != OURS]
    lines: list[tuple[str, ...]] = [("", *names)]
    for row in rows:
        ratios = [row.ratio(name) for name in names]
        lines.append((row.name, *("" if ratio is None else f"{ratio:.2f}" for ratio in ratios)))
    return aligned(lines, left={0})


def _bounds(rows: Iterable[Row]) -> str:
    lines: list[tuple[str, ...]] = [("", "", OURS, "wanted", "unit", "")]
    for row in rows:
        for bound in row.bounds:
            holds = row.holds(bound)
            verdict = "?" if holds is None else "pass" if holds else "not yet" if bound.is_aim else "MISS"
            figures = (_shown(row.of(OURS)), _shown(row.wanted(bound)), row.unit)
            lines.append((row.name, _bound_text(row, bound), *figures, verdict))
    return aligned(lines, left={0, 1, 4, 5})


def _bound_text(row: Row, bound: Bound) -> str:
    text = "aim" if bound.is_aim else "at least" if row.more_is_better else "at most"
    if not bound.of:
        return text
    return f"{text} {bound.factor:g} x {'the best of ' if len(bound.of) > 1 else ''}{', '.join(bound.of)}"


def _words(rows: Sequence[Row]) -> str:
    there = _columns(rows)
    return "\n".join(f"{kind.name}: {kind.unequal}." for kind in KINDS if kind.name in there and kind.unequal)


def _shown(figure: float | None) -> str:
    return "" if figure is None else number(figure)
