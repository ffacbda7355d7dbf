"""What dead and leaving nodes, dead children and closed channels held: run again in front, or failed after too many
stalls.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.integration.conftest import ServiceFactory
from tests.integration.invariants import check_indexes, node_keys
from tests.integration.pretend import JOB, OTHER_JOB, PretendWorker, steady_node
from tests.integration.proxy import Cut, Proxy
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.keys import job_token
from xpert_mq.store.store import Claim

REASON = "job stalled more than allowable limit"
SANDBOX = "sandbox-browser"


@pytest.fixture
def doomed(any_service: ManagedQueueService) -> PretendWorker:
    """A node that is going to miss its beats."""
    return steady_node(any_service, "doomed")


@pytest.fixture
def healthy(any_service: ManagedQueueService) -> PretendWorker:
    """A node that has long been beating without a gap."""
    return steady_node(any_service, "healthy")


def _claim_fetched(worker: PretendWorker) -> Claim:
    """As a real worker: the message stays unacknowledged while the job runs."""
    (raw,) = worker.fetch()
    claim = worker.claim(_task_id(raw))
    assert claim is not None
    return claim


def _task_id(raw: bytes | int) -> str:
    # Where a node is gone, a fetch gives a word.
    assert isinstance(raw, bytes)
    return str(json.loads(raw)["headers"]["id"])


def _crash(worker: PretendWorker, healthy: PretendWorker, **options: Any) -> Any:
    worker.miss_beats()
    done = healthy.recover(**options)
    check_indexes(healthy)
    # It comes back under its id, as a node of its own.
    worker.beat(fresh=True)
    worker.be_steady()
    return done


def test_recover_running_job_waits_in_front(doomed: PretendWorker, healthy: PretendWorker) -> None:
    doomed.enqueue("running", payload={"step": 0}, attempts=3)
    claim = _claim_fetched(doomed)
    doomed.checkpoint(claim, '{"step":1}')
    for job_id in ("next", "last"):
        doomed.enqueue(job_id)

    doomed.miss_beats()
    done = healthy.recover()

    assert (done.dead_nodes, done.rerun, done.failed) == (["doomed"], [":running"], [])
    # Its message is stale, and is dropped.
    assert (done.messages, done.more) == (0, False)
    job = healthy.job("running")
    assert (job.state, job.attempts_made, job.data, job.failed_reason) == ("waiting", 0, {"step": 1}, None)
    assert healthy.waiting_ids() == ["running", "next", "last"]
    check_indexes(healthy)
    again = healthy.claim_next()
    assert (again.job_id, again.attempts_made, again.payload) == ("running", 0, b'{"step":1}')
    assert healthy.complete(again)
    assert node_keys(healthy) == {healthy.store.keys.nodes, f"{healthy.store.keys.node}healthy"}


@pytest.mark.parametrize("length", [1, 80])
@pytest.mark.parametrize("count", [3, 600])
def test_recover_keeps_the_order_of_the_running(
    doomed: PretendWorker, healthy: PretendWorker, count: int, length: int
) -> None:
    ids = [f"{number}".ljust(length, "x") for number in range(count)]
    doomed.service.enqueue_many([{**JOB, "job_id": job_id} for job_id in [*ids, "rest"]])
    for _ in ids:
        _claim_fetched(doomed)

    doomed.miss_beats()
    while healthy.recover().more:
        pass

    assert healthy.waiting_ids() == [*ids, "rest"]


def test_recover_running_before_fetched_before_waiting(doomed: PretendWorker, healthy: PretendWorker) -> None:
    for job_id in ("one", "two", "three", "four", "five"):
        doomed.enqueue(job_id)
    one, *_ = doomed.fetch(4)
    assert doomed.claim(_task_id(one))

    doomed.miss_beats()
    done = healthy.recover()

    assert (done.rerun, done.messages) == ([":one"], 3)
    assert healthy.waiting_ids() == ["one", "two", "three", "four", "five"]
    assert [healthy.claim_next().job_id for _ in range(5)] == ["one", "two", "three", "four", "five"]
    check_indexes(healthy)


def test_recover_drops_stale_messages(doomed: PretendWorker, healthy: PretendWorker) -> None:
    for job_id in ("cancelled", "again", "kept"):
        doomed.enqueue(job_id)
    assert len(doomed.fetch(3)) == 3
    doomed.service.cancel("cancelled")
    doomed.service.cancel("again")
    doomed.enqueue("again")

    doomed.miss_beats()

    assert healthy.recover().messages == 1
    assert healthy.waiting_ids() == ["kept", "again"]
    check_indexes(healthy)


def test_recover_fetched_messages_of_pools_go_back_to_their_queues(
    doomed: PretendWorker, healthy: PretendWorker
) -> None:
    sandbox = doomed.service.settings.queue_name(SANDBOX)
    for number in range(3):
        doomed.enqueue(f"plain-{number}")
        doomed.enqueue(f"browser-{number}", execution_pool=SANDBOX)
    assert len(doomed.fetch(6, queues=[doomed.queue, sandbox])) == 6

    doomed.miss_beats()

    assert healthy.recover().messages == 6
    assert healthy.waiting_ids() == [f"plain-{number}" for number in range(3)]
    assert healthy.waiting_ids(sandbox) == [f"browser-{number}" for number in range(3)]


def test_recover_running_job_of_a_pool(doomed: PretendWorker, healthy: PretendWorker) -> None:
    sandbox = doomed.service.settings.queue_name(SANDBOX)
    doomed.enqueue("browser", execution_pool=SANDBOX)
    doomed.enqueue("later", execution_pool=SANDBOX)
    doomed.claim_next(sandbox)

    _crash(doomed, healthy)

    assert healthy.waiting_ids(sandbox) == ["browser", "later"]
    assert healthy.waiting_ids() == []
    assert healthy.claim_next(sandbox).job_id == "browser"


def test_recover_job_of_one_tenant_leaves_the_others(doomed: PretendWorker, healthy: PretendWorker) -> None:
    for tenant in ("a", "b", None):
        doomed.enqueue("same", tenant_id=tenant)
    doomed.claim_next()
    other = healthy.claim_next()

    doomed.miss_beats()
    done = healthy.recover()

    assert done.rerun == [job_token("a", "same")]
    states = [healthy.job("same", tenant).state for tenant in ("a", "b", None)]
    assert states == ["waiting", "active", "waiting"]
    assert healthy.complete(other)
    check_indexes(healthy)


def test_recover_retried_and_deferred_jobs(doomed: PretendWorker, healthy: PretendWorker) -> None:
    doomed.enqueue("retried", attempts=3)
    doomed.fail_try(doomed.claim_next(), "first")
    doomed.claim_next()

    _crash(doomed, healthy)

    (message,) = healthy.messages()
    assert message["headers"]["retries"] == 1
    again = healthy.claim_next()
    assert (again.attempts_made, again.stacks) == (1, ("Traceback: first",))
    assert healthy.job("retried").failed_reason == "first"


@pytest.mark.parametrize("how", ["fail_try", "defer"])
def test_recover_leaves_what_is_delayed(doomed: PretendWorker, healthy: PretendWorker, how: str) -> None:
    doomed.enqueue("id", attempts=3)
    getattr(doomed, how)(_claim_fetched(doomed), delay_ms=60_000)

    done = _crash(doomed, healthy)

    assert (done.rerun, done.messages) == ([], 0)
    assert healthy.job("id").state == "delayed"


FINISHERS = ("complete", "fail", "fail_try", "defer", "checkpoint")


def _finish(worker: PretendWorker, claim: Claim, how: str) -> bool:
    return bool(getattr(worker, how)(claim, *(("1",) if how == "checkpoint" else ())))


@pytest.mark.parametrize("then", ["waiting", "active", "completed", "failed", "removed"])
@pytest.mark.parametrize("late", FINISHERS)
def test_late_finisher_is_refused(doomed: PretendWorker, healthy: PretendWorker, late: str, then: str) -> None:
    doomed.enqueue("id", payload=0, attempts=2, remove_on_complete=then == "removed")
    old = _claim_fetched(doomed)
    doomed.miss_beats()
    healthy.recover()
    if then != "waiting":
        again = healthy.claim_next()
        if then in ("completed", "removed"):
            assert healthy.complete(again)
        if then == "failed":
            assert healthy.fail(again)
    before, messages = healthy.service.get_job("id"), healthy.messages()

    assert _finish(doomed, old, late) is False

    assert healthy.service.get_job("id") == before
    assert healthy.messages() == messages
    check_indexes(healthy)


def test_claim_beat_and_fetch_of_a_dead_node_are_refused(doomed: PretendWorker, healthy: PretendWorker) -> None:
    doomed.enqueue("id")
    (raw,) = doomed.fetch()
    doomed.miss_beats()
    healthy.recover()

    assert doomed.claim(_task_id(raw)) is None
    assert not doomed.beat()
    assert doomed.fetch() == b"gone"
    assert node_keys(healthy) == {healthy.store.keys.nodes, f"{healthy.store.keys.node}healthy"}
    # The refused claim has taken nothing away.
    assert healthy.claim(_task_id(raw)) is not None


def test_second_crash_fails_the_job(doomed: PretendWorker, healthy: PretendWorker) -> None:
    doomed.enqueue("id", payload=0, attempts=3)
    doomed.fail_try(doomed.claim_next(), "first")
    claim = _claim_fetched(doomed)
    doomed.checkpoint(claim, "1")
    assert _crash(doomed, healthy).rerun == [":id"]
    _claim_fetched(doomed)

    done = _crash(doomed, healthy)

    assert (done.rerun, done.failed) == ([], [":id"])
    job = healthy.job("id")
    assert (job.state, job.failed_reason, job.attempts_made, job.data) == ("failed", REASON, 2, 1)
    assert job.stacktrace == ["Traceback: first", REASON]
    assert job.finished_on is not None
    assert healthy.messages() == []
    assert not healthy.enqueue("id").created


def test_second_crash_keeps_ten_stacks(doomed: PretendWorker, healthy: PretendWorker) -> None:
    doomed.enqueue("id", attempts=20)
    for number in range(10):
        doomed.fail_try(doomed.claim_next(), f"{number}")
    for _ in range(2):
        _claim_fetched(doomed)
        _crash(doomed, healthy)

    assert healthy.job("id").stacktrace == [*(f"Traceback: {number}" for number in range(1, 10)), REASON]


@pytest.mark.parametrize("most", [0, 1, 2])
def test_most_stalls(doomed: PretendWorker, healthy: PretendWorker, most: int) -> None:
    doomed.enqueue("id")
    for _ in range(most):
        _claim_fetched(doomed)
        assert _crash(doomed, healthy, most_stalls=most).rerun == [":id"]
    _claim_fetched(doomed)

    assert _crash(doomed, healthy, most_stalls=most).failed == [":id"]
    assert healthy.job("id").attempts_made == 1


def test_rerun_forgets_the_stalls(doomed: PretendWorker, healthy: PretendWorker) -> None:
    doomed.enqueue("id")
    for _ in range(2):
        _claim_fetched(doomed)
        _crash(doomed, healthy)
    assert healthy.service.retry("id").success

    job = healthy.job("id")
    assert (job.state, job.attempts_made, job.failed_reason) == ("waiting", 0, None)
    _claim_fetched(doomed)
    assert _crash(doomed, healthy).rerun == [":id"]


def _stalled_out(doomed: PretendWorker, healthy: PretendWorker, job_id: str, **fields: Any) -> None:
    doomed.enqueue(job_id, **fields)
    _claim_fetched(doomed)
    doomed.stall(doomed.task_id(job_id), most_stalls=0)
    check_indexes(healthy)


@pytest.mark.parametrize("keep", [True, 0, {"age": 0}, {"count": 0}, {"age": 60, "count": 0}, {"age": 0, "count": 9}])
def test_stalled_out_is_removed_at_once(doomed: PretendWorker, healthy: PretendWorker, keep: Any) -> None:
    _stalled_out(doomed, healthy, "id", remove_on_fail=keep)

    assert healthy.service.get_job("id") is None
    doomed.leave()
    healthy.recover()
    assert healthy.keys_left() == set()


@pytest.mark.parametrize("keep", [3, {"count": 3}, {"age": 60, "count": 3}])
def test_stalled_out_keeps_that_many(doomed: PretendWorker, healthy: PretendWorker, keep: Any) -> None:
    ids = [f"{9 - number}" for number in range(6)]
    for job_id in ids:
        _stalled_out(doomed, healthy, job_id, remove_on_fail=keep)

    assert [job_id for job_id in ids if healthy.service.get_job(job_id)] == ids[-3:]


@pytest.mark.parametrize(
    ("keep", "seconds"),
    [(None, 7 * 24 * 3600), ({"age": 60}, 60), ({"age": 12.3456}, 12.346), (False, None), (5, None)],
)
def test_stalled_out_lives_as_long_as_failed(
    doomed: PretendWorker, healthy: PretendWorker, keep: Any, seconds: float | None
) -> None:
    _stalled_out(doomed, healthy, "id", remove_on_fail=keep)

    record = doomed.record_key("id")
    expires: Any = doomed.redis.hget(record, "expires_at")
    finished = doomed.job("id").finished_on
    assert finished is not None
    assert expires == (None if seconds is None else f"{finished + round(1000 * seconds)}".encode())
    assert (doomed.redis.ttl(record) == -1) is (seconds is None)


@pytest.mark.parametrize("keep", [{"age": 0.0004}, {"age": 0.0126}, {"age": 1e9, "count": 2**40}])
def test_stalled_out_with_odd_limits(doomed: PretendWorker, healthy: PretendWorker, keep: Any) -> None:
    """A job whose retention can't be applied would stand in the way of all that are to be recovered."""
    doomed.enqueue("id", remove_on_fail=keep)
    _claim_fetched(doomed)
    doomed.enqueue("neighbour")
    _claim_fetched(doomed)
    doomed.miss_beats()

    done = healthy.recover(most_stalls=0)

    assert sorted(done.failed) == [":id", ":neighbour"]


