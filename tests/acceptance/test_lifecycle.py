"""The facts of a job's life, with real workers: one pool stands for the others in `make test`."""

from __future__ import annotations

import contextlib
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import DeploymentFactory, slow
from tests.acceptance.deployment import Deployment
from tests.acceptance.lifecycle_plugin import ERRORS
from tests.acceptance.nodes import wait_for
from tests.conftest import ServerFactory
from xpert_mq import CancelResult
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.store.keys import split_task_id

PLUGINS = {"XPERT_MQ_PLUGINS": "tests.acceptance.plugin,tests.acceptance.lifecycle_plugin"}
BEATS = {"XPERT_MQ_HEARTBEAT_INTERVAL": "0.2", "XPERT_MQ_NODE_TIMEOUT": "2"}
HOUR_MS = 3_600_000
STALLED = "job stalled more than allowable limit"

QUEUES = pytest.mark.parametrize("queue", ["sync", "async"])
FEWER_QUEUES = pytest.mark.parametrize("queue", ["sync", slow("async")])


def _deployment(server: EmbeddedServer, folder: Path, **env: str) -> Deployment:
    return Deployment(server, folder, **PLUGINS, **env)


@pytest.fixture(scope="module", params=["threads", slow("prefork"), slow("solo"), slow("asyncio"), slow("gevent")])
def site(
    request: pytest.FixtureRequest, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A platform of this module's own, with one worker of each pool in turn, which runs two jobs at a time."""
    with contextlib.closing(_deployment(server, tmp_path_factory.mktemp(request.param))) as platform:
        platform.worker("-c", "2", pool=request.param)
        yield platform


@pytest.fixture
def lives(deploy: DeploymentFactory) -> Deployment:
    """A platform of the test's own."""
    return deploy(**PLUGINS)


def task_id_of(site: Deployment, job_id: str) -> str:
    record = site.service.executor.run(site.service.store.read(None, job_id))
    assert record is not None
    return record.task_id()


# Each way into a state; gives the gates at which others wait meanwhile.


def _busy(site: Deployment, gate: str) -> list[str]:
    """No slot is free: one job waits at the gate in each."""
    slots = 1 if "solo" in site.folder.name else 2
    for _ in range(slots):
        site.hold(gate)
    return [gate] * slots


def waiting(site: Deployment, job_id: str, **fields: Any) -> list[str]:
    gates = _busy(site, f"before:{job_id}")
    site.enqueue("echo", job_id=job_id, **fields)
    return gates


def delayed(site: Deployment, job_id: str, **fields: Any) -> list[str]:
    site.enqueue("echo", job_id=job_id, delay_ms=HOUR_MS, **fields)
    return []


def active(site: Deployment, job_id: str, **fields: Any) -> list[str]:
    site.hold(job_id, job_id=job_id)
    return [job_id]


def between_tries(site: Deployment, job_id: str, **fields: Any) -> list[str]:
    site.enqueue("fail", {"times": 1, "how": "plain"}, job_id=job_id, attempts=2, backoff_ms=HOUR_MS)
    return []


def deferred(site: Deployment, job_id: str, **fields: Any) -> list[str]:
    site.enqueue("defer", HOUR_MS, job_id=job_id)
    return []


def parked(site: Deployment, job_id: str, **fields: Any) -> list[str]:
    """At the limit of its handler, of which one runs."""
    gate = f"narrow:{job_id}"
    site.hold(gate, queue="narrow")
    site.enqueue("gate", {"gate": gate}, queue="narrow", job_id=job_id)
    wait_for(lambda: _parked(site, job_id), "the job to be parked")
    return [gate]


def completed(site: Deployment, job_id: str, **fields: Any) -> list[str]:
    site.enqueue("echo", job_id=job_id, **fields)
    return []


def failed(site: Deployment, job_id: str, **fields: Any) -> list[str]:
    site.enqueue("fail", {"times": 1, "how": "plain"}, job_id=job_id)
    return []


def _parked(site: Deployment, job_id: str) -> bool:
    keys = site.service.store.keys
    return bool(site.service.get_redis().hexists(keys.job(f":{job_id}"), "parked"))


WAYS: dict[Callable[..., list[str]], str] = {
    waiting: "waiting",
    delayed: "delayed",
    active: "active",
    between_tries: "delayed",
    deferred: "delayed",
    parked: "waiting",
    completed: "completed",
    failed: "failed",
}

EACH_STATE = pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)


