"""A release meets what an older one has left, and what a newer one has added: nothing is lost, and no try is burnt."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.integration.conftest import ServiceFactory
from tests.integration.invariants import check_indexes, node_keys
from tests.integration.pretend import JOB, PretendWorker, steady_node
from tests.integration.recorded.record import LATER_MS, counted
from tests.integration.recorded.recording import RecordedJob, Recording
from xpert_mq.inspector import Inspector
from xpert_mq.service import ManagedQueueService
from xpert_mq.store import store
from xpert_mq.store.keys import handler_limit, logical_name, pool_keys, pool_limit
from xpert_mq.store.listing import JobFilter
from xpert_mq.store.store import Claim

#: When all delays of the recording are over, and when all ages are.
MINUTES_LATER = LATER_MS + 60_000
WEEKS_LATER = 30 * 24 * 3600 * 1000

NEWER = store.FORMAT + 1
REASON = "job stalled more than allowable limit"


@pytest.fixture
def recorded(service: ManagedQueueService) -> Recording:
    """What an older release has left, this moment."""
    return Recording(service)


class Node(PretendWorker):
    """A node that serves all pools and handlers, under the limits given."""

    def __init__(self, service: ManagedQueueService, limits: Mapping[str, int] | None = None) -> None:
        super().__init__(service, "present")
        self.queues = [service.settings.queue_name(pool) for pool in service.settings.pools]
        names = [handler_limit(None, logical_name("acme", "post", name)) for name in ("send", "alone")]
        self._said: dict[str, Any] = {"queues": self.queues, "handlers": names, "limits": limits or {}}

    def join(self) -> None:
        if not self._joined:
            self._joined = self.tell()

    def tell(self) -> bool:
        """Beats."""
        return self.beat(fresh=not self._joined, **self._said)

    def promote_all(self) -> None:
        """Hands out what is due in all pools."""
        for queue in self.queues:
            self.run(self.store.promote(queue, 250))

    def run_all(self) -> list[Claim]:
        """Runs whatever it gets to its end, until there is no more. Gives the tries."""
        tries: list[Claim] = []
        while messages := self.fetch(5, queues=self.queues):
            assert not isinstance(messages, bytes)
            for message in messages:
                if claim := self.claim(self.task_id_of(message), self.queue_of(message)):
                    assert self.complete(claim)
                    tries.append(claim)
                self.acknowledge(message)
            self.tell()
        return tries


def test_jobs_read_as_they_did(recorded: Recording) -> None:
    assert {"waiting", "delayed", "active", "completed", "failed", None} == {job.state for job in recorded.jobs}
    for job in recorded.jobs:
        assert recorded.now(job) == job.snapshot


def test_lists_and_counts_say_what_they_did(service: ManagedQueueService, recorded: Recording) -> None:
    listed = {(job.envelope.tenant_id, job.id): job.state for job in Inspector(service).each(JobFilter())}

    assert listed == {(job.tenant_id, job.id): job.state for job in recorded.jobs if job.state}
    assert counted(service) == recorded.counts


def test_cancel_and_enqueue_again(service: ManagedQueueService, worker: PretendWorker, recorded: Recording) -> None:
    for job in recorded.jobs:
        result = service.cancel(job.id, tenant_id=job.tenant_id)

        assert result.success == (job.state in ("waiting", "delayed"))
        assert (result.state, result.reason) == (job.state, None if result.success else job.state or "not_found")
        assert (recorded.now(job) is None) == (result.success or job.state is None)
    check_indexes(worker)
    for job in recorded.jobs:
        added = worker.enqueue(
            job.id, tenant_id=job.tenant_id, plugin_name="acme", queue_name="post", job_name=name_of(job)
        )
        assert added.created == (job.state in ("waiting", "delayed", None))
    check_indexes(worker)


def name_of(job: RecordedJob) -> str:
    return "alone" if job.id.startswith("alone") else "send"


def test_failed_jobs_run_again(service: ManagedQueueService, worker: PretendWorker, recorded: Recording) -> None:
    ended = [job for job in recorded.jobs if not job.is_unfinished]
    for job in recorded.unfinished:
        service.cancel(job.id, tenant_id=job.tenant_id)
    for job in ended:
        result = service.retry(job.id, tenant_id=job.tenant_id)

        now = recorded.now(job)
        if job.snapshot is None or job.state != "failed":
            assert (result.success, now) == (False, job.snapshot)
        else:
            assert result.success
            assert now is not None
            assert (now["state"], now["attempts_made"]) == ("waiting", 0)
            assert now["stacktrace"] == job.snapshot["stacktrace"]
            assert len(now["stacktrace"]) == job.snapshot["attempts_made"]
    check_indexes(worker)


@pytest.mark.parametrize("state", ["waiting", "delayed"])
def test_call_that_is_sent_again_to_the_newer_release(
    service: ManagedQueueService, recorded: Recording, state: str
) -> None:
    """Its first sending was answered by the older one, and the answer got lost."""
    answers = service.store.keys.answers
    found = [key for key in recorded.redis.scan_iter(f"{answers}*") if recorded.redis.get(key) == state.encode()]
    call = service.store.cancel(None, "cancelled" if state == "waiting" else "cancelled-later")
    again = {**call.values, "nonce": found[0].decode().removeprefix(answers), "resend": 1}

    outcome = service.executor.run(dataclasses.replace(call, values=again))

    assert (outcome.done, outcome.state) == (True, state)


def test_tries_of_older_nodes_end_and_admit_the_next(service: ManagedQueueService, recorded: Recording) -> None:
    running = [
        (job, node) for node in recorded.living for job in recorded.jobs if job.token in recorded.running([node])
    ]
    assert {job.id for job, _ in running} >= {"stalled", "alone-1", "browser-1", "fetched-0", "alone-3"}
    for job, node in running:
        assert service.executor.run(service.store.complete(recorded.claim_of(job, node), "1"))
        ended = recorded.now(job)
        assert ended is not None
        assert (ended["state"], ended["attempts_made"], ended["return_value"]) == ("completed", 1, 1)

    # In the place of alone-1 and browser-1, behind browser-3.
    admitted = [token for node in recorded.living for token in recorded.admitted_to(node)]
    assert sorted(admitted) == [":alone-4", ":browser-3", ":browser-4"]


def test_older_nodes_keep_their_jobs_until_they_miss_their_beats(
    service: ManagedQueueService, recorded: Recording
) -> None:
    held, lost = recorded.running(recorded.living), recorded.running(recorded.dead)
    claims = [
        recorded.claim_of(job, node)
        for node in (*recorded.living, *recorded.dead)
        for job in recorded.jobs
        if job.token in recorded.running([node])
    ]
    present = steady_node(service, "present")
    miss_beats(recorded, recorded.dead)

    first = present.recover()
    assert (first.dead_nodes, first.rerun, first.failed) == (recorded.dead, list(lost), [])
    assert recorded.running(recorded.living) == held
    assert present.recover().dead_nodes == []

    miss_beats(recorded, recorded.living)
    second = present.recover()
    assert sorted(second.dead_nodes) == sorted(recorded.living)
    # It had been taken back once before.
    assert second.failed == [":stalled"]
    assert sorted([*second.rerun, *second.failed]) == sorted(held)
    assert node_keys(present) == {present.store.keys.nodes, f"{present.store.keys.node}present"}
    # What the older nodes still say does not count.
    assert not any(present.run(present.store.complete(claim)) for claim in claims)
    for job in recorded.jobs:
        now = recorded.now(job)
        if job.id == "stalled":
            assert now is not None
            assert (now["state"], now["failed_reason"], now["attempts_made"]) == ("failed", REASON, 1)
        elif job.token in {**held, **lost} and job.snapshot:
            assert now == {**job.snapshot, "state": "waiting"}


def miss_beats(recorded: Recording, nodes: list[str]) -> None:
    for node in nodes:
        PretendWorker(recorded.service, node).miss_beats()


@pytest.mark.parametrize("limited", [True, False])
def test_newer_node_runs_everything_once(service: ManagedQueueService, limited: bool) -> None:
    """All older nodes have been gone for minutes, and the delays are over."""
    recorded = Recording(service, MINUTES_LATER)
    limit = handler_limit(None, logical_name("acme", "post", "alone"))
    pool = pool_limit(service.settings.queue_name("sandbox-browser"))
    node = Node(service, {limit: 1, pool: 1} if limited else {})
    node.be_steady()
    tries = node.run_all()

    taken_back = node.recover()
    node.promote_all()
    tries += node.run_all()

    assert len(taken_back.dead_nodes) == 3
    assert taken_back.failed == [":stalled"]
    expected = {job.token for job in recorded.unfinished} - {":stalled"}
    assert Counter(claim.token for claim in tries) == Counter(expected)
    tried = {claim.token: (json.loads(claim.payload), claim.attempts_made, list(claim.stacks)) for claim in tries}
    for job in recorded.jobs:
        now = recorded.now(job)
        if job.snapshot is None or not job.is_unfinished:
            assert now == job.snapshot
            continue
        assert now is not None
        assert now["state"] == ("failed" if job.id == "stalled" else "completed")
        assert now["attempts_made"] == job.snapshot["attempts_made"] + 1
        before = (job.snapshot["data"], job.snapshot["attempts_made"], job.snapshot["stacktrace"])
        assert tried.get(job.token, before) == before
    check_indexes(node)
    assert node.unacknowledged() == {}
    assert not node.redis.exists(node.store.keys.parked)


def test_nothing_is_left_behind(service: ManagedQueueService) -> None:
    """Weeks later, what has no rule or a number to be kept is all that stays when the rest is cancelled."""
    recorded = Recording(service, WEEKS_LATER)
    node = Node(service)
    node.be_steady()
    node.recover(most_stalls=9)
    node.expire()
    for job in recorded.unfinished:
        assert service.cancel(job.id, tenant_id=job.tenant_id).success
    assert node.run_all() == []

    kept = [job for job in recorded.jobs if job.snapshot and not job.is_unfinished and not _ages(job)]
    assert {job.id for job in kept} == {"kept", "counted-2", "counted-3", "列:☃/ü"}
    lists = {
        node.store.keys.list_of("completed", f"-:{logical_name('acme', 'post', 'send')}") + ":kept",
        node.store.keys.list_of("completed", f"7:counted:{logical_name('acme', 'post', 'send')}"),
        node.store.keys.list_of("failed", f"3:t-1:{logical_name('acme', 'post', 'send')}") + ":kept",
    }
    wakes = {pool_keys(queue).wake for queue in node.queues}
    assert node.keys_left() - wakes == {node.store.keys.job(job.token) for job in kept} | lists | {
        node.store.keys.groups
    }
    assert node_keys(node) == {node.store.keys.nodes, f"{node.store.keys.node}present"}


def _ages(job: RecordedJob) -> bool:
    """Whether the job's retention has an age."""
    assert job.snapshot is not None
    keep = job.snapshot["opts"]["remove_on_fail" if job.state == "failed" else "remove_on_complete"]
    return isinstance(keep, dict) and "age" in keep


# --- A newer release's records ----------------------------------------------------------------------------------------


@pytest.fixture
def newer(
    monkeypatch: pytest.MonkeyPatch, service: ManagedQueueService, service_factory: ServiceFactory
) -> PretendWorker:
    """A node of a release whose records are of a later format."""
    with monkeypatch.context() as patch:
        patch.setattr(store, "FORMAT", NEWER)
        return PretendWorker(service_factory(service.settings.redis_url, prefix=service.settings.prefix), "newer")


def add_newer(newer: PretendWorker, job_id: str, **fields: Any) -> None:
    """A job as a later release may write it, with something that this one has not heard of."""
    newer.enqueue(job_id, **fields)
    key = newer.record_key(job_id)
    envelope: Any = newer.redis.hget(key, "envelope")
    start = b'{"v":%d,' % store.FORMAT
    assert envelope.startswith(start)
    text = b'{"v":%d,"novel":{"deep":[1]},' % NEWER + envelope.removeprefix(start)
    newer.redis.hset(key, "envelope", text.replace(b'"opts":{"', b'"opts":{"priority":3,"'))


def fail_once(newer: PretendWorker) -> None:
    """The next job has failed, and is run again."""
    claim = newer.claim_next()
    newer.fail(claim)
    assert newer.service.retry(claim.job_id).success


