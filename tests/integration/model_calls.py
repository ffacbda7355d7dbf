"""Calls of the store beside the model's account of what each has to do and to answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis.stateful import RuleBasedStateMachine, invariant

from tests.integration.model import TIMEOUT, Job, Kind, Model
from tests.integration.model_node import Held, ModelNode, Try
from tests.integration.model_state import Message, Platform
from xpert_mq.models import JobOptions
from xpert_mq.service import ManagedQueueService
from xpert_mq.settings import Settings
from xpert_mq.store.connection import Call
from xpert_mq.store.keys import handler_limit, pool_limit
from xpert_mq.store.store import Added, Claim, Outcome

T = TypeVar("T")
R = TypeVar("R")

PREFIX = "model"
SANDBOX = "sandbox-browser"
QUEUES = {pool: Settings(prefix=PREFIX).queue_name(pool) for pool in ("default", SANDBOX)}
BOTH = list(QUEUES.values())
KINDS = [
    Kind("job", "default"),
    Kind("job", "default", "s"),
    Kind("other", "default"),
    Kind("job", SANDBOX),
    Kind("other", SANDBOX),
]
HANDLERS = sorted({handler_limit(None, kind.logical) for kind in KINDS})


@dataclass(frozen=True)
class Sent:
    """A call that was answered, and may be sent again since its sender did not hear it."""

    again: Callable[[], None]
    until: int


def resent(call: Call[R]) -> Call[R]:
    if "resend" not in call.script.args:
        return call
    return dataclasses.replace(call, values={**call.values, "resend": 1})


class Calls(RuleBasedStateMachine):
    """What the steps are made of."""

    service: ManagedQueueService

    def __init__(self) -> None:
        super().__init__()
        self.store = self.service.store
        self.run = self.service.executor.run
        self.redis = self.service.get_redis()
        self.redis.flushdb()
        self.model = Model()
        self.platform = Platform(self.redis, self.store.keys, QUEUES)
        self.state = self.platform.read()
        #: A step has begun whose end was not checked.
        self.unchecked = False
        self.nodes: list[ModelNode] = []
        self.dead: list[ModelNode] = []
        self.names = 0
        #: Tries that have said how they ended, or have died.
        self.past: list[Try] = []
        self.sent: list[Sent] = []
        self.ending = ""
        self.last_limits: dict[str, int] = {}

    def choose(self, things: Sequence[T], place: int) -> T | None:
        return things[place % len(things)] if things else None

    def any_nodes(self) -> list[ModelNode]:
        return [*self.nodes, *self.dead]

    def running(self) -> list[tuple[ModelNode, Try]]:
        return [(node, attempt) for node in self.any_nodes() for attempt in node.tries]

    def holding(self) -> list[tuple[ModelNode, Held]]:
        return [(node, held) for node in self.any_nodes() for held in node.held]

    def send(self, call: Call[R], *, again: bool = False) -> R:
        self.unchecked = True
        return self.run(resent(call) if again else call)

    def remember(self, redo: Callable[..., None], call: Call[R], answer: R | None, minutes: int, *rest: Any) -> None:
        """An answer of None means that nothing was done: then the call may do it later."""

        def again() -> None:
            if answer is None:
                redo(call, *rest, again=True)
            else:
                assert self._same(self.send(call, again=True), answer)

        self.sent = [*self.sent[-7:], Sent(again, self.model.now + minutes)]

    def _same(self, answer: Any, before: Any) -> bool:
        if isinstance(before, Added):
            # The state may be another by now.
            return bool(answer.outcome == before.outcome)
        return bool(answer == before)

    def add_call(
        self, call: Call[Added], token: str, kind: Kind, opts: JobOptions, payload: str, *, again: bool = False
    ) -> None:
        expected = self.model.add(token, kind, opts, payload)
        added = self.send(call, again=again)
        assert added.outcome == expected
        assert added.state == self.model.jobs[token].state
        self.remember(self.add_call, call, added if expected == "created" else None, 0, token, kind, opts, payload)

    def cancel_call(self, call: Call[Outcome], token: str, *, again: bool = False) -> None:
        expected = self.model.cancel(token) if self._is_of_this_life(call, token) else (False, None)
        outcome = self.send(call, again=again)
        assert (outcome.done, outcome.state) == expected
        self.remember(self.cancel_call, call, outcome if outcome.done else None, 0, token)

    def _is_of_this_life(self, call: Call[Outcome], token: str) -> bool:
        """Whether the cancel means any hand-out, or one of the job's present life."""
        record = self.platform.read().records.get(token)
        generation = call.values["generation"]
        if record is None or generation == "":
            return True
        return int(record.get("born", record["gen"])) <= int(str(generation)) <= int(record["gen"])

    def rerun_call(self, call: Call[Outcome], token: str, *, again: bool = False) -> None:
        expected = self.model.rerun(token)
        outcome = self.send(call, again=again)
        assert (outcome.done, outcome.state) == expected
        self.remember(self.rerun_call, call, outcome if outcome.done else None, 0, token)

    def end_call(self, call: Call[bool], claim: Claim, change: Callable[[Job], object], *, again: bool = False) -> None:
        """A call by which a try ends; `change` is what it does to the model."""
        job = self.model.owned_by(claim.token, claim.nonce)
        if job:
            change(job)
        assert self.send(call, again=again) == bool(job)
        self.remember(self.end_call, call, True if job else None, TIMEOUT - 1, claim, change)

    def pass_on_call(self, call: Call[str], claim: Claim, *, again: bool = False) -> str:
        job = self.model.owned_by(claim.token, claim.nonce)
        expected = "lost"
        if job:
            expected = "done" if self.model.has_other(claim.node, claim.queue, job.kind) else "nobody"
            if expected == "done":
                job.state, job.nonce = "waiting", None
        assert self.send(call, again=again) == expected
        return expected

    def stall_call(self, token: str, nonce: str, stall: Callable[[], Call[str]], *, counts: bool) -> None:
        job = self.model.owned_by(token, nonce)
        expected = self.model.take_back(job, counts=counts) if job else "other"
        assert self.send(stall()) == expected

    def claim_call(
        self, call: Call[Claim | None], node: ModelNode, held: Held, *, heard: bool = True, again: bool = False
    ) -> None:
        token = held.message.token
        nonce = str(call.values["nonce"])
        if self.model.owned_by(token, nonce):
            claim = self.send(call)
            assert claim
        else:
            expected = self._expected_claim(node, held.message)
            claim = self.send(call)
            assert (claim is not None) == expected
            if claim:
                self.model.claim(self.model.jobs[token], nonce, node.node)
        if not heard:
            node.unheard.append((call, held))
        elif claim:
            assert claim.attempts_made == self.model.jobs[token].made
            assert claim.payload.decode() == self.model.jobs[token].payload
            node.tries.append(Try(claim, held))

    def _expected_claim(self, node: ModelNode, message: Message) -> bool:
        """Whether the node gets the job: unless it is over a limit there, or others have come to that before."""
        state = self.state = self.platform.read()
        if node.node not in self.model.nodes or not state.is_wanted(message):
            return False
        kind, limits = self.model.jobs[message.token].kind, state.limits(node.node)
        handler = handler_limit(kind.scope, kind.logical)
        names = [handler if handler in limits else handler_limit(None, kind.logical), pool_limit(message.queue)]
        for limit in names:
            slots = state.slots(node.node, limit)
            full = len(slots) >= limits.get(limit, 0) or state.parked(message.queue, limit)
            if limits.get(limit, 0) > 0 and message.token not in slots and full:
                return False
        return True

    @invariant()
    def agrees(self) -> None:
        if self.unchecked:
            self.state = self.platform.read()
            self.state.check(self.model)
            self.unchecked = False