@contextlib.contextmanager
def _job_in_state(site: Deployment, way: Callable[..., list[str]], job_id: str) -> Iterator[str]:
    """Brings a job there, and afterwards lets those go on that wait for it."""
    if way is parked and "solo" in site.folder.name:
        pytest.skip("this pool runs one job at a time anyway")
    gates = way(site, job_id)
    try:
        site.wait_state(job_id, WAYS[way])
        yield WAYS[way]
    finally:
        for gate in gates:
            site.open_gate(gate)


@EACH_STATE
def test_enqueue_again_changes_nothing_whatever_the_state(site: Deployment, way: Callable[..., list[str]]) -> None:
    job_id = f"again:{way.__name__}"
    with _job_in_state(site, way, job_id) as state:
        before = site.job(job_id)

        result = site.service.enqueue(
            plugin_name=before.plugin_name,
            queue_name=before.queue_name,
            job_name=before.name,
            payload="second",
            job_id=job_id,
            attempts=9,
        )

        assert (result.job_id, result.created, result.state) == (job_id, False, state)
        assert site.job(job_id) == before
        # Before the gate opens: it must not run, and keep the next test's slot.
        site.service.cancel(job_id)


@EACH_STATE
def test_cancel_removes_what_does_not_run_and_refuses_the_rest(site: Deployment, way: Callable[..., list[str]]) -> None:
    job_id = f"cancel:{way.__name__}"
    with _job_in_state(site, way, job_id) as state:
        before, notes = site.job(job_id), site.notes(job_id)

        result = site.service.cancel(job_id)

        if state not in ("waiting", "delayed"):
            assert result == CancelResult(False, job_id, state, state)  # type: ignore[arg-type]
            assert site.job(job_id) == before
            return
        assert result == CancelResult(True, job_id, state)  # type: ignore[arg-type]
        assert site.service.cancel(job_id).reason == "not_found"
    # The id is free at once, for anything.
    assert site.run("give", "another", job_id=job_id).return_value == "another"
    assert site.notes(job_id) == notes


class _Chaser:
    """Cancels at about the moment of the pick-up: it learns how many reads that is away."""

    def __init__(self, site: Deployment) -> None:
        self.site = site
        self.reads = 0

    def cancel(self, job_id: str) -> CancelResult:
        for _ in range(self.reads):
            self.site.service.get_job("none")
        result = self.site.service.cancel(job_id)
        self.reads = max(0, self.reads + (1 if result.success else -1))
        return result


@pytest.mark.parametrize("count", [200, pytest.param(1500, marks=pytest.mark.slow)])
def test_cancel_races_with_pick_up_and_one_of_them_comes_first(site: Deployment, count: int) -> None:
    chaser = _Chaser(site)
    removed: set[int] = set()
    subject = f"race:{count}"
    ids = [f"{subject}:{number}" for number in range(count)]
    for number, job_id in enumerate(ids):
        site.enqueue("tick", {"subject": subject, "number": number}, job_id=job_id)
        result = chaser.cancel(job_id)
        assert result.success or result.reason in ("active", "completed")
        if result.success:
            removed.add(number)

    for number in set(range(len(ids))) - removed:
        assert site.finished(ids[number]).attempts_made == 1
    ran = _ran(site, subject)
    assert removed.isdisjoint(ran)
    assert sorted([*removed, *ran]) == list(range(len(ids)))
    assert min(len(removed), len(ran)) > count / 10


def test_cancel_and_enqueue_of_one_id_under_way_runs_each_life_once(site: Deployment) -> None:
    """Messages of cancelled lives meet later ones of the same id, and start none."""
    chaser = _Chaser(site)
    created: list[int] = []
    removed: set[int] = set()
    for number in range(200):
        made = site.service.enqueue(
            plugin_name="acme",
            queue_name="async",
            job_name="tick",
            job_id="lives",
            payload={"subject": "lives", "number": number},
            delay_ms=number % 2,
            remove_on_complete=True,
        )
        if made.created:
            created.append(number)
        if chaser.cancel("lives").success:
            removed.add(created[-1])

    wait_for(lambda: site.service.get_job("lives") is None, "the last life to end")
    ran = _ran(site, "lives")
    assert removed.isdisjoint(ran)
    assert sorted([*removed, *ran]) == created
    assert min(len(removed), len(ran)) > 20


