"""The fields of a job as arguments, from what `add` or a dictionary of `addBulk` was given."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

import libcst as cst

from .analysis.enqueues import AddPlan
from .analysis.options import OURS, Entry
from .analysis.workers import quoted
from .build import Piece, code_piece, comments_between, shifted
from .codemod import File


def pieces(file: File, plan: AddPlan, node: ast.AST, given: Sequence[Piece]) -> list[Piece]:
    """All fields of a job.

    Args:
        node: the call or dictionary, as the analysis knows it.
        given: the name (`job_name`) and data (`payload`), and the values of options that the call itself has, by
            BullMQ's names.
    """
    scope = file.scope(node)
    named = {one.keyword: one for one in given}
    found = [
        code_piece("plugin_name", quoted(file.plugin_name, scope)),
        code_piece("queue_name", plan.queue),
        named["job_name"],
        named["payload"],
    ]
    if plan.owner.tenant is not None:
        found.append(code_piece("tenant_id", plan.owner.tenant))
    if plan.owner.organization is not None:
        found.append(code_piece("organization_id", plan.owner.organization))
    found += _options(plan.options.entries, named)
    if plan.options.under:
        under = ", ".join(f'"{OURS[one.name]}": {_code(one)}' for one in plan.options.under)
        spread = ", ".join(f"**{name}" for name in plan.options.spread)
        return [code_piece(None, f"{{{under}, {spread}}}"), *found]
    return found + [code_piece(None, name, "**") for name in plan.options.spread]


def _options(entries: Sequence[Entry], named: dict[str | None, Piece]) -> Iterator[Piece]:
    for entry in entries:
        if entry.name not in OURS:
            continue
        own = named.get(entry.name) if entry.index is not None else None
        piece = own or code_piece(None, _code(entry))
        value = _mapped(entry, piece.value)
        if value is not None:
            yield Piece(value, OURS[entry.name], above=piece.above, behind=piece.behind)


def _code(entry: Entry) -> str:
    return entry.scope.module.segment(entry.value)


def _mapped(entry: Entry, value: cst.BaseExpression) -> cst.BaseExpression | None:
    """The value as ours take it; None where it is what ours are without it."""
    if entry.name in ("removeOnComplete", "removeOnFail"):
        return _kept(entry.value, value)
    number = _number(entry.value)
    if _is_none(entry.value):
        return None
    if entry.name in ("attempts", "delay", "backoff") and number is not None and number <= 0:
        return None
    return value


def _kept(node: ast.expr, value: cst.BaseExpression) -> cst.BaseExpression:
    """What BullMQ keeps for ever."""
    number = _number(node)
    for_ever = _is_none(node) or (number is not None and number < 0)
    if for_ever or (isinstance(node, ast.Dict) and not node.keys):
        return cst.Name("False")
    if isinstance(value, cst.Dict):
        kept = [one for one in value.elements if not _has_key(one, "limit")]
        if len(kept) == len(value.elements):
            return value
        kept[-1:] = [one.with_changes(comma=value.elements[-1].comma) for one in kept[-1:]]
        return value.with_changes(elements=kept)
    return value


def _has_key(element: cst.BaseDictElement, name: str) -> bool:
    return (
        isinstance(element, cst.DictElement)
        and isinstance(element.key, cst.SimpleString)
        and element.key.evaluated_value == name
    )


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _number(node: ast.expr) -> float | None:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
    return None


def dict_pieces(file: File, original: cst.Dict, updated: cst.Dict, whole: cst.CSTNode) -> Iterator[Piece]:
    """The entries of a dictionary that is written in the call, as pieces by their keys."""
    commas = [one.comma for one in updated.elements]
    notes = comments_between(updated.lbrace.whitespace_after, commas, updated.rbrace.whitespace_before)
    for before, element, (above, behind) in zip(original.elements, updated.elements, notes, strict=True):
        if not isinstance(element, cst.DictElement) or not isinstance(before, cst.DictElement):
            continue
        node = file.node(before.key)
        name = file.project.text(node, file.scope(node)) if node is not None else None
        if name is not None:
            value = shifted(element.value, file.moved(before.value, whole))
            yield Piece(value, name, above=above, behind=behind)
