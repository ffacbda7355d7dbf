"""The store on a real server beside a model of it: random lives of jobs and nodes; every step is checked, and every job
ends.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

from tests.integration.model import MOST_STALLS, TIMEOUT, Kind, Said
from tests.integration.model_calls import BOTH, HANDLERS, KINDS, PREFIX, QUEUES
from tests.integration.model_drain import Draining
from tests.integration.model_state import named_in
from tests.integration.pretend import failure
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.inspector import Inspector
from xpert_mq.models import Envelope, JobRequest
from xpert_mq.service import ManagedQueueService
from xpert_mq.settings import Settings
from xpert_mq.store.connection import Call
from xpert_mq.store.keys import handler_limit, job_token, pool_keys, pool_limit, split_token
from xpert_mq.store.listing import JobFilter

LIMITS = [*HANDLERS, handler_limit("s", KINDS[1].logical), *map(pool_limit, BOTH)]
KEEPS = [None, True, False, 1, {"count": 2}, {"age": 120}, {"age": 240, "count": 1}]
IDS = [(tenant, f"{number}") for tenant in (None, "t") for number in range(4)]

KIND = st.sampled_from([KINDS[0], KINDS[0], *KINDS])
#: Chooses among what is there at the time.
PLACE = st.integers(0, 31)
MINUTES = st.sampled_from([0, 0, 1, 2, 5])
#: More often yes.
MOSTLY = st.sampled_from([True, True, True, False])


def _said(
    queues: list[str], handlers: list[str], limits: dict[str, int], scope_has_no_limit: bool, consuming: bool
) -> Said:
    """A node has limits of handlers that it has."""
    missing = set(HANDLERS) - set(handlers)
    limits = {limit: number for limit, number in limits.items() if limit not in missing}
    if scope_has_no_limit and HANDLERS[0] in limits:
        limits[LIMITS[2]] = 0
    return Said(queues, handlers, limits, consuming)


SAID = st.builds(
    _said,
    st.sampled_from([BOTH, BOTH, BOTH, BOTH[:1], BOTH[1:]]),
    st.sampled_from([HANDLERS, HANDLERS, HANDLERS, HANDLERS[:1]]),
    st.dictionaries(st.sampled_from(LIMITS), st.integers(1, 2), max_size=3),
    st.sampled_from([False, False, True]),
    st.sampled_from([True] * 7 + [False]),
)


class Machine(Draining):
    """A life: steps in any order."""

    @initialize(
        ending=st.sampled_from(["die", "leave", "work on", "work on"]),
        last_limits=st.sampled_from([{}, dict.fromkeys(LIMITS, 1)]),
        said=st.lists(SAID, min_size=2, max_size=2),
        kind=KIND,
    )
    def begin(self, ending: str, last_limits: dict[str, int], said: list[Said], kind: Kind) -> None:
        self.ending, self.last_limits = ending, last_limits
        for one in said:
            self.start_node(one)
        self.add_several(kind, 6)

    @rule(
        whose=st.sampled_from(IDS),
        kind=KIND,
        delay=MINUTES,
        attempts=st.integers(1, 3),
        on_complete=st.sampled_from(KEEPS),
        on_fail=st.sampled_from(KEEPS),
    )
    def add(
        self, whose: tuple[str | None, str], kind: Kind, delay: int, attempts: int, on_complete: Any, on_fail: Any
    ) -> None:
        self.add_one(whose, kind, delay, attempts, on_complete, on_fail)

    @rule(kind=KIND, count=st.integers(4, 8))
    def add_several(self, kind: Kind, count: int) -> None:
        for whose in IDS[:count]:
            self.add_one(whose, kind, 0, 2, True, None)

    def add_one(
        self, whose: tuple[str | None, str], kind: Kind, delay: int, attempts: int, on_complete: Any, on_fail: Any
    ) -> None:
        tenant_id, job_id = whose
        envelope = Envelope(
            plugin_name="plugin",
            queue_name="queue",
            job_name=kind.job_name,
            tenant_id=tenant_id,
            scope_key=kind.scope,
            execution_pool=kind.pool,
        )
        names = {"plugin_name": "plugin", "queue_name": "queue", "job_name": kind.job_name}
        options = {"remove_on_complete": on_complete, "remove_on_fail": on_fail, "attempts": attempts}
        opts = JobRequest.parse({**names, **options, "payload": 0, "delay_ms": 60_000 * delay}).options()
        call = self.store.add(job_id, envelope, opts, "0", QUEUES[kind.pool])
        self.add_call(call, job_token(tenant_id, job_id), kind, opts, "0")

    @rule(place=PLACE)
    def cancel(self, place: int) -> None:
        """One of the jobs, or one that is not there."""
        token = self.choose([*sorted(self.state.records), ":none"], place) or ""
        self.cancel_call(self.store.cancel(*split_token(token)), token)

    @precondition(lambda self: self.state.records)
    @rule(place=PLACE, back=st.integers(0, 3))
    def revoke(self, place: int, back: int) -> None:
        """A cancel of one hand-out, which may be of an earlier life."""
        token = self.choose(sorted(self.state.records), place) or ""
        generation = max(1, int(self.state.records[token]["gen"]) - back)
        self.cancel_call(self.store.cancel(*split_token(token), generation), token)

    @precondition(lambda self: self.model.in_state("failed"))
    @rule(place=PLACE)
    def rerun(self, place: int) -> None:
        """One of the failed, or one that has not."""
        tokens = [job.token for job in self.model.in_state("failed")]
        token = self.choose([*tokens, *tokens, *sorted(self.state.records), ":none"], place) or ""
        self.rerun_call(self.store.rerun(*split_token(token)), token)

    @precondition(lambda self: self.sent)
    @rule(place=PLACE)
    def send_again(self, place: int) -> None:
        """Since the reply got lost."""
        sent = self.choose(self.sent, place)
        if sent:
            self.sent.remove(sent)
            if sent.until >= self.model.now:
                sent.again()

    @rule()
    def inspect(self) -> None:
        lines = Inspector(self.service).queues(JobFilter())
        counts = Counter[str]()
        for line in lines:
            counts.update(line.states)
        assert counts == Counter(job.state for job in self.model.jobs.values())
        listed = [
            (job_token(job.envelope.tenant_id, job.id), job.state) for job in Inspector(self.service).each(JobFilter())
        ]
        kept = [job for job in self.model.jobs.values() if not self.model.is_over(job)]
        assert sorted(listed) == sorted((job.token, job.state) for job in kept)

    @precondition(lambda self: len(self.nodes) < 3)
    @rule(said=SAID)
    def start(self, said: Said) -> None:
        self.start_node(said)

    @precondition(lambda self: self.nodes)
    @rule(place=PLACE)
    def beat(self, place: int) -> None:
        node = self.choose(self.any_nodes(), place)
        if node:
            self.beat_as(node)

    @precondition(lambda self: self.nodes)
    @rule(place=PLACE, said=SAID)
    def change(self, place: int, said: Said) -> None:
        """Its limits, or what it serves."""
        node = self.choose(self.nodes, place)
        if node:
            node.said = said
            self.beat_as(node)

    @precondition(lambda self: self.nodes)
    @rule(place=PLACE)
    def leave(self, place: int) -> None:
        node = self.choose(self.nodes, place)
        if node:
            self.leave_as(node)

    @rule(minutes=st.integers(1, 4), absent=st.integers(0, 7))
    def pass_time(self, minutes: int, absent: int) -> None:
        """Nodes beat meanwhile, but for the absent, by bits."""
        self.pass_without(minutes, [node.node for bit, node in enumerate(self.nodes) if absent & 1 << bit])

    @precondition(lambda self: self.nodes and (self.model.gone or self.model.now > 2))
    @rule(place=PLACE, limit=st.sampled_from([1, 250]))
    def recover(self, place: int, limit: int) -> None:
        node = self.choose(self.nodes, place)
        if node:
            self.recover_as(node, limit)

    @precondition(lambda self: len(self.nodes) > 1)
    @rule(place=PLACE, limit=st.sampled_from([1, 250, 250]))
    def die(self, place: int, limit: int) -> None:
        """A node misses its beats, which another one sees."""
        doomed = self.choose(self.nodes, place)
        other = self.choose(self.nodes, place + 1)
        if doomed and other:
            self.pass_without(TIMEOUT, [doomed.node])
            self.beat_as(other)
            self.recover_as(other, limit)

    @precondition(lambda self: self.nodes)
    @rule(place=PLACE, count=st.integers(0, 3), heard=MOSTLY)
    def fetch(self, place: int, count: int, heard: bool) -> None:
        node = self.choose(self.any_nodes(), place)
        if node:
            self.fetch_as(node, count, heard=heard)

    @precondition(lambda self: self.nodes)
    @rule(place=PLACE, count=st.integers(1, 8))
    def work(self, place: int, count: int) -> None:
        """Fetches and claims at once, as a node with free slots does."""
        node = self.choose(self.nodes, place)
        for held in (node and self.fetch_as(node, count)) or []:
            assert node
            self.claim_as(node, held, acks=True)

    @precondition(lambda self: self.nodes and self.model.in_state("waiting"))
    @rule(count=st.integers(1, 4))
    def all_work(self, count: int) -> None:
        for node in list(self.nodes):
            self.beat_as(node)
            for held in self.fetch_as(node, count):
                self.claim_as(node, held, acks=True)

    @precondition(lambda self: self.nodes)
    @rule(place=PLACE)
    def connect_again(self, place: int) -> None:
        node = self.choose(self.nodes, place)
        if node:
            node.connect_again()

    @precondition(lambda self: self.holding())
    @rule(place=PLACE, acks=MOSTLY, heard=MOSTLY)
    def claim(self, place: int, acks: bool, heard: bool) -> None:
        chosen = self.choose(self.holding(), place)
        if chosen:
            self.claim_as(*chosen, acks=acks, heard=heard)

    @precondition(lambda self: any(node.unheard for node in self.any_nodes()))
    @rule(place=PLACE)
    def claim_again(self, place: int) -> None:
        """Since the reply got lost."""
        node = self.choose([node for node in self.any_nodes() if node.unheard], place)
        if node:
            call, held = node.unheard.pop(0)
            self.claim_call(call, node, held)

    @precondition(lambda self: self.nodes)
    @rule(place=PLACE)
    def disown(self, place: int) -> None:
        node = self.choose(self.nodes, place)
        if node:
            self.disown_as(node)

    @precondition(lambda self: any(node.held for node in self.nodes))
    @rule(place=PLACE)
    def give_back(self, place: int) -> None:
        held = self.choose([(node, held) for node in self.nodes for held in node.held], place)
        if held and held[0].drop(held[1]):
            self.unchecked = True
            held[0].give_back_held(held[1])

    @precondition(lambda self: any(self.redis.exists(queue) for queue in BOTH))
    @rule(queue=st.sampled_from(BOTH), place=PLACE)
    def lose(self, queue: str, place: int) -> None:
        """A message, from the queue."""
        raw = self.choose(self.state.lists[queue], place)
        if raw:
            self.unchecked = True
            self.redis.lrem(queue, 1, raw)
            self.platform.lost.add(named_in(raw)[:2])

    @precondition(lambda self: self.holding() or any(self.redis.exists(queue) for queue in BOTH))
    @rule(place=PLACE, first=st.booleans(), of_held=st.booleans())
    def double(self, place: int, first: bool, of_held: bool) -> None:
        """A message, into its queue."""
        held = [held.raw for _, held in self.holding()]
        raws = held if of_held else [raw for queue in BOTH for raw in self.state.lists[queue]]
        raw = self.choose(raws, place)
        if raw:
            self.unchecked = True
            message = named_in(raw)
            (self.redis.rpush if first else self.redis.lpush)(message.queue, raw)
            self.redis.zadd(pool_keys(message.queue).wake, {"0": 0})
            self.platform.doubled.add(message[:2])

    @precondition(lambda self: self.model.in_state("waiting"))
    @rule(queue=st.sampled_from(BOTH), limit=st.sampled_from([1, 250]))
    def sweep(self, queue: str, limit: int) -> None:
        self.sweep_queue(queue, limit)

    @precondition(lambda self: self.model.in_state("delayed"))
    @rule(pool=st.sampled_from(list(QUEUES)), limit=st.sampled_from([1, 250]))
    def promote(self, pool: str, limit: int) -> None:
        self.promote_pool(pool, limit)

    @precondition(lambda self: any(job.expires for job in self.model.jobs.values()))
    @rule(limit=st.sampled_from([1, 250]))
    def expire(self, limit: int) -> None:
        self.expire_some(limit)

    @precondition(lambda self: self.running())
    @rule(place=PLACE, how=st.sampled_from(["completed", "completed", "failed"]), acks=MOSTLY)
    def finish(self, place: int, how: str, acks: bool) -> None:
        chosen = self.choose(self.running(), place)
        if chosen:
            self.finish_as(*chosen, how=how)
            self.over(*chosen, acks=acks)

    @precondition(lambda self: self.running())
    @rule(how=st.sampled_from(["completed", "failed", "again"]), count=st.integers(1, 4))
    def finish_some(self, how: str, count: int) -> None:
        for node, attempt in self.running()[:count]:
            if how == "again":
                self.try_again_as(attempt, 0, fails=True)
            else:
                self.finish_as(node, attempt, how)
            self.over(node, attempt, acks=True)

    @precondition(lambda self: self.running())
    @rule(place=PLACE, delay=MINUTES, fails=st.booleans(), acks=MOSTLY)
    def try_again(self, place: int, delay: int, fails: bool, acks: bool) -> None:
        chosen = self.choose(self.running(), place)
        if chosen:
            self.try_again_as(chosen[1], delay, fails=fails)
            self.over(*chosen, acks=acks)

    @precondition(lambda self: self.running())
    @rule(place=PLACE, number=st.integers(1, 9))
    def checkpoint(self, place: int, number: int) -> None:
        chosen = self.choose(self.running(), place)
        if chosen:
            claim = chosen[1].claim
            job = self.model.owned_by(claim.token, claim.nonce)
            if job:
                job.payload = f"{number}"
            assert self.send(self.store.checkpoint(claim, f"{number}")) == bool(job)

    @precondition(lambda self: self.running())
    @rule(place=PLACE, acks=MOSTLY)
    def pass_on(self, place: int, acks: bool) -> None:
        chosen = self.choose(self.running(), place)
        if chosen:
            self.pass_on_as(*chosen, acks=acks)

    @precondition(lambda self: self.running())
    @rule(place=PLACE, acks=MOSTLY)
    def child_dies(self, place: int, acks: bool) -> None:
        chosen = self.choose(self.running(), place)
        if chosen:
            node, attempt = chosen
            claim, generation = attempt.claim, attempt.held.message.generation
            stall = functools.partial(
                self.store.stall, claim.token, claim.node, generation=generation, most_stalls=MOST_STALLS
            )
            self.stall_call(claim.token, claim.nonce, stall, counts=True)
            self.over(node, attempt, acks=acks)

    @precondition(lambda self: self.past)
    @rule(place=PLACE, how=st.sampled_from(["complete", "fail", "retry", "checkpoint", "pass on", "stall"]))
    def too_late(self, place: int, how: str) -> None:
        """A try that is over does not end its job again."""
        attempt = self.choose(self.past, place)
        if attempt:
            claim, store = attempt.claim, self.store
            calls: dict[str, Call[Any]] = {
                "complete": store.complete(claim),
                "fail": store.fail(claim, failure("late")),
                "retry": store.try_again(claim, 0, failure("late")),
                "checkpoint": store.checkpoint(claim, "-1"),
                "pass on": store.pass_on(claim, 60_000 * TIMEOUT),
                "stall": store.stall(claim.token, claim.node, generation=attempt.held.message.generation),
            }
            job = self.model.jobs.get(claim.token)
            # The same end once more is no news.
            known = (
                job and job.nonce == claim.nonce and (how, job.state) in (("complete", "completed"), ("fail", "failed"))
            )
            assert self.send(calls[how]) in ((True,) if known else (False, "lost", "other"))


@pytest.fixture(scope="module")
def service() -> Iterator[ManagedQueueService]:
    """On a server of its own, which is emptied again and again."""
    with EmbeddedServer(binary="valkey") as server:
        # A try's outcome may be sent again as long as its node may miss beats.
        options = Settings(
            redis_url=server.url, prefix=PREFIX, node_timeout=60 * TIMEOUT, heartbeat_interval=60, enqueue_timeout=20
        )
        service = ManagedQueueService(options)
        yield service
        service.close()


def _run(service: ManagedQueueService, examples: int, steps: int, *, new: bool) -> None:
    Machine.service = service
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=not new,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(400)
def test_lives_of_jobs_and_nodes(service: ManagedQueueService) -> None:
    """The same ones each time."""
    _run(service, examples=100, steps=50, new=False)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_many_lives_of_jobs_and_nodes(service: ManagedQueueService) -> None:
    """New ones each time."""
    _run(service, examples=2500, steps=60, new=True)