def _ran(site: Deployment, subject: str) -> list[int]:
    return [int(number) for number in site.redis_list(f"{site.prefix}:ran:{subject}")]


def test_job_behind_many_cancelled_ones_starts_at_once(site: Deployment) -> None:
    gates = _busy(site, "stale")
    jobs = [{"plugin_name": "acme", "queue_name": "sync", "job_name": "echo", "job_id": f"{n}"} for n in range(1000)]
    site.service.enqueue_many(jobs)
    assert all(site.service.cancel(str(number)).success for number in range(1000))
    job_id = site.enqueue("echo")

    for gate in gates:
        site.open_gate(gate)

    started, ended = site.finished(job_id).processed_on, min(_ends(site, "stale"))
    assert started is not None
    assert started - ended < 1000


def _ends(site: Deployment, gate: str) -> list[int]:
    return [site.finished(note["id"]).finished_on or 0 for note in site.notes(gate)]


@FEWER_QUEUES
def test_backoff_does_not_count_the_try_itself(site: Deployment, queue: str) -> None:
    done = site.run("long", 0.4, queue=queue, attempts=2, backoff_ms=300)

    assert done.state == "completed"
    _, end, again = site.notes(done.id)
    assert 300 <= again["at"] - end["at"] < 1300


def test_exponential_backoff_doubles_before_each_retry(site: Deployment) -> None:
    backoff = {"type": "exponential", "delay": 50}
    done = site.run("fail", {"times": 3, "how": "plain"}, attempts=4, backoff_ms=backoff)

    assert (done.state, done.attempts_made, len(done.stacktrace)) == ("completed", 4, 3)
    notes = site.notes(done.id)
    ends = [one["at"] for one in notes if one["event"] == "end"]
    starts = [one["at"] for one in notes if one["event"] == "start"]
    waits = [start - end for end, start in zip(ends, starts[1:], strict=True)]
    assert all(wait <= real < wait + 1000 for wait, real in zip([50, 100, 200], waits, strict=True)), waits


@QUEUES
def test_checkpoints_are_kept_over_failed_tries_and_defers(site: Deployment, queue: str) -> None:
    plan = ["defer", "fail", "defer", "defer", "fail", "return"]

    done = site.run("steps", {"plan": plan, "seen": []}, queue=queue, attempts=3)

    # No Defer spends an attempt.
    seen = [["defer", 0], ["fail", 0], ["defer", 1], ["defer", 1], ["fail", 1], ["return", 2]]
    assert (done.state, done.attempts_made, done.failed_reason) == ("completed", 3, "a step failed")
    assert done.return_value == done.data["seen"] == seen
    assert done.data["plan"] == []


@QUEUES
@pytest.mark.parametrize("how", [how for how in ERRORS if how != "unrecoverable"])
def test_whatever_is_raised_is_a_failed_try(site: Deployment, queue: str, how: str) -> None:
    done = [site.run("end", {"times": 1, "how": how}, queue=queue, attempts=attempts) for attempts in (2, 1)]

    assert [(one.state, one.attempts_made) for one in done] == [("completed", 2), ("failed", 1)]
    assert [len(one.stacktrace) for one in done] == [1, 1]
    assert site.run("echo").attempts_made == 1


@QUEUES
def test_subclass_of_unrecoverable_error_fails_at_once(site: Deployment, queue: str) -> None:
    done = site.run("end", {"times": 1, "how": "unrecoverable"}, queue=queue, attempts=5, backoff_ms=HOUR_MS)

    assert (done.state, done.attempts_made, done.failed_reason) == ("failed", 1, "never")


