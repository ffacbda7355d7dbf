"""What nodes do, step by step, beside the model's account of it."""

from __future__ import annotations

import functools

from tests.integration.model import MOST_STALLS, TIMEOUT, Said
from tests.integration.model_calls import BOTH, QUEUES, Calls
from tests.integration.model_node import Held, ModelNode, Try
from tests.integration.model_state import State
from tests.integration.pretend import failure
from xpert_mq.store.keys import pool_keys


class Working(Calls):
    """The steps of nodes."""

    def start_node(self, said: Said) -> ModelNode:
        self.names += 1
        node = ModelNode(self.service, f"n{self.names}", said)
        self.nodes.append(node)
        self.beat_as(node, fresh=True)
        return node

    def beat_as(self, node: ModelNode, *, fresh: bool = False) -> None:
        self.unchecked = True
        alive = self.model.beat(node.node, node.said, fresh=fresh)
        assert node.tell(fresh=fresh) == alive
        if not alive:
            self.bury(node)

    def bury(self, node: ModelNode) -> None:
        """It is gone, and takes part as its own ghost."""
        if node in self.nodes:
            self.nodes.remove(node)
            self.dead = [*self.dead[-1:], node]

    def leave_as(self, node: ModelNode) -> None:
        self.unchecked = True
        self.model.leave(node.node)
        assert node.leave()
        self.bury(node)

    def pass_without(self, minutes: int, absent: list[str]) -> None:
        self.unchecked = True
        self.model.pass_time(minutes, absent)
        self.platform.pass_time(minutes, absent)

    def recover_as(self, node: ModelNode, limit: int = 250) -> bool:
        """Whether there is more to do."""
        self.unchecked = True
        dead = self.model.declare_dead(node.node)
        found = node.recover(60_000 * TIMEOUT, MOST_STALLS, limit)
        assert sorted(found.dead_nodes) == sorted(dead), (found.dead_nodes, dead)
        what = [*((token, "rerun") for token in found.rerun), *((token, "failed") for token in found.failed)]
        for token, became in what:
            job = self.model.jobs[token]
            assert job.state == "active"
            assert self.model.take_back(job, counts=self.model.gone[job.node]) == became
        assert len(what) <= limit
        held = {job.node for job in self.model.in_state("active")}
        assert found.more or held.isdisjoint(self.model.gone)
        # They are done with one after the other.
        still = self.platform.read().hashes[self.store.keys.gone]
        assert found.more or not still
        self.model.gone = {name: died for name, died in self.model.gone.items() if name in still}
        return found.more

    def fetch_as(self, node: ModelNode, count: int, *, heard: bool = True) -> list[Held]:
        self.unchecked = True
        fetched = node.fetch_some(count, heard=heard)
        assert (fetched is None) == (node.node not in self.model.nodes)
        if fetched is not None:
            assert len(fetched) <= count
            return fetched
        if node in self.nodes:
            # It fetches anew, under a new id.
            self.bury(node)
            return self.fetch_as(self.start_node(node.said), 0)
        self._wake_all()
        return []

    def _wake_all(self) -> None:
        """A ghost has taken the wake-up of others, which no node does."""
        for queue in BOTH:
            if self.redis.exists(queue):
                self.redis.zadd(pool_keys(queue).wake, {"0": 0})

    def claim_as(self, node: ModelNode, held: Held, *, acks: bool, heard: bool = True) -> None:
        node.held.remove(held)
        message = held.message
        call = self.store.claim(message.token, message.generation, message.queue, node.node)
        self.claim_call(call, node, held, heard=heard)
        nothing_runs = heard and not any(attempt.held is held for attempt in node.tries)
        if nothing_runs and acks and node.node in self.model.nodes:
            node.acknowledge_held(held)

    def disown_as(self, node: ModelNode) -> None:
        """Gives back what the node runs by the records' account alone."""
        node.unheard.clear()
        own = {(attempt.claim.token, attempt.claim.nonce) for attempt in node.tries}
        for token, nonce in self.run(self.store.running(node.node)).items():
            if (token, nonce) not in own:
                self.stall_call(
                    token, nonce, functools.partial(self.store.stall, token, node.node, nonce=nonce), counts=False
                )

    def finish_as(self, node: ModelNode, attempt: Try, how: str = "completed") -> None:
        claim = attempt.claim
        if how == "completed":
            said, call = f'"{claim.nonce}"', self.store.complete(claim, f'"{claim.nonce}"')
        else:
            said, call = claim.nonce, self.store.fail(claim, failure(claim.nonce))
        self.end_call(call, claim, lambda job: self.model.finish(job, how, said))

    def try_again_as(self, attempt: Try, delay: int, *, fails: bool) -> None:
        claim = attempt.claim
        reason = claim.nonce if fails else None
        call = self.store.try_again(claim, 60_000 * delay, failure(reason) if reason else None)
        self.end_call(call, claim, lambda job: self.model.try_again(job, delay, reason))

    def pass_on_as(self, node: ModelNode, attempt: Try, *, acks: bool = True) -> bool:
        """Whether the try is over."""
        call = self.store.pass_on(attempt.claim, 60_000 * TIMEOUT)
        if self.pass_on_call(call, attempt.claim) == "nobody":
            return False
        self.over(node, attempt, acks=acks)
        return True

    def over(self, node: ModelNode, attempt: Try, *, acks: bool) -> None:
        node.tries.remove(attempt)
        self.past = [*self.past[-7:], attempt]
        if acks and node.node in self.model.nodes:
            node.acknowledge_held(attempt.held)

    def sweep_queue(self, queue: str, limit: int = 250) -> None:
        self.unchecked = True
        state = self.platform.read()
        copies = state.copies()
        swept = self.run(self.store.sweep(queue, limit))
        if not any(copies[token] and self._gen(state, token) == gen for token, gen in self.platform.doubled):
            assert not [token for token in swept if copies[token]], "a job got a second message"
        assert all(self.model.jobs[token].state == "waiting" for token in swept)

    def _gen(self, state: State, token: str) -> int:
        return int(state.records.get(token, {}).get("gen", 0))

    def promote_pool(self, pool: str, limit: int = 250) -> None:
        due = self.model.due(pool)[:limit]
        count, _ = self.send(self.store.promote(QUEUES[pool], limit))
        assert count == len(due)
        for job in due:
            job.state = "waiting"

    def expire_some(self, limit: int = 250) -> None:
        over = len(self.model.over())
        count, _ = self.send(self.store.expire(limit))
        assert count == min(over, limit)
        self.model.settle(self.platform.read().records)
