"""`await job.moveToDelayed(now + delay, token)` and `raise DelayedError` become `raise Defer(delay)`."""

from __future__ import annotations

import libcst as cst

from .codemod import Codemod


class Deferral(Codemod):
    """Where the two stand together, and the time is that of now and a delay."""

    def block(self, original: cst.IndentedBlock, updated: cst.IndentedBlock) -> cst.IndentedBlock:
        body = list(updated.body)
        for line in original.body:
            node = self.file.statement(line)
            delay = self.file.plans.deferral(node) if node is not None else None
            if delay is None or len(original.body) != len(updated.body):
                continue
            place = list(original.body).index(line)
            self.file.need("Defer")
            after = body[place + 1]
            assert isinstance(after, cst.SimpleStatementLine)
            code = f"raise Defer({self.file.module.segment(delay)})"
            raised = cst.parse_statement(code)
            assert isinstance(raised, cst.SimpleStatementLine)
            kept = body[place]
            assert isinstance(kept, cst.SimpleStatementLine)
            body[place] = raised.with_changes(
                leading_lines=[*kept.leading_lines, *after.leading_lines], trailing_whitespace=kept.trailing_whitespace
            )
            return updated.with_changes(body=[*body[: place + 1], *body[place + 2 :]])
        return updated
