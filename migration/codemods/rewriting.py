"""Rewrites a tree: calls and handlers first, then what nothing needs any more."""

from __future__ import annotations

import ast
import difflib
import textwrap
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from .analysis.findings import Finding, Reason
from .analysis.plans import Plans
from .analysis.scopes import Module
from .analysis.values import Site
from .annotations import Annotations
from .cancel import Cancel
from .codemod import Codemod, CodemodType, File
from .defer import Deferral
from .enqueue import Enqueue
from .enqueue_many import BulkJobs, EnqueueMany
from .errors import Errors
from .gone import Gone, Removal
from .handler_job import HandlerJob
from .handlers import Handlers
from .imports import with_import
from .lookup import AddedJob, Lookup
from .no_equivalent import NoEquivalent
from .option_names import OptionNames
from .redis_client import RedisClient
from .sync_calls import SyncCalls
from .tenant_parameter import TenantParameter
from .unused import Cleaning, imported_names, reads, unused

#: All rewrites of calls and definitions, in the order in which they are asked about a node.
CODEMODS: tuple[CodemodType, ...] = (
    NoEquivalent,
    OptionNames,
    Errors,
    BulkJobs,
    Enqueue,
    EnqueueMany,
    Lookup,
    AddedJob,
    Cancel,
    HandlerJob,
    RedisClient,
    SyncCalls,
    Deferral,
    Annotations,
    TenantParameter,
    Handlers,
)


@dataclass
class Rewritten:
    """What became of one file.

    Attributes:
        error: why it is left as it is, though it was to be rewritten.
    """

    module: Module
    text: str
    findings: list[Finding] = field(default_factory=list)
    error: str | None = None

    @property
    def changed(self) -> bool:
        return self.text != self.module.text


@dataclass(frozen=True)
class Project:
    """What a file belongs to: its plugin's name, None where it is not known, and how long its lines may be."""

    plugin_name: str | None
    width: int = 88


def rewrite(
    modules: Sequence[Module], project_of: Callable[[Module], Project], codemods: Sequence[CodemodType] = CODEMODS
) -> list[Rewritten]:
    """Rewrites all modules that have to do with bullmq; gives those with what became of them."""
    plans = Plans(modules)
    results: list[Rewritten] = []
    for module in filter(plans.touches, plans.project.modules):
        project = project_of(module)
        if project.plugin_name is None:
            results.append(_nameless(module))
        elif _has_other(module):
            results.append(_refused(module))
        else:
            results.append(_apply(File(module, plans, project.plugin_name, project.width), codemods))
    if any(one.changed for one in results):
        _clean(plans, modules, results)
    return [_checked(one) for one in results]


def _nameless(module: Module) -> Rewritten:
    return Rewritten(module, module.text, [Finding("decide", _NO_NAME, module, 1, 1)])


def _has_other(module: Module) -> bool:
    """Whether the module binds one of our names to something else."""
    for name in ("managed_queue", "plugin_job_processor"):
        for one in module.scope.bindings.get(name, []):
            if not (one.kind == "import" and one.target.startswith("xpert_mq")):
                return "bullmq" in module.text
    return False


def _refused(module: Module) -> Rewritten:
    return Rewritten(module, module.text, [Finding("decide", _OTHER, module, 1, 1)])


def _parsed(text: str) -> tuple[cst.Module, MetadataWrapper]:
    wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    return wrapper.module, wrapper


def _apply(file: File, codemods: Sequence[CodemodType]) -> Rewritten:
    module, wrapper = _parsed(file.module.text)
    file.positions = wrapper.resolve(PositionProvider)
    rewriter = _Rewriter(file, [make(file) for make in codemods])
    changed = module.visit(rewriter)
    if file.needed:
        changed = with_import(changed, file.needed)
    return Rewritten(file.module, changed.code, sorted(file.findings, key=lambda one: (one.line, one.column)))