def stall_once(newer: PretendWorker) -> None:
    """The next job's process dies."""
    assert newer.stall(newer.task_id(newer.claim_next().job_id)) == "rerun"


COMES: dict[str, tuple[dict[str, Any], Callable[[PretendWorker], object]]] = {
    "new": ({}, lambda newer: None),
    "due": ({"delay_ms": 1}, PretendWorker.promote_next),
    "between tries": ({"attempts": 3}, lambda newer: newer.fail_try(newer.claim_next())),
    "deferred": ({}, lambda newer: newer.defer(newer.claim_next())),
    "run again": ({}, fail_once),
    "stalled": ({}, stall_once),
}


@pytest.mark.parametrize("comes", COMES)
def test_job_of_a_newer_format_waits_for_a_node_that_knows_it(
    worker: PretendWorker, newer: PretendWorker, comes: str
) -> None:
    fields, bring = COMES[comes]
    add_newer(newer, "id", **fields)
    bring(newer)
    before = worker.job("id")
    # None of the newer nodes is there at the moment.
    newer.leave()
    worker.recover()
    task_id = worker.task_id("id")

    assert run_what_comes(worker) == []

    assert worker.unacknowledged() == {}
    assert worker.job("id") == before
    # Nor was it handed out in vain, again and again.
    assert worker.task_id("id") == task_id
    assert before.state == "waiting"
    assert before.opts.attempts == fields.get("attempts", 1)
    again = PretendWorker(newer.service, "newer again")
    again.beat(fresh=True)
    assert run_what_comes(again) == ["id"]
    assert worker.job("id").attempts_made == before.attempts_made + 1
    check_indexes(worker)