def test_leave_hands_back_at_once_and_counts_no_stall(doomed: PretendWorker, healthy: PretendWorker) -> None:
    doomed.enqueue("running")
    _claim_fetched(doomed)
    for job_id in ("fetched", "waiting"):
        doomed.enqueue(job_id)
    doomed.fetch()

    assert doomed.leave()
    done = healthy.recover(most_stalls=0)

    assert (done.dead_nodes, done.rerun, done.failed, done.messages) == ([], [":running"], [], 1)
    assert healthy.waiting_ids() == ["running", "fetched", "waiting"]
    assert healthy.job("running").attempts_made == 0
    check_indexes(healthy)
    assert not doomed.beat()
    assert node_keys(healthy) == {healthy.store.keys.nodes, f"{healthy.store.keys.node}healthy"}


def test_leave_of_one_that_was_declared_dead(doomed: PretendWorker, healthy: PretendWorker) -> None:
    doomed.enqueue("id")
    _claim_fetched(doomed)
    doomed.miss_beats()
    healthy.recover()

    assert doomed.leave()
    assert doomed.leave()
    done = healthy.recover()

    assert (done.rerun, done.failed, done.more) == ([], [], False)
    assert node_keys(healthy) == {healthy.store.keys.nodes, f"{healthy.store.keys.node}healthy"}


