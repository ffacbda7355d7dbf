"""What a person is told: what must be decided, and what is different from now on."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Literal

from .scopes import Module

#: `decide` is marked in the code, `note` is only reported.
Level = Literal["decide", "note"]


@dataclass(frozen=True)
class Reason:
    """Why something is left as it is, or what is different; and what to do."""

    rule: str
    why: str
    what_to_do: str

    @property
    def comment(self) -> str:
        return f"xpert-mq: {self.why}; {self.what_to_do}"


@dataclass(frozen=True)
class Finding:
    """A reason with its place in the file as it was read."""

    level: Level
    reason: Reason
    module: Module
    line: int
    column: int

    @staticmethod
    def at(level: Level, reason: Reason, module: Module, node: ast.AST) -> Finding:
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        return Finding(level, reason, module, line, column + 1)
