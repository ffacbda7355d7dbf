"""In every pool: first in, first out; backoff, delays and cancel."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for

QUEUES = pytest.mark.parametrize("queue", ["sync", "async"])

#: "At once", and "on time": what the contract leaves a worker with a free slot.
SOON_MS = 1000


def test_first_in_first_out(site: Deployment) -> None:
    gate = site.hold("order")
    ids = [site.enqueue("fail", {"times": 0, "subject": "order"}, queue=queue) for queue in ["sync", "async"] * 10]

    site.open_gate("order")

    site.finished(gate)
    site.finished(ids[-1])
    assert [one["id"] for one in site.notes("order")[1:]] == ids


def test_idle_node_starts_each_job_at_once(site: Deployment) -> None:
    """Each is enqueued when the one before has just ended: while the node acknowledges that, and starts to wait."""
    for _ in range(30):
        done = site.run("echo")
        assert done.processed_on is not None
        assert done.processed_on - done.timestamp < SOON_MS / 2


@QUEUES
def test_try_without_backoff_goes_to_the_back_of_the_queue(site: Deployment, queue: str) -> None:
    subject = f"back:{queue}"
    site.hold(subject)
    failing = site.enqueue("fail", {"times": 1, "how": "plain", "subject": subject}, queue=queue, attempts=2)
    other = site.enqueue("fail", {"times": 0, "subject": subject}, queue=queue)

    site.open_gate(subject)

    assert site.finished(failing).state == "completed"
    starts = [one["id"] for one in site.notes(subject)[1:] if one["event"] == "start"]
    assert starts == [failing, other, failing]


@QUEUES
@pytest.mark.parametrize(
    ("backoff", "waits"),
    [
        (150, [150, 150]),
        ({"type": "fixed", "delay": 150}, [150, 150]),
        ({"type": "exponential", "delay": 100}, [100, 200]),
    ],
    ids=["number", "fixed", "exponential"],
)
def test_backoff_counts_from_the_end_of_the_try(
    site: Deployment, queue: str, backoff: object, waits: list[int]
) -> None:
    done = site.run("fail", {"times": 2, "how": "plain"}, queue=queue, attempts=3, backoff_ms=backoff)

    assert (done.state, done.attempts_made) == ("completed", 3)
    notes = site.notes(done.id)
    ends = [one["at"] for one in notes if one["event"] == "end"]
    starts = [one["at"] for one in notes if one["event"] == "start"]
    measured = [start - end for end, start in zip(ends, starts[1:], strict=True)]
    assert all(wait <= real < wait + SOON_MS for wait, real in zip(waits, measured, strict=True)), measured


def test_job_between_tries_reads_delayed_with_its_failure(site: Deployment) -> None:
    job_id = site.enqueue("fail", {"times": 1, "how": "plain"}, attempts=2, backoff_ms=3_600_000)
    site.wait_state(job_id, "delayed")

    between = site.job(job_id)

    assert (between.attempts_made, between.failed_reason, len(between.stacktrace)) == (1, "went wrong", 1)
    assert site.service.cancel(job_id).success


def test_delayed_jobs_are_never_early_and_on_time(site: Deployment) -> None:
    delays = [1, 20, 120, 250, 250, 380]
    ids = [site.enqueue("echo", queue=queue, delay_ms=delay) for delay in delays for queue in ("sync", "async")]

    late = []
    for job_id in ids:
        done = site.finished(job_id)
        assert done.processed_on is not None
        late.append(done.processed_on - (done.timestamp + done.opts.delay_ms))
    assert all(0 <= one < SOON_MS for one in late), late


def test_jobs_due_together_keep_their_order(site: Deployment) -> None:
    jobs = [
        {
            "plugin_name": "acme",
            "queue_name": "sync",
            "job_name": "fail",
            "payload": {"times": 0, "subject": "together"},
            "job_id": f"together:{number}",
            "delay_ms": 200,
        }
        for number in range(30)
    ]

    site.service.enqueue_many(jobs)

    site.finished("together:29")
    assert [one["id"] for one in site.notes("together")] == [f"together:{number}" for number in range(30)]


@QUEUES
def test_cancelled_jobs_never_run(site: Deployment, queue: str) -> None:
    gate = f"cancel:{queue}"
    site.hold(gate)
    waiting = site.enqueue("fail", {"times": 0, "subject": gate}, queue=queue, job_id=f"waiting:{queue}")
    delayed = site.enqueue("fail", {"times": 0, "subject": gate}, queue=queue, delay_ms=100)

    results = [site.service.cancel(waiting), site.service.cancel(delayed)]
    # The id is free at once, and the message of the cancelled job, still on its way, is not taken for the new one's.
    again = site.service.enqueue(
        plugin_name="acme", queue_name=queue, job_name="fail", payload={"times": 0, "subject": gate}, job_id=waiting
    )
    site.open_gate(gate)

    assert [(one.success, one.state) for one in results] == [(True, "waiting"), (True, "delayed")]
    assert again.created
    site.finished(waiting)
    after = site.enqueue("echo", delay_ms=300)
    site.finished(after)
    assert [one["id"] for one in site.notes(gate)[1:]] == [waiting]
    assert site.service.get_job(delayed) is None


def test_cancel_tells_what_stood_against_it(site: Deployment) -> None:
    active = site.hold("against")

    result = site.service.cancel(active)
    site.open_gate("against")
    site.finished(active)

    assert (result.success, result.state, result.reason) == (False, "active", "active")
    assert site.service.cancel(active).reason == "completed"


def test_queue_of_short_jobs_runs_without_pauses(site: Deployment) -> None:
    ids = [site.enqueue("fail", {"times": 0, "subject": "short"}) for _ in range(20)]

    wait_for(lambda: len(site.notes("short")) == 20, "20 short jobs")

    times = [one["at"] for one in site.notes("short")]
    assert len(ids) == 20
    assert max(second - first for first, second in pairwise(times)) < SOON_MS
