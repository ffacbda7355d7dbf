"""A tenant that can't be known becomes a parameter of the function, and its callers in the tree give it."""

from __future__ import annotations

import ast

import libcst as cst

from .analysis.findings import Reason
from .build import code_piece
from .codemod import Codemod


class TenantParameter(Codemod):
    """Functions that enqueue, cancel or look up a job of nobody knows whom."""

    def function(self, original: cst.FunctionDef, updated: cst.FunctionDef) -> list[cst.FunctionDef]:
        scope = self.file.definition(original)
        cause = self.file.plans.parameters.get(scope) if scope is not None else None
        if scope is None or cause is None:
            return [updated]
        self.file.report("decide", _needed(scope.name), scope.node)
        return [updated.with_changes(params=_with_tenant(updated))]

    def call(self, original: cst.Call, updated: cst.BaseExpression) -> cst.BaseExpression:
        """Calls of such functions."""
        node = self.file.node(original)
        owner = self.file.plans.calls.get(node) if isinstance(node, ast.Call) else None
        if owner is None or node is None or not isinstance(updated, cst.Call):
            return updated
        if owner.tenant is None:
            self.file.decide(_unknown(self.file.module.segment(node.func)), node)  # type: ignore[attr-defined]
            return updated
        given = code_piece("tenant_id", owner.tenant)
        new = cst.Arg(
            given.value,
            keyword=cst.Name("tenant_id"),
            equal=cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace("")),
        )
        return updated.with_changes(args=[*_spaced(updated), new])


def _spaced(call: cst.Call) -> list[cst.Arg]:
    """The arguments, so that one more can follow."""
    arguments = list(call.args)
    if arguments:
        gap = cst.SimpleWhitespace(" ")
        if isinstance(call.whitespace_before_args, cst.ParenthesizedWhitespace):
            gap = call.whitespace_before_args  # type: ignore[assignment]
        arguments[-1] = arguments[-1].with_changes(comma=cst.Comma(whitespace_after=gap))
    return arguments


def _with_tenant(function: cst.FunctionDef) -> cst.Parameters:
    """The parameters with `*, tenant_id: str` at their end."""
    parameters = function.params
    new = cst.Param(cst.Name("tenant_id"), cst.Annotation(cst.Name("str")))
    before = function.whitespace_before_params
    if not isinstance(before, cst.ParenthesizedWhitespace):
        star = parameters.star_arg
        star = cst.ParamStar() if isinstance(star, cst.MaybeSentinel) else star
        return parameters.with_changes(star_arg=star, kwonly_params=[*parameters.kwonly_params, new])
    return _on_lines(parameters, new, before)


def _on_lines(parameters: cst.Parameters, new: cst.Param, line: cst.ParenthesizedWhitespace) -> cst.Parameters:
    """The same where each parameter has a line of its own."""
    comma = cst.Comma(whitespace_after=line.with_changes(first_line=cst.TrailingWhitespace(), empty_lines=[]))
    last = [*parameters.params, *parameters.kwonly_params][-1:]
    ending = last[0].comma if last else cst.MaybeSentinel.DEFAULT
    plain = list(parameters.params)
    named = list(parameters.kwonly_params)
    if named:
        named[-1] = named[-1].with_changes(comma=comma)
    elif plain:
        plain[-1] = plain[-1].with_changes(comma=comma)
    star = parameters.star_arg
    if isinstance(star, cst.MaybeSentinel):
        star = cst.ParamStar(comma=comma)
    added = new.with_changes(comma=ending)
    return parameters.with_changes(params=plain, star_arg=star, kwonly_params=[*named, added])


def _needed(name: str) -> Reason:
    why = f"whose job {name} is about can't be known, so it has a parameter tenant_id now"
    return Reason("tenant", why, "give it wherever it is called, from the row or the signed-in user, never from input")


def _unknown(function: str) -> Reason:
    return Reason("tenant", f"{function} needs tenant_id now", "give it the tenant whose job this is")
