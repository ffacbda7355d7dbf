"""All that is known at the end: what was planned, what the plugin told, and what has been seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..wechat.server import Entry
from .plan import TenantPlan
from .script import Told
from .seen import Seen

#: Redis and the service have clocks of their own, and keys expire by the millisecond.
CLOCKS = 0.002

T = TypeVar("T")
K = TypeVar("K")


@dataclass(frozen=True)
class Case:
    """All that is known."""

    plan: Sequence[TenantPlan]
    told: Mapping[str, Told]
    seen: Seen

    def requests(self, path: str) -> list[Entry]:
        return [entry for entry in self.seen.log if entry.path == path]


def by(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    """The items in groups, each in their order."""
    groups: dict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups
