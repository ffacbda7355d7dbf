"""The end of every life: all jobs are run to their ends, and nothing is left."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from tests.integration.model import TIMEOUT, Said
from tests.integration.model_calls import BOTH, HANDLERS, QUEUES
from tests.integration.model_node import ModelNode, Try
from tests.integration.model_state import named_in
from tests.integration.model_work import Working
from xpert_mq.store.keys import pool_keys, split_token


class Draining(Working):
    """What follows the last step."""

    def teardown(self) -> None:
        if not self.unchecked and self.ending:
            self._drain()
            self._remove_all()

    def _drain(self) -> None:
        """Every job runs to its end; by the nodes that are left, as far as they serve it."""
        if self.ending == "leave":
            for node in list(self.nodes):
                self.leave_as(node)
        # It takes no jobs yet, but beats and recovers.
        last = self.start_node(Said(BOTH, HANDLERS, {}, consuming=False))
        if self.ending == "work on":
            self.pass_without(TIMEOUT, [])
            for node in self._others(last):
                node.said = dataclasses.replace(node.said, consuming=True)
                node.connect_again()
                self.disown_as(node)
            self._work_off(lambda: self.nodes, lambda: self._others(last))
            served = {queue for node in self._others(last) for queue in node.said.queues}
            left = [job for job in self.model.unfinished() if QUEUES[job.kind.pool] in served]
            assert not left, f"not ended by the nodes that serve them: {left}"
        else:
            self.pass_without(TIMEOUT, [node.node for node in self._others(last)])
        last.said = Said(BOTH, HANDLERS, self.last_limits)
        alive = self.nodes if self.ending == "work on" else [last]
        self._work_off(lambda: alive, lambda: [last])
        assert not self.model.unfinished()

    def _others(self, last: ModelNode) -> list[ModelNode]:
        return [node for node in self.nodes if node is not last]

    def _work_off(self, alive: Callable[[], list[ModelNode]], workers: Callable[[], list[ModelNode]]) -> None:
        """Until nothing happens any more, though hours pass."""
        idle = 0
        while idle < 3 and self.model.unfinished():
            worked = False
            self.pass_without(60, [node.node for node in self.nodes if node not in alive()])
            for node in list(alive()):
                self._maintain(node)
            for node in workers():
                worked = self._work_as(node) or worked
            self.agrees()
            idle = 0 if worked else idle + 1

    def _maintain(self, node: ModelNode) -> None:
        self.beat_as(node)
        while self.recover_as(node):
            pass
        for pool, queue in QUEUES.items():
            self.sweep_queue(queue)
            self.promote_pool(pool)
        self.expire_some()

    def _work_as(self, node: ModelNode) -> bool:
        """Runs what it gets, until it gets nothing more; whether it got something."""
        rounds = 0
        while node.tries or self.fetch_as(node, 8):
            rounds += 1
            assert rounds < 200, "jobs go round and round"
            for held in list(node.held):
                self.claim_as(node, held, acks=True)
            for attempt in list(node.tries):
                self._end_try(node, attempt)
        return rounds > 0

    def _end_try(self, node: ModelNode, attempt: Try) -> None:
        job = self.model.jobs.get(attempt.claim.token)
        if job and not node.said.has_handler(job.kind) and self.pass_on_as(node, attempt):
            return
        self.finish_as(node, attempt)
        self.over(node, attempt, acks=True)

    def _remove_all(self) -> None:
        """No key outlives what it belongs to."""
        for node in list(self.nodes):
            self.leave_as(node)
        while self.recover_as(self.dead[-1]):
            pass
        for queue in BOTH:
            state = self.platform.read()
            assert not [raw for raw in state.lists[queue] if state.is_wanted(named_in(raw))]
            self.redis.delete(queue, pool_keys(queue).wake)
        self.pass_without(7 * 24 * 60 + 1, [])
        self.expire_some()
        self.agrees()
        for job in self.model.in_state("failed"):
            tenant_id, job_id = split_token(job.token)
            self.rerun_call(self.store.rerun(tenant_id, job_id), job.token)
            self.cancel_call(self.store.cancel(tenant_id, job_id), job.token)
        self.agrees()
        assert all(job.opts.remove_on_complete in (False, 1, {"count": 2}) for job in self.model.jobs.values())