def test_failed_job_runs_again_with_all_its_attempts(site: Deployment) -> None:
    first = site.run("fail", {"times": 9, "how": "plain"}, attempts=2)
    assert (first.state, first.attempts_made) == ("failed", 2)

    assert site.service.retry(first.id) == CancelResult(True, first.id, "waiting")

    wait_for(lambda: site.job(first.id).finished_on not in (None, first.finished_on), "it to fail again")
    again = site.job(first.id)
    assert (again.state, again.attempts_made, again.data) == ("failed", 2, first.data)
    assert again.stacktrace[:2] == first.stacktrace
    assert [note["attempts_made"] for note in site.notes(first.id) if note["event"] == "start"] == [0, 1, 0, 1]


@pytest.mark.parametrize("outcome", ["complete", "fail"])
def test_retention_by_age_count_both_none_and_at_once(site: Deployment, outcome: str) -> None:
    keeps: dict[str, Any] = {
        "at-once": True,
        "never": False,
        "number": 2,
        "count": {"count": 2},
        "age": {"age": 0.3},
        "both": {"age": 0.3, "count": 2},
    }
    times = {"complete": 0, "fail": 1}[outcome]
    ids: dict[str, list[str]] = {}
    # A tenant for each, since a count is of the tenant's jobs.
    for name, keep in keeps.items():
        more = {"tenant_id": f"{name}:{outcome}", f"remove_on_{outcome}": keep}
        ids[name] = [site.enqueue("fail", {"times": times, "how": "plain"}, **more) for _ in range(4)]
    site.run("echo")

    def left(name: str) -> list[bool]:
        # By the record itself: no read, and no other job that ends, removes what is over age.
        tenant = f"{name}:{outcome}"
        found = [site.service.store.keys.job(f"{len(tenant)}:{tenant}:{job_id}") for job_id in ids[name]]
        return [bool(site.service.get_redis().exists(key)) for key in found]

    wait_for(lambda: left("number").count(True) == 2 == left("count").count(True), "what is beyond the counts to go")
    wait_for(lambda: not any([*left("at-once"), *left("age"), *left("both")]), "what is over age to go", 5)
    assert left("never") == [True] * 4
    states = {site.job(job_id, f"never:{outcome}").state for job_id in ids["never"]}
    assert states == {f"{outcome}d" if outcome == "complete" else "failed"}


def test_try_that_lost_its_job_is_refused_and_says_so(site: Deployment) -> None:
    worker = site.workers[0]
    job_id = site.enqueue("late", {"gate": "late"}, attempts=2)
    site.wait_state(job_id, "active")
    wait_for(lambda: site.notes("late"), "the first try to start")
    token, generation = split_task_id(task_id_of(site, job_id))
    (node,) = [one.id for one in site.service.executor.run(site.service.store.nodes())]
    # As another node does where this one seems dead. It runs the job again itself, if it has a slot.
    stall = site.service.store.stall(token, node, generation=generation, most_stalls=1)
    assert site.service.executor.run(stall) == "rerun"
    slots = 1 if "solo" in site.folder.name else 2
    wait_for(lambda: len(site.notes("late")) == slots, "the second try to start")

    site.open_gate("late")
    worker.wait_for_line(f"job {job_id}: this try no longer owns it; its outcome is dropped")
    if slots == 2:
        assert site.job(job_id).state == "active"
        assert site.job(job_id).data == {"gate": "late"}
    site.open_gate("late")

    done = site.finished(job_id)
    assert (done.state, done.attempts_made, done.data) == ("completed", 1, {"gate": "late", "late": True})
    (refused,) = site.notes("refused")
    assert refused["error"] == "StalledJobError"
    assert job_id in refused["text"]


def _control(site: Deployment, *words: str) -> None:
    done = site.celery("control", "--timeout", "0.5", *words)
    assert done.returncode == 0, done.stderr


