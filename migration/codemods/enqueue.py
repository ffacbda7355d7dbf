"""`queue.add(name, data, opts)` becomes `managed_queue.enqueue(...)`, or `aenqueue` in what is awaited."""

from __future__ import annotations

from collections.abc import Iterator

import libcst as cst

from .analysis.findings import Reason
from .analysis.uses import awaited
from .build import Piece, call, comments_between, shifted
from .codemod import Codemod
from .fields import dict_pieces, pieces

_FIELDS = {"name": "job_name", "data": "payload", "opts": "opts"}


class Enqueue(Codemod):
    """Every `add` whose queue, options and tenant are known."""

    def call(self, original: cst.Call, updated: cst.BaseExpression) -> cst.BaseExpression:
        node = self.file.node(original)
        plan = self.file.planned(self.file.plans.enqueues.adds, original)
        if plan is None or node is None or not isinstance(updated, cst.Call):
            return updated
        if plan.problem is not None:
            self.file.decide(plan.problem, node)
            return updated
        if plan.owner.how == "context":
            self.file.note(_CONTEXT, node)
        given = list(self._given(original, updated))
        verb = self.file.service("enqueue" if self._is_sync(original) else "aenqueue")
        fields = pieces(self.file, plan, node, given)
        return call(verb, fields, room=self.file.room(original), inset=self.file.inset(original))

    def _is_sync(self, original: cst.Call) -> bool:
        """Whether it is a statement of its own in a function that can't await it."""
        node = self.file.node(original)
        assert node is not None
        scope = self.file.scope(node)
        return not scope.is_async and type(awaited(node, scope)).__name__ == "Expr"

    def _given(self, original: cst.Call, updated: cst.Call) -> Iterator[Piece]:
        commas = [one.comma for one in updated.args]
        notes = comments_between(updated.whitespace_before_args, commas, None)
        for index, (before, argument) in enumerate(zip(original.args, updated.args, strict=True)):
            name = argument.keyword.value if argument.keyword else list(_FIELDS)[index]
            above, behind = notes[index]
            if name != "opts":
                value = shifted(argument.value, self.file.moved(before.value, original))
                yield Piece(value, _FIELDS[name], above=above, behind=behind)
            elif isinstance(argument.value, cst.Dict) and isinstance(before.value, cst.Dict):
                inner = list(dict_pieces(self.file, before.value, argument.value, original))
                if inner:
                    inner[0].above = [*above, *inner[0].above]
                    inner[-1].behind = inner[-1].behind or behind
                yield from inner


_CONTEXT = Reason(
    "tenant", "the job belongs to the tenant of the job that is running", "give it tenant_id if it is another's"
)
