"""`drain … verify`: whether an old queue is empty, and nobody consumes or feeds it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from xpert_mq import ManagedQueueService
from xpert_mq.adoption import AdoptionLedger
from xpert_mq.cli.output import counted, duration, say, say_json, show_table

from .consumers import find_consumers
from .errors import DrainError
from .moving import FORWARDED, target_of
from .old_queue import OldQueue, text

#: Between two looks, so that a job which comes and is done at once is not missed by all of them.
_POLL_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Check:
    """One condition: whether it is met, and what was seen."""

    name: str
    ok: bool
    seen: str


class Verification:
    """Watches the queue for some seconds, and keeps what it found."""

    def __init__(self, queue: OldQueue, seconds: float) -> None:
        self._queue = queue
        self._seconds = seconds
        # First, so that nothing comes unseen between the two.
        trace = self._trace()
        self.checks = [*self._empty(), *self._watched(trace)]

    @property
    def passed(self) -> bool:
        """Whether all conditions are met."""
        return all(check.ok for check in self.checks)

    def tell(self, forgotten: int | None, *, as_json: bool) -> None:
        """Says it. `forgotten`: jobs that the ledger had; None: it is kept."""
        if as_json:
            checks = [asdict(check) for check in self.checks]
            document = {"queue": self._queue.full_name, "passed": self.passed, "checks": checks, "forgotten": forgotten}
            say_json(document)
            return
        rows = [("yes" if check.ok else "no", check.name, check.seen) for check in self.checks]
        show_table(f"{self._queue.full_name}: {self._queue.library}", ("", "condition", "seen"), rows)
        say()
        if not self.passed:
            say("The queue is not done with.")
        elif forgotten is None:
            say("The queue is done with.")
        else:
            say(f"The queue is done with; the notes of {counted(forgotten, 'forwarded job')} were removed.")

    def _empty(self) -> Iterator[Check]:
        for place, count in self._queue.left().items():
            yield Check(f"no job is in {place.removeprefix('in ')}", count == 0, str(count))
        stalled = int(self._queue.client.scard(self._queue.key("stalled")))
        yield Check("no job is noted as stalled", stalled == 0, str(stalled))
        schedulers = self._queue.schedulers()
        yield Check("no job scheduler is there", not schedulers, ", ".join(schedulers) or "0")
        lease = self._queue.client.exists(self._queue.key("xpert-mq:lease"))
        yield Check("no `forward` is running", not lease, "one" if lease else "0")

    def _watched(self, trace: tuple[Any, ...]) -> Iterator[Check]:
        workers = 0
        deadline = time.monotonic() + self._seconds
        while True:
            consumers = find_consumers(self._queue)
            workers = -1 if consumers.workers is None else max(workers, consumers.workers)
            if time.monotonic() >= deadline:
                break
            time.sleep(min(_POLL_SECONDS, max(0, deadline - time.monotonic())))
        seen = "the server refuses CLIENT LIST" if workers < 0 else counted(workers, "connection")
        yield Check("no worker is connected", workers == 0, seen)
        sign = consumers.last_sign_ms
        ago = (
            "no sign"
            if sign is None
            else f"one looked for stalled jobs {duration(sign)} ago: ask again in half a minute"
        )
        yield Check("no worker was alive a moment ago", sign is None, ago)
        fed = self._trace() != trace
        what = "something was added or changed" if fed else "nothing happened"
        yield Check(f"nothing was added within {duration(self._seconds * 1000)}", not fed, what)

    def _trace(self) -> tuple[Any, ...]:
        """Changes with every job that is added, also with one that is done at once."""
        client, key = self._queue.client, self._queue.key
        last = client.xrevrange(key("events"), count=1)
        return client.get(key("id")), last and last[0][0], self._queue.counts(), self._queue.schedulers()


def forget(queue: OldQueue, service: ManagedQueueService) -> int | None:
    """Removes the notes of what was forwarded, here and in the managed queue; None where nothing was.

    Raises:
        QueueUnavailableError: the managed queue's Redis can't be reached; the notes are kept.
        DrainError: the jobs went to another managed queue.
    """
    noted = queue.client.hget(queue.key(FORWARDED), "target")
    if noted is None:
        return None
    if text(noted) != target_of(service):
        raise DrainError(
            f"the queue is done with, but its jobs went to {text(noted)}, where the notes of them are, and this is "
            f"{target_of(service)}: run it with the settings that `forward` had"
        )
    ledger = AdoptionLedger(queue.full_name, service)
    count = ledger.count()
    ledger.forget()
    queue.client.delete(queue.key(FORWARDED))
    return count