def test_leave_recovered_by_the_node_itself(doomed: PretendWorker) -> None:
    doomed.enqueue("id")
    _claim_fetched(doomed)
    doomed.leave()

    assert doomed.recover(most_stalls=0).rerun == [":id"]
    assert node_keys(doomed) == set()


def test_stall_takes_only_that_hand_out(doomed: PretendWorker, healthy: PretendWorker) -> None:
    doomed.enqueue("id", attempts=2)
    first = doomed.take()
    claim = doomed.claim(first)
    assert claim is not None
    doomed.fail_try(claim)
    assert doomed.stall(first) == "other"
    second = doomed.take()
    assert doomed.stall(second) == "other"
    assert doomed.claim(second) is not None
    before = doomed.job("id")

    assert doomed.stall(first) == "other"
    assert doomed.job("id") == before
    doomed.enqueue("other")
    assert doomed.stall(second) == "rerun"

    assert doomed.waiting_ids() == ["id", "other"]
    assert doomed.job("id").attempts_made == 1
    assert doomed.stall(second) == "other"
    check_indexes(doomed)


def test_stall_of_what_is_gone(doomed: PretendWorker) -> None:
    doomed.enqueue("id", remove_on_complete=True)
    task_id = doomed.take()
    claim = doomed.claim(task_id)
    assert claim is not None
    doomed.complete(claim)

    assert doomed.stall(task_id) == "other"
    assert doomed.keys_left() == set()


