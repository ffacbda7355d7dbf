"""Variables that hold options get our names as keys, where they are filled."""

from __future__ import annotations

import libcst as cst

from .codemod import Codemod


class OptionNames(Codemod):
    """The keys of dictionaries that are given to `add` by a variable."""

    def text(self, original: cst.SimpleString, updated: cst.BaseExpression) -> cst.BaseExpression:
        new = self.file.planned(self.file.plans.enqueues.reader.renamed_keys, original)
        if new is None or not isinstance(updated, cst.SimpleString):
            return updated
        return updated.with_changes(value=f"{updated.quote}{new}{updated.quote}")
