"""What only queues and workers needed goes too: connections, constants and imports that nothing reads any more."""

# ruff: noqa: N802 - libcst names its methods after nodes

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence

import libcst as cst

from .analysis.scopes import Binding, Module, Scope
from .codemod import File
from .gone import without_comma
from .spacing import Spacing

#: Calls that read settings or make clients, so that nothing is lost without them.
_HARMLESS = {
    "getenv",
    "get",
    "int",
    "str",
    "bool",
    "float",
    "dict",
    "from_url",
    "Redis",
    "StrictRedis",
    "urlparse",
    "strip",
}

_LONGEST_ANNOTATION = 200

Key = tuple[str, ...]


def reads(module: Module) -> Counter[Key]:
    """How often each name is read, by its scope's path."""
    found: Counter[Key] = Counter()
    exported = _exported(module)
    for node, scope in module.scope_of.items():
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found[_key(node.id, scope)] += 1
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.update(_key(name, scope) for name in named_in(node.value))
    for name in exported:
        found[("", name)] += 1
    return found


def named_in(text: str) -> list[str]:
    """The names in a quoted annotation; none in texts that are no expression."""
    if len(text) > _LONGEST_ANNOTATION:
        return []
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError):
        return []
    return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]


def _exported(module: Module) -> list[str]:
    values = [one.value for one in module.scope.bindings.get("__all__", [])]
    lists = [one for one in values if isinstance(one, (ast.List, ast.Tuple))]
    return [
        part.value
        for one in lists
        for part in one.elts
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]


def _key(name: str, scope: Scope) -> Key:
    """Where a name is bound, and the name."""
    for place in scope.around():
        if name in place.bindings:
            return (*_path(place), name)
    return ("?", name)


def _path(scope: Scope) -> Key:
    names: list[str] = []
    current: Scope | None = scope
    while current is not None and current.kind != "module":
        names.append(current.name)
        current = current.parent
    return ("", *reversed(names))


def unused(before: Counter[Key], module: Module, imported: set[str]) -> dict[ast.stmt, set[str]]:
    """The statements that bind names which were read before, and are not any more; with those names.

    Args:
        before: what was read in the file as it was.
        imported: the names that other files import from this one.
    """
    now = reads(module)
    found: dict[ast.stmt, set[str]] = {}
    for scope in {*module.scope_of.values(), module.scope}:
        if scope.kind == "class":
            continue
        for name, bindings in scope.bindings.items():
            key = (*_path(scope), name)
            twice = _bound_by_both(bindings)
            if twice is not None:
                found.setdefault(twice, set()).add(name)
            from_bullmq = all(one.target.startswith("bullmq") for one in bindings)
            if not (before[key] or from_bullmq) or now[key] or (scope.kind == "module" and name in imported):
                continue
            if all(_can_go(one) for one in bindings):
                for one in bindings:
                    assert isinstance(one.node, ast.stmt)
                    found.setdefault(one.node, set()).add(name)
    return found


def _bound_by_both(bindings: list[Binding]) -> ast.stmt | None:
    """The import from bullmq of a name that is imported from xpert_mq, too."""
    origins = {one.target.partition(".")[0].partition(":")[0]: one.node for one in bindings if one.kind == "import"}
    found = origins.get("bullmq") if "xpert_mq" in origins else None
    return found if isinstance(found, ast.stmt) else None


def _can_go(binding: Binding) -> bool:
    if binding.kind == "import":
        return not (isinstance(binding.node, ast.ImportFrom) and binding.node.module == "__future__")
    plain = isinstance(binding.node, (ast.Assign, ast.AnnAssign)) and binding.value is not None
    return binding.kind == "value" and plain and binding.value is not None and _is_harmless(binding)


def _is_harmless(binding: Binding) -> bool:
    targets = binding.node.targets if isinstance(binding.node, ast.Assign) else []
    if len(targets) > 1 or any(not isinstance(one, ast.Name) for one in targets):
        return False
    assert binding.value is not None
    for node in ast.walk(binding.value):
        if isinstance(node, (ast.Await, ast.Yield, ast.YieldFrom, ast.NamedExpr, ast.Lambda)):
            return False
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name not in _HARMLESS:
                return False
    return True


def imported_names(modules: Sequence[Module]) -> Iterator[tuple[str, str]]:
    """The last part of each module that names are imported from, and the names."""
    for module in modules:
        for node in module.scope_of:
            if isinstance(node, ast.ImportFrom):
                origin = (node.module or module.parts[-1 if module.is_package else 0]).rpartition(".")[2]
                for alias in node.names:
                    yield origin, alias.name
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                yield node.value.id, node.attr


class Cleaning(Spacing):
    """Takes bindings out of one file."""

    def __init__(self, file: File, unused_names: dict[ast.stmt, set[str]]) -> None:
        super().__init__()
        self._file = file
        self._unused = unused_names

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine | cst.RemovalSentinel:
        statement = self._file.statement(original_node)
        names = self._unused.get(statement) if statement is not None else None
        if not names or len(updated_node.body) != 1:
            return updated_node
        only = updated_node.body[0]
        if isinstance(only, (cst.Import, cst.ImportFrom)) and not isinstance(only.names, cst.ImportStar):
            kept = [one for one in only.names if _bound_name(one) not in names]
            if kept:
                return updated_node.with_changes(body=[_with_names(only, kept)])
        return self.removed(original_node)

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> cst.If | cst.RemovalSentinel:
        """`if TYPE_CHECKING:` with nothing left in it."""
        had = isinstance(original_node.body, cst.IndentedBlock) and original_node.body.body
        empty = isinstance(updated_node.body, cst.IndentedBlock) and not updated_node.body.body
        return self.removed(original_node) if had and empty and updated_node.orelse is None else updated_node


def _bound_name(alias: cst.ImportAlias) -> str:
    return alias.evaluated_alias or alias.evaluated_name.partition(".")[0]


def _with_names(statement: cst.Import | cst.ImportFrom, kept: list[cst.ImportAlias]) -> cst.Import | cst.ImportFrom:
    if isinstance(statement, cst.ImportFrom):
        return without_comma(statement, kept)
    kept[-1] = kept[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
    return statement.with_changes(names=kept)
