"""`queue.addBulk(jobs)` becomes `managed_queue.enqueue_many(jobs)`, and its dictionaries get our fields."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from .build import Piece, comments_between, shifted
from .codemod import Codemod
from .enqueue import Enqueue
from .fields import dict_pieces, pieces

_FIELDS = {"name": "job_name", "data": "payload"}


class EnqueueMany(Enqueue):
    """Every `addBulk` whose jobs can be seen."""

    def call(self, original: cst.Call, updated: cst.BaseExpression) -> cst.BaseExpression:
        node = self.file.node(original)
        plan = self.file.planned(self.file.plans.enqueues.bulks, original)
        if plan is None or node is None or not isinstance(updated, cst.Call):
            return updated
        if plan.problem is not None:
            self.file.decide(plan.problem, node)
            return updated
        verb = self.file.service("enqueue_many" if self._is_sync(original) else "aenqueue_many")
        jobs = updated.args[0].with_changes(keyword=None, equal=cst.MaybeSentinel.DEFAULT)
        return updated.with_changes(func=cst.parse_expression(verb), args=[jobs, *updated.args[1:]])


class BulkJobs(Codemod):
    """The dictionaries that an `addBulk` is given."""

    def dictionary(self, original: cst.Dict, updated: cst.BaseExpression) -> cst.BaseExpression:
        node = self.file.node(original)
        plan = self.file.planned(self.file.plans.enqueues.items, original)
        bulks = self.file.plans.enqueues.bulks.values()
        if plan is None or node is None or not isinstance(updated, cst.Dict):
            return updated
        if not any(node in bulk.items and bulk.problem is None for bulk in bulks):
            return updated
        fields = pieces(self.file, plan, node, list(self._given(original, updated)))
        return _dictionary(fields, self.file.room(original), self.file.inset(original))

    def _given(self, original: cst.Dict, updated: cst.Dict) -> Iterator[Piece]:
        commas = [one.comma for one in updated.elements]
        notes = comments_between(updated.lbrace.whitespace_after, commas, updated.rbrace.whitespace_before)
        for before, element, (above, behind) in zip(original.elements, updated.elements, notes, strict=True):
            if not isinstance(element, cst.DictElement) or not isinstance(before, cst.DictElement):
                continue
            name = before.key.evaluated_value if isinstance(before.key, cst.SimpleString) else None
            if name in _FIELDS:
                value = shifted(element.value, self.file.moved(before.value, original))
                yield Piece(value, _FIELDS[str(name)], above=above, behind=behind)
            elif isinstance(element.value, cst.Dict) and isinstance(before.value, cst.Dict):
                yield from dict_pieces(self.file, before.value, element.value, original)


def _dictionary(fields: list[Piece], room: int, inset: str) -> cst.Dict:
    elements = [
        cst.StarredDictElement(one.value)
        if one.star
        else cst.DictElement(cst.SimpleString(f'"{one.keyword}"'), one.value)
        for one in fields
    ]
    plain = cst.Dict(elements)
    code = cst.Module([]).code_for_node(plain)
    if len(code) <= room and "\n" not in code and not any(one.above or one.behind for one in fields):
        return plain
    lines = [_line(above, behind, inset + "    ") for above, behind in _between(fields)]
    ends = [*lines[1:-1], _line([], fields[-1].behind, inset)]
    spread = [one.with_changes(comma=cst.Comma(whitespace_after=end)) for one, end in zip(elements, ends, strict=True)]
    return cst.Dict(spread, lbrace=cst.LeftCurlyBrace(whitespace_after=lines[0]))


def _between(fields: list[Piece]) -> Iterator[tuple[list[cst.EmptyLine], cst.Comment | None]]:
    behind: cst.Comment | None = None
    for one in fields:
        yield one.above, behind
        behind = one.behind
    yield [], behind


def _line(above: list[cst.EmptyLine], behind: cst.Comment | None, indent: str) -> cst.ParenthesizedWhitespace:
    return cst.ParenthesizedWhitespace(
        first_line=cst.TrailingWhitespace(whitespace=cst.SimpleWhitespace("  " if behind else ""), comment=behind),
        empty_lines=[line.with_changes(whitespace=cst.SimpleWhitespace(indent)) for line in above],
        indent=True,
        last_line=cst.SimpleWhitespace(indent),
    )