class _Rewriter(cst.CSTTransformer):
    """Asks every codemod about every node, and writes the marks."""

    def __init__(self, file: File, codemods: Sequence[Codemod]) -> None:
        super().__init__()
        self._file = file
        self._codemods = codemods
        for one in codemods:
            one.inspect()

    def on_leave(self, original_node: cst.CSTNodeT, updated_node: Any) -> Any:
        name = _METHODS.get(type(original_node))
        if name is not None:
            for one in self._codemods:
                updated_node = getattr(one, name)(original_node, updated_node)
        if isinstance(original_node, cst.FunctionDef):
            return self._functions(original_node, updated_node)
        if isinstance(original_node, (cst.SimpleStatementLine, cst.BaseCompoundStatement)):
            return self._statement(original_node, updated_node)
        return updated_node

    def _functions(
        self, original: cst.FunctionDef, updated: cst.FunctionDef
    ) -> cst.FunctionDef | cst.FlattenSentinel[cst.BaseStatement]:
        found = [updated]
        for one in self._codemods:
            found = [new for function in found for new in one.function(original, function)]
        first = self._statement(original, found[0])
        return first if len(found) == 1 else cst.FlattenSentinel([first, *found[1:]])  # type: ignore[list-item,return-value]

    def _statement(
        self, original: cst.BaseStatement, updated: cst.BaseStatement
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        node = self._file.statement(original)
        if node is None:
            return updated
        before = [new for one in self._codemods for new in one.statements(node)]
        lines = list(updated.leading_lines)  # type: ignore[attr-defined]
        there = " ".join(line.comment.value.lstrip("# ") for line in lines if line.comment is not None)
        marks = [one.comment for one in self._file.marks(node) if one.comment not in there]
        room = self._file.width - node.col_offset
        fresh = [cst.EmptyLine(comment=cst.Comment(line)) for one in marks for line in _comment_lines(one, room)]
        if fresh:
            updated = updated.with_changes(leading_lines=[*lines, *fresh])
        if not before:
            return updated
        lines = list(updated.leading_lines)  # type: ignore[attr-defined]
        before[0] = before[0].with_changes(leading_lines=lines)
        return cst.FlattenSentinel([*before, updated.with_changes(leading_lines=[])])


def _comment_lines(text: str, room: int) -> list[str]:
    return textwrap.wrap(text, max(room, 40), initial_indent="# ", subsequent_indent="#   ", break_on_hyphens=False)


_METHODS: dict[type[cst.CSTNode], str] = {
    cst.Call: "call",
    cst.Attribute: "attribute",
    cst.Subscript: "subscript",
    cst.Await: "awaited",
    cst.Dict: "dictionary",
    cst.Name: "name",
    cst.SimpleString: "text",
    cst.Annotation: "annotation",
    cst.IndentedBlock: "block",
    cst.ClassDef: "class_",
}


def _clean(plans: Plans, modules: Sequence[Module], results: list[Rewritten]) -> None:
    """Takes out what nothing needs any more: queues and workers, then what only they needed."""
    wanted = _ordinals(plans, _candidates(plans))
    texts = {one.module.path: one.text for one in results}
    fresh = [reread(module, texts.get(module.path, module.text)) for module in modules]
    again = Plans(fresh, {module.path for module in plans.project.modules})
    candidates = [site for site, key in _numbered(again).items() if key in wanted]
    gone = Gone(again, candidates)
    by_path = {module.path: module for module in fresh}
    for one in results:
        if gone.sites:
            file = File(by_path[one.module.path], again, "")
            one.text = _transformed(file, Removal(file, gone))
    _drop_unused(again, modules, results)


def _candidates(plans: Plans) -> list[Site]:
    """The queues that something used, and the workers whose processors are handlers now."""
    queues = [site for site in plans.project.sites("queue") if any(use.kind != "bound" for use in plans.uses.of(site))]
    return [*queues, *(site for site, plan in plans.workers.all.items() if plan.style != "stays")]


Ordinal = tuple[Path, str, int]


def _numbered(plans: Plans) -> dict[Site, Ordinal]:
    """Each queue and worker by its number in its file, which rewriting does not change."""
    counts: Counter[tuple[Path, str]] = Counter()
    found: dict[Site, Ordinal] = {}
    for site in (*plans.project.sites("queue"), *plans.project.sites("worker")):
        key = (site.module.path, site.kind)
        found[site] = (*key, counts[key])
        counts[key] += 1
    return found


def _ordinals(plans: Plans, sites: Sequence[Site]) -> set[Ordinal]:
    numbers = _numbered(plans)
    return {numbers[site] for site in sites}


def reread(module: Module, text: str) -> Module:
    """The module as it is now."""
    return (
        module if text == module.text else Module(module.path, module.parts, text, ast.parse(text), module.is_package)
    )


def _transformed(file: File, transformer: cst.CSTTransformer) -> str:
    module, wrapper = _parsed(file.module.text)
    file.positions = wrapper.resolve(PositionProvider)
    return module.visit(transformer).code


def _drop_unused(plans: Plans, modules: Sequence[Module], results: list[Rewritten]) -> None:
    before = {one.module.path: reads(one.module) for one in results}
    current = {module.path: module for module in modules}
    while True:
        current.update({one.module.path: reread(one.module, one.text) for one in results})
        imported = list(imported_names(list(current.values())))
        dropped = False
        for one in results:
            module = current[one.module.path]
            names = {name for origin, name in imported if origin == module.parts[-1]}
            found = unused(before[module.path], module, names) if one.changed else {}
            if found:
                file = File(module, plans, "")
                one.text = _transformed(file, Cleaning(file, found))
                dropped = dropped or one.text != module.text
        if not dropped:
            return


def _checked(result: Rewritten) -> Rewritten:
    """What would be no Python is not written, and a file in which nothing is left is empty."""
    if not result.changed:
        return result
    if not result.text.strip():
        left = Finding("note", _EMPTY, result.module, 1, 1)
        return Rewritten(result.module, "", [*result.findings, left])
    try:
        ast.parse(result.text)
    except SyntaxError as error:
        wrong = f"the rewritten file would not be valid Python: {error}"
        return Rewritten(result.module, result.module.text, result.findings, wrong)
    return result


def placed(result: Rewritten) -> list[Finding]:
    """The findings with their lines in the file as it is after the rewrite."""
    matcher = difflib.SequenceMatcher(None, result.module.lines, result.text.split("\n"), autojunk=False)
    lines: dict[int, int] = {}
    for _, start, end, new_start, new_end in matcher.get_opcodes():
        for line in range(start, end):
            lines[line] = min(new_start + line - start, max(new_start, new_end - 1))
    return [replace(one, line=lines.get(one.line - 1, one.line - 1) + 1) for one in result.findings]


_NO_NAME = Reason(
    "plugin-name", "the plugin's name is not known", "give it with --plugin-name, or as the name in a pyproject.toml"
)
_EMPTY = Reason("file", "nothing is left in this file", "delete it, unless it makes a folder a package")
_OTHER = Reason(
    "name", "the file has another managed_queue or plugin_job_processor", "give that another name, and run this again"
)
