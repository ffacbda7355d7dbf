"""Moves jobs from an old queue into the managed queue, each once.

A batch is read, translated, and taken out of its place where it is still the same; notes of what is in flight stay in
the old Redis. Then the managed queue adopts it, and remembers that in its ledger. Then the notes and the old jobs go.
After a kill between any two of these steps the next run begins with what is in flight, and the ledger knows what was
adopted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from xpert_mq import ManagedQueueService
from xpert_mq.adoption import AdoptionLedger

from .errors import DrainError
from .lease import Lease
from .old_job import OldJob
from .old_queue import ALL_PLACES, IN_FLIGHT, OldQueue, text
from .reading import STUCK, Reader, translated
from .report import Report
from .scripts import Scripts
from .translation import Move, Translator

#: Where it is noted which managed queue the jobs went to.
FORWARDED = "xpert-mq:forwarded"

#: Passes in a row that moved nothing, though jobs were there: workers were faster, or changed them.
_VAIN_PASSES = 3


def target_of(service: ManagedQueueService) -> str:
    """Names a managed queue, for people and in the notes."""
    return f"{service.settings.safe_redis_url} {service.settings.prefix}"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is moved, and how fast.

    Attributes:
        limit: jobs; None: all.
        per_second: jobs; None: as fast as it goes.
        is_over: asked between batches: whether to stop now.
    """

    limit: int | None = None
    per_second: float | None = None
    is_over: Callable[[], bool] = lambda: False


class Mover:
    """Moves what is in `places`; passes over them until one finds nothing more to move.

    Args:
        target: names the managed queue, in a way that stays the same.
        moved: called after each batch with the jobs that were moved in it.
    """

    def __init__(
        self,
        queue: OldQueue,
        scripts: Scripts,
        translator: Translator,
        ledger: AdoptionLedger,
        lease: Lease,
        reader: Reader,
        target: str,
        bounds: Bounds,
        moved: Callable[[int], object],
    ) -> None:
        self.report = Report()
        self._queue = queue
        self._claim: Any = scripts.claim
        self._settle: Any = scripts.settle
        self._translator = translator
        self._ledger = ledger
        self._lease = lease
        self._reader = reader
        self._target = target
        self._bounds = bounds
        self._moved = moved
        self._started = time.monotonic()

    def run(self, places: Sequence[str]) -> None:
        """Moves, and notes it in `report`. The lease must be held."""
        self._ledger.count()  # nothing is taken while the managed queue can't be reached
        self._note_target()
        vain = 0
        while vain < _VAIN_PASSES and not self._is_over():
            before = self.report.moved.total()
            self.report.begin_pass()
            self._resume()
            for place in places:
                self._pass(place)
            if self.report.moved.total() > before:
                vain = 0
            elif self.report.missed:
                vain += 1
            else:
                return

    def _note_target(self) -> None:
        key = self._queue.key(FORWARDED)
        noted = self._queue.client.hget(key, "target")
        if noted and text(noted) != self._target and self._queue.client.exists(self._queue.key(IN_FLIGHT)):
            raise DrainError(
                f"jobs in flight are on their way to {text(noted)}, and this would move them to {self._target}: run it "
                "once more with the settings that it had, then change them; if that managed queue is gone for good, "
                f"with all that it had, delete the key {key!r}"
            )
        self._queue.client.hset(key, "target", self._target)

    def _resume(self) -> None:
        jobs, gone = self._reader.in_flight()
        fit = list(translated(jobs, self._translator, self.report, STUCK))
        self.report.resumed += self._hand_over(fit, gone)

    def _pass(self, place: str) -> None:
        first = 0
        while not self._is_over() and (jobs := self._reader.read(place, first)):
            fit = list(translated(jobs, self._translator, self.report))[: self._left()]
            taken, missing = self._take(place, first, fit)
            moved = self._hand_over(taken)
            first += len(jobs) - (moved + missing if moved else 0)
            self._keep_pace()

    def _take(self, place: str, first: int, fit: Sequence[Move]) -> tuple[list[Move], int]:
        """Those that could be taken, in their order, and how many are not there any more."""
        if not fit:
            return [], 0
        keys = [self._queue.key(part) for part in (place, IN_FLIGHT, "xpert-mq:lease", "")]
        jobs = [value for move in fit for value in (move.job.id, move.job.fingerprint, move.job.score)]
        args = [self._lease.token, self._lease.ms, place, ALL_PLACES[place], first, *jobs]
        reply = self._claim(keys=keys, args=args)
        self._lease.check(reply != -1)
        taken, changed = reply
        self.report.missed += len(fit) - len(taken)
        return [fit[number - 1] for number in taken], len(fit) - len(taken) - changed

    def _hand_over(self, fit: Sequence[Move], gone: Sequence[OldJob] = ()) -> int:
        """Lets the managed queue adopt jobs in flight, and ends their flight; those that are gone were removed."""
        if not fit and not gone:
            return 0
        self._lease.keep()
        done, back = [job.id for job in gone], []
        for move, adopted in zip(fit, self._ledger.adopt_many([move.adoption for move in fit]), strict=True):
            if adopted.outcome in ("adopted", "already"):
                done.append(move.job.id)
                self.report.moves(move)
            else:
                back.append(move.job.id)
                self.report.stays(move.job, _held(adopted.job_id, adopted.state))
        keys = [self._queue.key(part) for part in (IN_FLIGHT, "xpert-mq:lease", "")]
        waiting = "paused" if self._queue.library.waits_in_paused else "wait"
        args = [self._lease.token, self._lease.ms, waiting, len(done), *done, *reversed(back)]
        self._lease.check(self._settle(keys=keys, args=args) != -1)
        moved = len(done) - len(gone)
        self._moved(moved)
        return moved

    def _left(self) -> int | None:
        return None if self._bounds.limit is None else max(0, self._bounds.limit - self.report.moved.total())

    def _is_over(self) -> bool:
        return self._left() == 0 or self._bounds.is_over()

    def _keep_pace(self) -> None:
        if self._bounds.per_second is None:
            return
        due = self._started + self.report.moved.total() / self._bounds.per_second
        while (left := due - time.monotonic()) > 0 and not self._bounds.is_over():
            time.sleep(min(left, self._lease.ms / 3000))
            self._lease.keep()


def _held(job_id: str, state: str | None) -> str:
    return f"a {state} job of the managed queue has the id that it would get, and is another one"