@pytest.mark.parametrize(("most", "what"), [(0, "failed"), (1, "rerun"), (None, "rerun")])
def test_stall_counts_where_it_is_to(doomed: PretendWorker, most: int | None, what: str) -> None:
    doomed.enqueue("id")
    task_id = doomed.take()
    assert doomed.claim(task_id) is not None

    assert doomed.stall(task_id, most) == what
    check_indexes(doomed)


def test_crashes_of_children_and_nodes_count_together(doomed: PretendWorker, healthy: PretendWorker) -> None:
    doomed.enqueue("id")
    _claim_fetched(doomed)
    assert doomed.stall(doomed.task_id("id")) == "rerun"
    _claim_fetched(doomed)

    assert _crash(doomed, healthy).failed == [":id"]


def test_recover_in_batches(doomed: PretendWorker, healthy: PretendWorker) -> None:
    names = [doomed, *(steady_node(doomed.service, f"doomed-{number}") for number in range(2))]
    for node in names:
        for _ in range(4):
            node.enqueue()
            _claim_fetched(node)
        node.enqueue()
        node.fetch()
        node.miss_beats()

    steps = [healthy.recover(limit=3)]
    while steps[-1].more:
        check_indexes(healthy)
        steps.append(healthy.recover(limit=3))

    assert [len(step.rerun) for step in steps] == [3, 3, 3, 3]
    assert sum(step.messages for step in steps) == 3
    assert sorted(steps[0].dead_nodes) == sorted(node.node for node in names)
    assert len(healthy.messages()) == 15
    assert node_keys(healthy) == {healthy.store.keys.nodes, f"{healthy.store.keys.node}healthy"}


