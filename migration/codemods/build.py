"""Builds calls and decorators: on one line where they fit, else with one argument a line, and with all comments."""

# ruff: noqa: N802 - libcst names its methods after nodes

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import libcst as cst

_INDENT = "    "


@dataclass
class Piece:
    """An argument, with the comments above it and behind it."""

    value: cst.BaseExpression
    keyword: str | None = None
    star: str = ""
    above: list[cst.EmptyLine] = field(default_factory=list)
    behind: cst.Comment | None = None


def code_piece(keyword: str | None, code: str, star: str = "") -> Piece:
    """An argument given as code."""
    return Piece(cst.parse_expression(code), keyword, star)


def call(function: str, pieces: Sequence[Piece], *, room: int, inset: str = "") -> cst.Call:
    """A call of a function.

    Args:
        room: characters that are left on the line.
        inset: what the line is indented by beyond its statement.
    """
    plain = cst.Call(cst.parse_expression(function), [_argument(one) for one in pieces])
    if not any(one.above or one.behind for one in pieces):
        code = cst.Module([]).code_for_node(plain)
        if len(code) <= room and "\n" not in code:
            return plain
    between = [_gap(above, behind, inset + _INDENT) for above, behind in _gaps(pieces)]
    *inner, last = between[1:]
    whole = [
        _argument(one, comma=cst.Comma(whitespace_after=gap)) for one, gap in zip(pieces, [*inner, last], strict=True)
    ]
    ending = whole[-1].with_changes(comma=cst.Comma(whitespace_after=_gap([], pieces[-1].behind, inset)))
    return plain.with_changes(args=[*whole[:-1], ending], whitespace_before_args=between[0])


def _gaps(pieces: Sequence[Piece]) -> Iterator[tuple[list[cst.EmptyLine], cst.Comment | None]]:
    """What is between the pieces: before the first, and after each."""
    behind: cst.Comment | None = None
    for one in pieces:
        yield one.above, behind
        behind = one.behind
    yield [], behind


def _gap(above: list[cst.EmptyLine], behind: cst.Comment | None, indent: str) -> cst.ParenthesizedWhitespace:
    space = cst.SimpleWhitespace("  " if behind else "")
    return cst.ParenthesizedWhitespace(
        first_line=cst.TrailingWhitespace(whitespace=space, comment=behind),
        empty_lines=[line.with_changes(whitespace=cst.SimpleWhitespace(indent)) for line in above],
        indent=True,
        last_line=cst.SimpleWhitespace(indent),
    )


def _argument(piece: Piece, comma: cst.Comma | cst.MaybeSentinel = cst.MaybeSentinel.DEFAULT) -> cst.Arg:
    return cst.Arg(
        piece.value,
        keyword=cst.Name(piece.keyword) if piece.keyword else None,
        star=piece.star,  # type: ignore[arg-type]
        equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
        if piece.keyword
        else cst.MaybeSentinel.DEFAULT,
        comma=comma,
    )


Whitespace = cst.BaseParenthesizableWhitespace


def comments_between(
    opening: Whitespace, commas: Sequence[cst.Comma | cst.MaybeSentinel], closing: Whitespace | None
) -> list[tuple[list[cst.EmptyLine], cst.Comment | None]]:
    """For each element of a sequence the comments above it and behind it."""
    gaps: list[Whitespace | None] = [opening]
    gaps += [comma.whitespace_after if isinstance(comma, cst.Comma) else None for comma in commas]
    if closing is not None and gaps[-1] is None:
        gaps[-1] = closing
    found = [(_own_lines(before), _trailing(after)) for before, after in itertools.pairwise(gaps)]
    first = _trailing(gaps[0])
    if found and first is not None:  # it stood behind the bracket
        found[0] = ([cst.EmptyLine(comment=first), *found[0][0]], found[0][1])
    return found


def _own_lines(gap: Whitespace | None) -> list[cst.EmptyLine]:
    if not isinstance(gap, cst.ParenthesizedWhitespace):
        return []
    return [line for line in gap.empty_lines if line.comment is not None]


def _trailing(gap: Whitespace | None) -> cst.Comment | None:
    return gap.first_line.comment if isinstance(gap, cst.ParenthesizedWhitespace) else None


def shifted(node: cst.BaseExpression, columns: int) -> cst.BaseExpression:
    """The expression with the lines within it moved to the right, or to the left."""
    if columns == 0:
        return node
    moved = node.visit(_Shift(columns))
    assert isinstance(moved, cst.BaseExpression)
    return moved


class _Shift(cst.CSTTransformer):
    def __init__(self, columns: int) -> None:
        super().__init__()
        self._columns = columns

    def leave_ParenthesizedWhitespace(
        self, original_node: cst.ParenthesizedWhitespace, updated_node: cst.ParenthesizedWhitespace
    ) -> cst.ParenthesizedWhitespace:
        return updated_node.with_changes(
            last_line=self._moved(updated_node.last_line),
            empty_lines=[
                line.with_changes(whitespace=self._moved(line.whitespace)) if line.comment else line
                for line in updated_node.empty_lines
            ],
        )

    def _moved(self, space: cst.SimpleWhitespace) -> cst.SimpleWhitespace:
        if self._columns > 0:
            return cst.SimpleWhitespace(space.value + " " * self._columns)
        return cst.SimpleWhitespace(space.value[: self._columns] if len(space.value) >= -self._columns else "")
