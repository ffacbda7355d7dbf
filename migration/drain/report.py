"""What became of the jobs of an old queue."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .old_job import OldJob
from .old_queue import text
from .translation import Move

_LISTED = 10_000


@dataclass(frozen=True, slots=True)
class Left:
    """A job that stays in the old queue."""

    id: str
    name: str
    place: str
    reason: str


@dataclass(slots=True)
class Report:
    """What was moved, or would be.

    Attributes:
        moved: by the old place.
        targets: by the old job name, and what it became.
        lost: options that had no equivalent, and how many of these jobs had them.
        resumed: of `moved`, those that an earlier run had left in flight.
        reasons: why jobs stay, and how many.
        left: the jobs that stay, 10 000 of them at most.
        missed: jobs that a worker took or changed before they could be moved.
    """

    moved: Counter[str] = field(default_factory=Counter)
    targets: Counter[tuple[str, str]] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    left: list[Left] = field(default_factory=list)
    missed: int = 0

    def begin_pass(self) -> None:
        """The jobs that stay are those of the last pass."""
        self.reasons.clear()
        self.left.clear()
        self.missed = 0

    def stays(self, job: OldJob, reason: str) -> None:
        """Notes one."""
        self.reasons[reason] += 1
        if len(self.left) < _LISTED:
            self.left.append(Left(text(job.id), job.name, job.place, reason))

    def moves(self, move: Move) -> None:
        """Notes one."""
        self.moved[move.job.place] += 1
        self.targets[move.job.name, move.target] += 1
        self.lost.update(move.lost)