def test_revoke_is_a_cancel_and_touches_no_later_job_of_the_id(lives: Deployment) -> None:
    """Of jobs that wait, are delayed, are between tries or parked; and of one that runs, which it leaves alone."""
    lives.worker("-c", "3")
    held = {way: way(lives, f"job:{way.__name__}") for way in (active, between_tries, deferred, delayed, parked)}
    # The other slots are taken by the active one and the one before the parked.
    lives.hold("last")
    lives.enqueue("echo", job_id="job:waiting")
    ids = [*(f"job:{way.__name__}" for way in held), "job:waiting"]
    lives.wait_state("job:between_tries", "delayed")
    lives.wait_state("job:deferred", "delayed")
    task_ids = {job_id: task_id_of(lives, job_id) for job_id in ids}

    _control(lives, "revoke", *task_ids.values())

    removed = [job_id for job_id in ids if job_id != "job:active"]
    wait_for(lambda: not any(map(lives.service.get_job, removed)), "them to be cancelled")
    assert lives.job("job:active").state == "active"
    for job_id in removed:
        lives.enqueue("give", "later", job_id=job_id)
    # A revoked id is known to the worker for long.
    _control(lives, "revoke", *task_ids.values())
    for gate in ["last", *held[active], *held[parked]]:
        lives.open_gate(gate)
    assert lives.finished("job:active").return_value == "through"
    assert [lives.finished(job_id).return_value for job_id in removed] == ["later"] * len(removed)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "asyncio", "gevent"])
def test_terminated_job_is_not_cancelled_but_runs_again(deploy: DeploymentFactory, pool: str) -> None:
    """`terminate` ends the try, whose job is then as one whose process has died."""
    site = deploy(**PLUGINS, **BEATS)
    site.worker(pool=pool)
    job_id = site.enqueue("wait", 30, queue="async" if pool == "asyncio" else "sync")
    wait_for(lambda: site.notes(job_id), "the first try to start")
    task_id = task_id_of(site, job_id)

    _control(site, "terminate", "SIGTERM", task_id)

    wait_for(lambda: _starts(site, job_id) == [0, 0], "the second try to start")
    assert site.job(job_id).state == "active"
    # The hand-out that was revoked is an earlier one.
    _control(site, "revoke", task_id)
    assert site.job(job_id).state == "active"


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "asyncio", "gevent"])
def test_job_that_is_terminated_twice_has_stalled_too_often(deploy: DeploymentFactory, pool: str) -> None:
    site = deploy(**PLUGINS, **BEATS)
    site.worker(pool=pool)
    job_id = site.enqueue("wait", 30, queue="async" if pool == "asyncio" else "sync")
    for tries in (1, 2):
        wait_for(lambda: len(_starts(site, job_id)) == tries, "a try to start")  # noqa: B023 # waited for here
        _control(site, "terminate", "SIGTERM", task_id_of(site, job_id))

    site.wait_state(job_id, "failed", timeout=5)
    assert site.job(job_id).failed_reason == STALLED


def _starts(site: Deployment, job_id: str) -> list[int]:
    return [note["attempts_made"] for note in site.notes(job_id) if note["event"] == "start"]


@pytest.mark.slow
def test_revoke_by_flower_is_a_cancel_and_touches_no_later_job_of_the_id(lives: Deployment) -> None:
    lives.worker("-E")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = (f"--port={port}", "--address=127.0.0.1")
    lives.start("flower", *options, name="flower", FLOWER_UNAUTHENTICATED_API="true")

    def revoke(task_id: str) -> bool:
        url = f"http://127.0.0.1:{port}/api/task/revoke/{urllib.parse.quote(task_id)}"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError):
            return False

    delayed(lives, "delayed")
    active(lives, "active")
    running, task_id = task_id_of(lives, "active"), task_id_of(lives, "delayed")
    wait_for(lambda: revoke(running), "Flower to answer", 20)

    assert revoke(task_id)
    wait_for(lambda: lives.service.get_job("delayed") is None, "the job to be cancelled")
    lives.enqueue("give", "later", job_id="delayed")
    assert revoke(task_id)
    assert lives.job("active").state == "active"
    lives.open_gate("active")
    assert lives.finished("active").return_value == "through"
    assert lives.finished("delayed").return_value == "later"


@FEWER_QUEUES
def test_soft_time_limit_is_a_failed_try(lives: Deployment, queue: str) -> None:
    lives.worker("--soft-time-limit", "0.5", pool="prefork")

    done = lives.run("wait", 20, queue=queue, attempts=2)

    assert (done.state, done.attempts_made) == ("failed", 2)
    assert all("SoftTimeLimitExceeded" in stack for stack in done.stacktrace)
    assert _starts(lives, done.id) == [0, 1]
    ends = [note["event"] for note in lives.notes(done.id) if note["event"] != "start"]
    assert ends == [{"sync": "SoftTimeLimitExceeded", "async": "CancelledError"}[queue]] * 2
    assert lives.run("echo").state == "completed"


