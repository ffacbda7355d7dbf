"""`from xpert_mq import ...` for what the rewritten file uses, where `bullmq` was imported."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import Any

import libcst as cst

PACKAGE = "xpert_mq"


def with_import(module: cst.Module, names: set[str]) -> cst.Module:
    """The module with these names imported: where bullmq is, else behind the last import."""
    body = list(module.body)
    for index, statement in enumerate(body):
        found = _ours(statement)
        if found is not None:
            body[index] = _merged(statement, found, names)
            return module.with_changes(body=body)
    fresh = cst.SimpleStatementLine([_import(sorted(names))])
    place = _bullmq_import(body)
    if place is not None:  # which may go: so this one takes over the lines above it
        old = body[place]
        assert isinstance(old, cst.SimpleStatementLine)
        body[place] = old.with_changes(leading_lines=[])
        fresh = fresh.with_changes(leading_lines=old.leading_lines)
    else:
        place = _after_last_import(body)
        if place and _is_standard(body[place - 1]):
            fresh = fresh.with_changes(leading_lines=[cst.EmptyLine(indent=False)])
        if place < len(body) and not any(map(_is_import, body)):
            body[place] = _set_apart(body[place])
    return module.with_changes(body=[*body[:place], fresh, *body[place:]])


def _set_apart(statement: cst.SimpleStatementLine | cst.BaseCompoundStatement) -> Any:
    """The first statement below the imports, with empty lines above it."""
    wanted = 2 if isinstance(statement, (cst.FunctionDef, cst.ClassDef)) else 1
    lines = list(statement.leading_lines)
    own = sum(1 for _ in itertools.takewhile(lambda line: line.comment is None, lines))
    missing = [cst.EmptyLine(indent=False)] * max(0, wanted - own)
    return statement.with_changes(leading_lines=[*missing, *lines])


def _ours(statement: cst.BaseStatement) -> cst.ImportFrom | None:
    if not isinstance(statement, cst.SimpleStatementLine):
        return None
    for part in statement.body:
        if isinstance(part, cst.ImportFrom) and isinstance(part.module, cst.Name) and part.module.value == PACKAGE:
            return None if isinstance(part.names, cst.ImportStar) else part
    return None


def _merged(statement: cst.BaseStatement, found: cst.ImportFrom, names: set[str]) -> cst.SimpleStatementLine:
    assert not isinstance(found.names, cst.ImportStar)
    assert isinstance(statement, cst.SimpleStatementLine)
    fresh = sorted(names - {alias.evaluated_name for alias in found.names if not alias.asname})
    if not fresh:
        return statement
    aliases = [*found.names, *(cst.ImportAlias(cst.Name(name)) for name in fresh)]
    last = len(aliases) - 1
    spaced = [
        alias
        if isinstance(alias.comma, cst.Comma) and index != last
        else alias.with_changes(comma=cst.MaybeSentinel.DEFAULT)
        for index, alias in enumerate(aliases)
    ]
    body = [found.with_changes(names=spaced) if part is found else part for part in statement.body]
    return statement.with_changes(body=body)


def _import(names: Sequence[str]) -> cst.ImportFrom:
    return cst.ImportFrom(cst.Name(PACKAGE), [cst.ImportAlias(cst.Name(name)) for name in names])


def _after_last_import(body: Sequence[cst.BaseStatement]) -> int:
    """Behind the last import from outside, and before those of the package itself."""
    imports = [index for index, one in enumerate(body) if _is_import(one)]
    outside = [index + 1 for index in imports if not _is_relative(body[index])]
    if outside:
        return outside[-1]
    if imports:
        return imports[0]
    first = body[0] if body else None
    is_docstring = (
        isinstance(first, cst.SimpleStatementLine)
        and isinstance(first.body[0], cst.Expr)
        and isinstance(first.body[0].value, (cst.SimpleString, cst.ConcatenatedString))
    )
    return 1 if is_docstring else 0


def _is_relative(statement: cst.BaseStatement) -> bool:
    assert isinstance(statement, cst.SimpleStatementLine)
    only = statement.body[0]
    return isinstance(only, cst.ImportFrom) and bool(only.relative)


def _is_standard(statement: cst.BaseStatement) -> bool:
    """Whether an import is of Python's own library."""
    only = statement.body[0] if isinstance(statement, cst.SimpleStatementLine) else None
    if isinstance(only, cst.Import):
        name = only.names[0].evaluated_name
    elif isinstance(only, cst.ImportFrom) and only.module is not None and not only.relative:
        name = cst.Module([]).code_for_node(only.module)
    else:
        return False
    return name.partition(".")[0] in sys.stdlib_module_names


def _is_import(statement: cst.BaseStatement) -> bool:
    return isinstance(statement, cst.SimpleStatementLine) and isinstance(
        statement.body[0], (cst.Import, cst.ImportFrom)
    )


def _bullmq_import(body: Sequence[cst.BaseStatement]) -> int | None:
    """The number of the statement that imports bullmq at the top of the module."""
    for index, statement in enumerate(body):
        if isinstance(statement, cst.SimpleStatementLine) and any(map(_imports_bullmq, statement.body)):
            return index
    return None


def _imports_bullmq(statement: cst.BaseSmallStatement) -> bool:
    if isinstance(statement, cst.ImportFrom) and statement.module is not None and not statement.relative:
        return cst.Module([]).code_for_node(statement.module).partition(".")[0] == "bullmq"
    if isinstance(statement, cst.Import):
        return any(alias.evaluated_name.partition(".")[0] == "bullmq" for alias in statement.names)
    return False
