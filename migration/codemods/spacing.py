"""Empty lines where statements are taken out: what follows is set apart as what is gone was."""

# ruff: noqa: N802 - libcst names its methods after nodes

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeVar

import libcst as cst

BodyT = TypeVar("BodyT", cst.Module, cst.IndentedBlock)


class Spacing(cst.CSTTransformer):
    """A transformer that takes statements out with `removed`."""

    def __init__(self) -> None:
        super().__init__()
        self._removed: set[cst.CSTNode] = set()

    def removed(self, original: cst.CSTNode) -> cst.RemovalSentinel:
        """What a `leave_` method returns for a statement that goes."""
        self._removed.add(original)
        return cst.RemoveFromParent()

    def leave_Module(self, original_node: cst.Module, updated_node: cst.Module) -> cst.Module:
        return self._spaced(original_node, updated_node)

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        return self._spaced(original_node, updated_node)

    def _spaced(self, original: BodyT, updated: BodyT) -> BodyT:
        kept = sum(one not in self._removed for one in original.body)
        if kept in (0, len(original.body)) or kept != len(updated.body):
            return updated
        new = iter(updated.body)
        body: list[cst.BaseStatement] = []
        above = 0
        for old in original.body:
            if old in self._removed:
                above = max(above, _empty_lines(_lines(old)))
                continue
            statement = next(new)
            assert isinstance(statement, cst.BaseStatement)
            body.append(_set_apart(statement, above, is_first=not body and old is not original.body[0]))
            above = 0
        return updated.with_changes(body=body)


def _lines(statement: cst.CSTNode) -> Sequence[cst.EmptyLine]:
    found: Sequence[cst.EmptyLine] = getattr(statement, "leading_lines", ())
    return found


def _empty_lines(lines: Sequence[cst.EmptyLine]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda line: line.comment is None, lines))


def _set_apart(statement: cst.BaseStatement, above: int, *, is_first: bool) -> cst.BaseStatement:
    lines = list(_lines(statement))
    own = _empty_lines(lines)
    if is_first:
        return statement.with_changes(leading_lines=lines[own:]) if own else statement
    missing = max(0, above - own)
    return (
        statement.with_changes(leading_lines=[*[cst.EmptyLine(indent=False)] * missing, *lines])
        if missing
        else statement
    )