@pytest.mark.slow
def test_soft_time_limit_ends_with_the_handler(deploy: DeploymentFactory, server_factory: ServerFactory) -> None:
    """That its outcome can't be recorded in time is no failure of the try."""
    site = deploy(server_factory(), **PLUGINS)
    worker = site.worker("--soft-time-limit", "0.5", pool="prefork")

    done = site.run("pause", 1500)

    assert (done.state, done.attempts_made, done.return_value) == ("completed", 1, "paused")
    worker.wait_for_line("succeeded in")
    assert "SoftTimeLimitExceeded" not in worker.logs()
    assert site.run("echo").state == "completed"


@pytest.mark.slow
@QUEUES
def test_hard_time_limit_kills_the_child_and_its_job_has_stalled(lives: Deployment, queue: str) -> None:
    """Once it runs again for nothing, whatever its attempts; then it has failed."""
    lives.worker("--time-limit", "1", pool="prefork")
    job_id = lives.enqueue("wait", 30, queue=queue, attempts=5)

    done = lives.finished(job_id, timeout=30)

    assert (done.state, done.failed_reason, done.attempts_made) == ("failed", STALLED, 1)
    assert _starts(lives, job_id) == [0, 0]
    assert lives.run("echo").attempts_made == 1


@pytest.mark.slow
@QUEUES
def test_checkpoints_are_kept_when_the_child_dies(lives: Deployment, queue: str) -> None:
    lives.worker(pool="prefork")

    done = lives.run("steps", {"plan": ["fail", "die", "defer", "return"], "seen": []}, queue=queue, attempts=2)

    seen = [["fail", 0], ["die", 1], ["defer", 1], ["return", 1]]
    assert (done.state, done.attempts_made, done.return_value) == ("completed", 2, seen)


def test_delayed_jobs_survive_restarts_and_are_in_no_worker(
    deploy: DeploymentFactory, server_factory: ServerFactory
) -> None:
    site = deploy(server_factory(appendonly=True, appendfsync="always"), **PLUGINS)
    worker = site.worker()
    between_tries(site, "between")
    site.wait_state("between", "delayed")
    site.service.enqueue_many(
        [
            {
                "plugin_name": "acme",
                "queue_name": "sync",
                "job_name": "echo",
                "job_id": f"{number}",
                "delay_ms": HOUR_MS,
            }
            for number in range(500)
        ]
    )
    soon = site.enqueue("echo", delay_ms=2000)
    # No message is made before a job is due: there is none in the queue, nor with a node.
    assert _messages(site) == 0

    worker.terminate()
    site.brokers[0].restart()
    site.worker()

    done = site.finished(soon)
    assert done.processed_on is not None
    assert done.processed_on - done.timestamp >= 2000
    assert {site.job(one).state for one in ("between", "0", "499")} == {"delayed"}
    assert site.job("between").failed_reason == "went wrong"


def _messages(site: Deployment) -> int:
    keys, client = site.service.store.keys, site.service.get_redis()
    nodes = site.service.executor.run(site.service.store.nodes())
    counts: list[Any] = [
        client.llen(site.settings.queue_name()),
        *(client.hlen(keys.unacked_of(one.id)) for one in nodes),
    ]
    assert len(counts) > 1
    return sum(counts)


@pytest.mark.slow
def test_delayed_jobs_cost_no_memory_of_a_worker(lives: Deployment) -> None:
    worker = lives.worker()
    lives.run("echo")
    before = _resident_kb(worker.process.pid)
    job = {"plugin_name": "acme", "queue_name": "sync", "job_name": "echo", "payload": "x" * 1000}

    lives.service.enqueue_many([{**job, "delay_ms": HOUR_MS} for _ in range(20_000)])

    lives.run("echo", delay_ms=100)
    assert _resident_kb(worker.process.pid) - before < 4000
    # Nor do those that were due, and are over.
    assert _messages(lives) <= 1


def _resident_kb(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