def test_recover_by_two_nodes_at_the_same_time(
    doomed: PretendWorker, healthy: PretendWorker, service_factory: ServiceFactory, any_server: EmbeddedServer
) -> None:
    ids = [f"{number}" for number in range(40)]
    for job_id in ids:
        doomed.enqueue(job_id)
        _claim_fetched(doomed)
    others = [healthy, steady_node(healthy.service, "second")]
    doomed.miss_beats()

    def recover(worker: PretendWorker) -> list[str]:
        found: list[str] = []
        more = True
        while more:
            done = worker.recover(limit=3)
            found += done.rerun
            more = done.more
        return found

    with ThreadPoolExecutor(2) as threads:
        first, second = threads.map(recover, others)

    assert sorted(first + second) == sorted(f":{job_id}" for job_id in ids)
    assert sorted(healthy.waiting_ids()) == sorted(ids)
    check_indexes(healthy)


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("verb", ["recover", "leave", "stall", "sweep", "beat", "claim", "complete"])
def test_resend(worker: PretendWorker, service_factory: ServiceFactory, proxy: Proxy, where: Cut, verb: str) -> None:
    """A connection breaks around the script: it is sent again, and acts once."""
    doomed, lost = steady_node(worker.service, "doomed"), "lost"
    shaky = PretendWorker(service_factory(proxy.url, prefix=worker.service.settings.prefix), "shaky")
    shaky.be_steady()
    for script in (shaky.store.claim("x", 1, "q", "n"), shaky.store.recover("shaky", 1000, 1, 1)):
        shaky.run(script)
    doomed.enqueue("running")
    doomed.enqueue(lost)
    running = _claim_fetched(doomed)
    doomed.take()
    if verb == "recover":
        doomed.miss_beats()
    proxy.cut(where)

    if verb == "recover":
        shaky.recover()
    elif verb == "leave":
        assert shaky.run(shaky.store.leave("doomed"))
        shaky.recover()
    elif verb == "stall":
        shaky.node = "doomed"
        shaky.stall(worker.task_id("running"))
    elif verb == "sweep":
        shaky.sweep()
    elif verb == "beat":
        assert shaky.beat()
    elif verb == "claim":
        shaky.node = "doomed"
        assert shaky.claim(worker.task_id(lost)) is not None
    else:
        assert shaky.complete(running)

    assert proxy.cuts == 1
    check_indexes(worker)
    ran = ["running"] if verb in ("recover", "leave", "stall") else []
    assert worker.waiting_ids() == [*ran, *([lost] if verb == "sweep" else [])]


