"""Enqueues and cancels by the plan, and keeps what it was told: what was answered has to be true in the end."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count, groupby

from bench.soak.evidence import Story
from bench.soak.plan import JobPlan
from xpert_mq import EnqueueResult, ManagedQueueService, QueueUnavailableError

#: Seconds between two calls while Redis is away.
_PAUSE = 0.05
_LARGEST_BATCH = 20


class Producer:
    """One thread enqueues, another cancels.

    Attributes:
        stories: of the jobs that are enqueued for certain.
        asked: jobs whose enqueue has begun.
        unavailable: calls that ended with QueueUnavailableError; `maybe_added`: those of them that may have added it.
    """

    def __init__(self, service: ManagedQueueService, plans: Sequence[JobPlan]) -> None:
        self.stories: list[Story] = []
        self.unavailable = self.maybe_added = 0
        self._service = service
        self._plans = plans
        self._cancels: list[tuple[float, int, Story]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._enqueued_all = False
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._watched, args=(one,)) for one in (self._enqueue, self._cancel)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def is_done(self) -> bool:
        """Whether all is enqueued and cancelled. Raises what ended one of the threads."""
        if self._error is not None:
            raise self._error
        return not any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        """Ends it before it is done."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _watched(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised by is_done
            self._error = error

    def _enqueue(self) -> None:
        start = time.monotonic()
        for plans in _batches(self._plans):
            if self._stop.wait(max(0, start + plans[-1].at - time.monotonic())):
                break
            for story in self._add(plans):
                self.stories.append(story)
                if story.plan.cancel_after is not None:
                    self._cancel_later(story, story.plan.cancel_after)
        with self._changed:
            self._enqueued_all = True
            self._changed.notify()

    def _add(self, plans: list[JobPlan]) -> list[Story]:
        """Calls until it is told that they are there."""
        asked, tried, maybe = time.monotonic(), False, False
        while not self._stop.is_set():
            try:
                results = self._call(plans)
            except QueueUnavailableError as error:
                tried, maybe = True, maybe or error.may_have_been_added
                self.unavailable += 1
                self.maybe_added += error.may_have_been_added
                self._stop.wait(_PAUSE)
            else:
                return [
                    Story(plan, asked, denied=not result.created and not (tried and maybe))
                    for plan, result in zip(plans, results, strict=True)
                ]
        return []

    def _call(self, plans: list[JobPlan]) -> list[EnqueueResult]:
        if len(plans) == 1:
            return [self._service.enqueue(plans[0].enqueued())]
        results = self._service.enqueue_many([plan.enqueued() for plan in plans])
        assert all(isinstance(result, EnqueueResult) for result in results), results
        return [result for result in results if isinstance(result, EnqueueResult)]

    def _cancel_later(self, story: Story, seconds: float) -> None:
        with self._changed:
            heapq.heappush(self._cancels, (time.monotonic() + seconds, next(self._numbers), story))
            self._changed.notify()

    def _cancel(self) -> None:
        while not self._stop.is_set():
            with self._changed:
                if not self._cancels:
                    if self._enqueued_all:
                        return
                    self._changed.wait()
                    continue
                wait = self._cancels[0][0] - time.monotonic()
                if wait > 0:
                    self._changed.wait(wait)
                    continue
                _, _, story = heapq.heappop(self._cancels)
            self._cancel_one(story)

    def _cancel_one(self, story: Story) -> None:
        tenant, job_id = story.plan.key
        begun, maybe = time.monotonic(), False
        while not self._stop.is_set():
            try:
                result = self._service.cancel(job_id, tenant_id=tenant)
            except QueueUnavailableError as error:
                maybe = maybe or error.may_have_been_added
                self.unavailable += 1
                self._stop.wait(_PAUSE)
                continue
            if result.success or (maybe and result.reason == "not_found"):
                story.cancelled = begun, time.monotonic()
            else:
                story.missed = result.reason == "not_found"
            return


def _batches(plans: Sequence[JobPlan]) -> Iterator[list[JobPlan]]:
    """One by one, but for neighbours that go together."""
    for together, group in groupby(plans, lambda plan: plan.batch):
        some = list(group)
        size = _LARGEST_BATCH if together else 1
        for start in range(0, len(some), size):
            yield some[start : start + size]
