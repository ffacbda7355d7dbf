"""What an expression may be worth, as far as it matters here."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Literal

from .scopes import Module, Scope

SiteKind = Literal["queue", "worker", "flow", "events", "scheduler"]
JobKind = Literal["handler", "kept", "snapshot", "added"]


@dataclass(frozen=True)
class External:
    """Something from outside the tree, by its dotted name; what bullmq has is `bullmq.<name>`, wherever it is from."""

    name: str


@dataclass(frozen=True)
class ModuleValue:
    module: Module


@dataclass(frozen=True)
class ClassValue:
    scope: Scope


@dataclass(frozen=True)
class Instance:
    """An object of a class of the tree."""

    scope: Scope


@dataclass(frozen=True)
class Function:
    """A function or method of the tree.

    Attributes:
        partial: some of its arguments are given already: so many by position, and these by name.
    """

    scope: Scope
    partial: bool = False
    given: int = 0
    given_names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Client:
    """bullmq's asyncio client of Redis."""


@dataclass(frozen=True)
class Display:
    """A display of a list, tuple or dictionary."""

    node: ast.expr
    scope: Scope


@dataclass(eq=False)
class Site:
    """A call that makes a bullmq object. All names of the object lead to one site.

    Attributes:
        name: the queue's name, where it can be known.
        options: the dictionary of options, an expression that leads to it, or None.
    """

    kind: SiteKind
    call: ast.Call
    scope: Scope
    name: str | None = None
    name_node: ast.expr | None = None
    options: ast.expr | None = None
    injected: list[ast.arg] = field(default_factory=list)

    @property
    def module(self) -> Module:
        return self.scope.module


@dataclass(frozen=True)
class Thing:
    """An object of bullmq."""

    site: Site

    @property
    def kind(self) -> SiteKind:
        return self.site.kind


@dataclass(frozen=True)
class Method:
    """A bound method of a bullmq object."""

    site: Site
    name: str


@dataclass(frozen=True)
class JobValue:
    """A job: as its handler gets it (`kept`: in a worker that stays), as `getJob` finds it, or as `add` returns it."""

    kind: JobKind


@dataclass(frozen=True)
class Stranger:
    """A queue of which only the class is known, as that of a parameter."""


@dataclass(frozen=True)
class Jobs:
    """What `addBulk` returns."""


Value = (
    External
    | ModuleValue
    | ClassValue
    | Instance
    | Function
    | Text
    | Client
    | Display
    | Thing
    | Method
    | JobValue
    | Jobs
    | Stranger
)