def test_new_channel_takes_back_what_the_earlier_had(doomed: PretendWorker) -> None:
    for job_id in ("running", "fetched", "reserved", "waiting"):
        doomed.enqueue(job_id)
    claim = _claim_fetched(doomed)
    fetched = doomed.fetch(2)

    again = doomed.fetch(9, channel="second")

    # What runs does not run twice; all else comes again, in order.
    assert [_task_id(raw) for raw in again[:2]] == [_task_id(raw) for raw in fetched]
    assert len(again) == 3
    assert doomed.messages() == []
    assert doomed.complete(claim)
    for raw in again:
        assert doomed.claim(_task_id(raw)) is not None
    assert doomed.fetch(9, channel="third") == []
    check_indexes(doomed)


@pytest.mark.parametrize("why", [{"consuming": False}, {"hangs": True}], ids=["ends", "hangs"])
def test_node_that_takes_no_jobs_gives_back_what_it_has_not_started(
    doomed: PretendWorker, why: dict[str, bool]
) -> None:
    for job_id in ("running", "fetched", "reserved", "waiting"):
        doomed.enqueue(job_id)
    claim = _claim_fetched(doomed)
    fetched = doomed.fetch(2)

    doomed.beat(**why)

    assert doomed.waiting_ids() == ["fetched", "reserved", "waiting"]
    # It may start one of them yet, which whoever else comes upon the message finds taken.
    assert doomed.claim(_task_id(fetched[0])) is not None
    assert doomed.claim(doomed.take()) is None
    assert doomed.complete(claim)
    check_indexes(doomed)


def test_messages_given_back_go_in_front(doomed: PretendWorker) -> None:
    for job_id in ("one", "two"):
        doomed.enqueue(job_id)
    (raw,) = doomed.fetch()
    tag = str(json.loads(raw)["properties"]["delivery_tag"])  # type: ignore[arg-type]

    assert doomed.give_back(tag) == 1

    assert doomed.waiting_ids() == ["one", "two"]
    assert doomed.give_back(tag) == 0
    assert doomed.waiting_ids() == ["one", "two"]


def test_no_key_is_left_when_all_is_over(doomed: PretendWorker, healthy: PretendWorker) -> None:
    pools = {"default": doomed.queue, SANDBOX: doomed.service.settings.queue_name(SANDBOX)}
    for pool, queue in pools.items():
        for name in (JOB, OTHER_JOB):
            doomed.enqueue(**name, execution_pool=pool, remove_on_complete=True, tenant_id="t")
            doomed.claim_next(queue)
    _crash(doomed, healthy)

    for queue in pools.values():
        for _ in range(2):
            assert healthy.complete(healthy.claim_next(queue))
        healthy.redis.zpopmin(f"{queue}:wake")
    for node in (doomed, healthy):
        node.leave()
    healthy.recover()

    assert healthy.keys_left() == set()
    assert node_keys(healthy) == set()