def run_what_comes(node: PretendWorker) -> list[str]:
    """Some beats and sweeps of a node that runs all it gets, in order; the ids of what it ran."""
    ran: list[str] = []
    for _ in range(3):
        messages = node.fetch(100)
        assert not isinstance(messages, bytes)
        for message in messages:
            if claim := node.claim(node.task_id_of(message)):
                assert node.complete(claim)
                ran.append(claim.job_id)
            node.acknowledge(message)
        node.beat()
        node.recover()
        assert node.sweep() == []
    return ran


def test_jobs_of_both_formats(worker: PretendWorker, newer: PretendWorker) -> None:
    """Each node runs what it knows, in order."""
    for number in range(6):
        if number % 2:
            add_newer(newer, f"{number}")
        else:
            worker.enqueue(f"{number}")

    assert run_what_comes(worker) == ["0", "2", "4"]
    newer.beat(fresh=True)
    assert run_what_comes(newer) == ["1", "3", "5"]
    assert {worker.job(f"{number}").attempts_made for number in range(6)} == {1}


def test_jobs_of_a_newer_format_keep_their_order(worker: PretendWorker, newer: PretendWorker) -> None:
    for job_id in ("first", "second", "third"):
        add_newer(newer, job_id)
    for task_id in reversed([worker.take() for _ in range(3)]):
        assert worker.claim(task_id) is None

    newer.beat(fresh=True)

    assert run_what_comes(newer) == ["first", "second", "third"]


def test_job_of_a_newer_format_holds_no_slot(worker: PretendWorker, newer: PretendWorker) -> None:
    node = Node(worker.service, {handler_limit(None, logical_name(*JOB.values())): 1})
    worker.enqueue("first")
    running = node.claim_next()
    worker.enqueue("before")
    assert node.claim(node.take()) is None
    add_newer(newer, "newer")
    worker.enqueue("last")
    # All of them are parked at the limit.
    assert node.messages() == []

    assert node.complete(running)

    assert [claim.job_id for claim in node.run_all()] == ["before", "last"]
    assert worker.job("newer").state == "waiting"
    newer.beat(fresh=True)
    assert run_what_comes(newer) == ["newer"]


def test_what_is_asked_about_a_job_of_a_newer_format(worker: PretendWorker, newer: PretendWorker) -> None:
    add_newer(newer, "id", payload={"a": 1}, tenant_id=None, attempts=4)
    run_what_comes(worker)

    found = worker.job("id")
    assert (found.state, found.data, found.opts.attempts) == ("waiting", {"a": 1}, 4)
    kept = worker.enqueue("id")
    assert (kept.created, kept.state) == (False, "waiting")
    refused = worker.service.retry("id")
    assert (refused.success, refused.reason) == (False, "waiting")
    assert [job.id for job in Inspector(worker.service).each(JobFilter())] == ["id"]

    cancelled = worker.service.cancel("id")
    assert (cancelled.success, cancelled.state) == (True, "waiting")
    assert worker.service.get_job("id") is None
    assert worker.keys_left() == set()
    assert worker.enqueue("id").created
    assert run_what_comes(worker) == ["id"]


def test_job_of_a_newer_format_comes_back_from_a_dead_node(worker: PretendWorker, newer: PretendWorker) -> None:
    """The older node takes it back, and leaves it to the next newer one."""
    add_newer(newer, "id")
    claim = newer.claim_next()
    worker.be_steady()
    newer.miss_beats()

    taken_back = worker.recover()

    assert (taken_back.dead_nodes, taken_back.rerun) == (["newer"], [":id"])
    assert run_what_comes(worker) == []
    assert not newer.complete(claim)
    again = PretendWorker(newer.service, "newer again")
    again.beat(fresh=True)
    assert run_what_comes(again) == ["id"]
    assert worker.job("id").attempts_made == 1


def test_job_of_a_newer_format_is_failed_by_nobody_who_cannot_read_it(
    worker: PretendWorker, newer: PretendWorker
) -> None:
    """Its nodes die again and again; a node that knows the format counts on."""
    add_newer(newer, "id")
    worker.be_steady()
    for number in range(3):
        doomed = PretendWorker(newer.service, f"doomed-{number}")
        (raw,) = doomed.fetch()
        assert doomed.claim(doomed.task_id_of(raw)) is not None  # type: ignore[arg-type] # no node of it is gone
        doomed.miss_beats()
        assert worker.recover().rerun == [":id"]

    last = PretendWorker(newer.service, "last")
    (raw,) = last.fetch()
    claim = last.claim(last.task_id_of(raw))  # type: ignore[arg-type]
    assert claim is not None
    assert last.stall(last.task_id("id")) == "failed"
