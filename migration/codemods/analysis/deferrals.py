"""Jobs that are put off from inside their handler."""

from __future__ import annotations

import ast


def delay_of(statement: ast.stmt, following: ast.stmt | None) -> ast.expr | None:
    """The delay of a job that is put off by these two statements."""
    match statement:
        case ast.Expr(value=ast.Await(value=ast.Call(func=ast.Attribute(attr="moveToDelayed"), args=[when, *_]))):
            pass
        case _:
            return None
    if not isinstance(following, ast.Raise):
        return None
    if isinstance(when, ast.BinOp) and isinstance(when.op, ast.Add):
        if _is_now(when.left):
            return when.right
        if _is_now(when.right):
            return when.left
    return None


def _is_now(expr: ast.expr) -> bool:
    """Whether it is the time in milliseconds: `int(time.time() * 1000)` and its like."""
    match expr:
        case ast.Call(func=ast.Name(id="int" | "round"), args=[inner]):
            return _is_now(inner)
        case ast.BinOp(op=ast.Mult(), left=left, right=right):
            return any(_is_clock(one, "time") for one in (left, right)) and any(map(_is_thousand, (left, right)))
        case ast.BinOp(op=ast.FloorDiv(), left=left, right=ast.Constant(value=1_000_000)):
            return _is_clock(left, "time_ns")
    return False


def _is_clock(expr: ast.expr, name: str) -> bool:
    match expr:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="time"), attr=attr), args=[]):
            return attr == name
        case ast.Call(func=ast.Name(id=found), args=[]):
            return found == name
    return False


def _is_thousand(expr: ast.expr) -> bool:
    return isinstance(expr, ast.Constant) and expr.value in (1000, 1000.0)
