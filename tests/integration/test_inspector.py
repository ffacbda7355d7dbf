"""What operators see: jobs in pages, counts, and what happened per minute."""

from __future__ import annotations

import itertools
import random
from typing import Any, cast

import pytest

from tests.integration.pretend import JOB, STATES, PretendWorker, wait_until
from xpert_mq.inspector import RATE_MINUTES, Inspector
from xpert_mq.models import JobState
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.keys import group_name, logical_name
from xpert_mq.store.listing import JobFilter, ListedJob

TENANTS = (None, "a", "b")
PLUGINS = ("plugin", "plug", "plugin\u00fc")


@pytest.fixture
def inspector(service: ManagedQueueService) -> Inspector:
    return Inspector(service)


def ids(jobs: list[ListedJob]) -> list[str]:
    return [job.id for job in jobs]


def test_nothing_there(inspector: Inspector) -> None:
    page = inspector.page(JobFilter())

    assert (page.jobs, page.next) == ([], None)
    assert inspector.queues(JobFilter()) == []


@pytest.mark.parametrize("state", STATES)
def test_job_is_listed_in_its_state_and_no_other(inspector: Inspector, worker: PretendWorker, state: JobState) -> None:
    worker.bring_to(state, "it", tenant_id="a", attempts=2 if state != "failed" else 1)

    (job,) = inspector.page(JobFilter()).jobs

    snapshot = worker.job("it", "a")
    assert (job.id, job.envelope.tenant_id, job.state) == ("it", "a", state)
    assert (job.timestamp, job.attempts_made, job.opts) == (snapshot.timestamp, snapshot.attempts_made, snapshot.opts)
    assert (job.processed_on, job.finished_on) == (snapshot.processed_on, snapshot.finished_on)
    assert job.failed_reason == snapshot.failed_reason
    assert (job.due_at is None) is (state != "delayed")
    assert snapshot.timestamp <= job.since <= worker.server_ms()
    for other in STATES:
        assert len(inspector.page(JobFilter(states=(cast("JobState", other),))).jobs) == (other == state)


def test_delayed_job_tells_when_it_is_due(inspector: Inspector, worker: PretendWorker) -> None:
    worker.enqueue("soon", delay_ms=5_000)
    worker.enqueue("pooled", delay_ms=7_000, execution_pool="sandbox-browser")

    due = {job.id: job.due_at for job in inspector.page(JobFilter()).jobs}

    for job_id, delay in (("soon", 5_000), ("pooled", 7_000)):
        assert due[job_id] in (worker.job(job_id).timestamp + delay, worker.job(job_id).timestamp + delay + 1)


def filled(worker: PretendWorker) -> dict[str, dict[str, Any]]:
    """Jobs of three tenants and three plugins in all states, in pseudo-random order; what each is, by its id."""
    kinds = list(itertools.product(TENANTS, PLUGINS, STATES, ("keep", "age")))
    random.Random(7).shuffle(kinds)
    made = {}
    for number, (tenant, plugin, state, keep) in enumerate(kinds):
        kept = {"remove_on_complete": False, "remove_on_fail": False} if keep == "keep" else {}
        fields = {"tenant_id": tenant, "plugin_name": plugin}
        worker.bring_to(state, f"{number}", **fields, **kept)
        if state == "waiting":  # so that the next that is claimed is not this one
            worker.take()
        made[f"{number}"] = {**fields, "state": state}
    return made


def test_filters(inspector: Inspector, worker: PretendWorker) -> None:
    made = filled(worker)
    choices: list[tuple[str, list[Any]]] = [
        ("tenant_id", [None, "a", "nobody"]),
        ("plugin_name", ["plug", "plugin\u00fc", "no such"]),
        ("states", [("failed",), ("waiting", "completed"), ("active", "delayed", "failed")]),
        ("queue_name", ["queue", "no such"]),
        ("job_name", ["job", "no such"]),
    ]
    some = [[{}, *({name: value} for value in values)] for name, values in choices]

    for parts in itertools.product(*some):
        wanted = JobFilter(**{name: value for part in parts for name, value in part.items()})
        found = sorted(ids(list(inspector.each(wanted))))
        expected = [
            job_id
            for job_id, job in made.items()
            if ("tenant_id" not in str(parts) or job["tenant_id"] == wanted.tenant_id)
            and wanted.plugin_name in (None, job["plugin_name"])
            and job["state"] in wanted.states
            and wanted.queue_name in (None, "queue")
            and wanted.job_name in (None, "job")
        ]
        assert found == sorted(expected), wanted


@pytest.mark.parametrize("limit", [1, 3, 7, 1000])
@pytest.mark.parametrize("newest_first", [True, False])
def test_pages_give_every_job_once_and_in_order(
    inspector: Inspector, worker: PretendWorker, limit: int, newest_first: bool
) -> None:
    made = filled(worker)
    page = inspector.page(JobFilter(), limit, newest_first=newest_first)
    found = list(page.jobs)
    while page.next:
        page = inspector.page(JobFilter(), limit, page.next, newest_first=newest_first)
        assert len(page.jobs) <= limit
        found += page.jobs

    assert sorted(ids(found)) == sorted(made)
    times = [float(job.position.time) for job in found]
    assert times == sorted(times, reverse=newest_first)


def test_pages_of_jobs_of_one_millisecond(inspector: Inspector, worker: PretendWorker) -> None:
    """Many jobs have the same time: those of one hand-out of delayed jobs."""
    for number in range(150):
        worker.enqueue(f"{number:03}", delay_ms=1, tenant_id="ab"[number % 2])
    while inspector.page(JobFilter(states=("delayed",))).jobs:
        worker.promote(1000)

    found = ids(list(inspector.each(JobFilter())))
    page = inspector.page(JobFilter(), 7)
    by_seven = ids(page.jobs)
    while page.next:
        page = inspector.page(JobFilter(), 7, page.next)
        by_seven += ids(page.jobs)

    assert sorted(found) == [f"{number:03}" for number in range(150)]
    assert by_seven == found


def test_ages(inspector: Inspector, worker: PretendWorker) -> None:
    worker.enqueue("old")
    logical = logical_name(JOB["plugin_name"], JOB["queue_name"], JOB["job_name"])
    waiting = worker.store.keys.list_of("waiting", group_name(None, logical))
    worker.redis.zincrby(waiting, -60_000, ":old")  # as if a minute had passed
    worker.enqueue("new")

    for wanted, expected in (
        (JobFilter(at_least_ms=30_000), ["old"]),
        (JobFilter(at_most_ms=30_000), ["new"]),
        (JobFilter(at_least_ms=30_000, at_most_ms=90_000), ["old"]),
        (JobFilter(at_least_ms=90_000), []),
    ):
        for newest_first in (True, False):
            assert ids(list(inspector.each(wanted, newest_first=newest_first))) == expected
    (line,) = inspector.queues(JobFilter())
    assert line.oldest_wait is not None
    assert worker.server_ms() - line.oldest_wait > 59_000


def test_job_whose_age_is_over_is_not_listed(inspector: Inspector, worker: PretendWorker) -> None:
    worker.bring_to("completed", "it", remove_on_complete={"age": 0.001})
    deadline = worker.server_ms() + 5
    while worker.server_ms() < deadline:
        pass

    assert inspector.page(JobFilter()).jobs == []


def test_long_reason_is_cut_between_characters(inspector: Inspector, worker: PretendWorker) -> None:
    worker.enqueue("it")
    worker.fail(worker.claim_next(), "\u00e9" * 500)

    (job,) = inspector.page(JobFilter()).jobs

    assert job.failed_reason is not None
    assert set(job.failed_reason) == {"\u00e9"}
    assert len(job.failed_reason) == 100


def test_queues_count_by_logical_job_and_state(inspector: Inspector, worker: PretendWorker) -> None:
    made = filled(worker)

    lines = {line.plugin_name: line for line in inspector.queues(JobFilter())}
    of_a = {line.plugin_name: line for line in inspector.queues(JobFilter(tenant_id="a"))}

    assert list(lines) == sorted(PLUGINS)
    for plugin in PLUGINS:
        assert lines[plugin].states == dict.fromkeys(STATES, 2 * len(TENANTS))
        assert of_a[plugin].states == dict.fromkeys(STATES, 2)
        assert (lines[plugin].queue_name, lines[plugin].job_name) == (JOB["queue_name"], JOB["job_name"])
    assert len(made) == sum(sum(line.states.values()) for line in lines.values())


def test_rates_count_what_happens(inspector: Inspector, worker: PretendWorker) -> None:
    for state in ("completed", "failed", "failed"):
        worker.bring_to(state, f"{state}-{random.random()}", remove_on_complete=True)
    worker.enqueue("retried", attempts=2)
    worker.fail_try(worker.claim_next())
    worker.enqueue("cancelled", delay_ms=1000)
    worker.service.cancel("cancelled")
    worker.enqueue("retried")  # kept, so nothing is added
    worker.service.cancel("cancelled")  # not there

    (line,) = inspector.queues(JobFilter())

    span = RATE_MINUTES + 1  # minutes at the most
    expected = {"added": 5, "completed": 1, "failed": 2, "retried": 1, "cancelled": 1}
    assert line.rates.keys() == expected.keys()
    assert line.rates["added"] == pytest.approx(5 * line.rates["completed"])
    assert line.rates["failed"] == pytest.approx(2 * line.rates["completed"])
    assert line.rates["retried"] == line.rates["cancelled"] == line.rates["completed"]
    assert expected["completed"] / span <= line.rates["completed"] <= expected["completed"] / RATE_MINUTES


def test_logical_job_that_keeps_no_job_still_has_rates(inspector: Inspector, worker: PretendWorker) -> None:
    worker.bring_to("completed", "it", remove_on_complete=True)

    (line,) = inspector.queues(JobFilter())

    assert sum(line.states.values()) == 0
    assert line.rates["completed"] > 0
    assert inspector.queues(JobFilter(plugin_name="other")) == []
    assert inspector.queues(JobFilter(tenant_id="a")) == []


def test_minutes_are_few_and_forgotten(worker: PretendWorker) -> None:
    for number in range(50):
        worker.bring_to("completed", f"{number}", job_name=f"job-{number}")

    tallies = [key for key in worker.all_keys() if key.startswith(worker.store.keys.tallies)]

    assert 1 <= len(tallies) <= 2
    assert all(0 < worker.redis.ttl(key) <= 24 * 3600 for key in tallies)


@pytest.mark.parametrize("how", ["cancel", "remove", "expire", "count", "read"])
def test_group_without_jobs_is_forgotten(worker: PretendWorker, how: str) -> None:
    over = {"age": 0.001}
    keep = {"remove": True, "expire": over, "count": 0, "read": over}.get(how)
    worker.bring_to("delayed" if how == "cancel" else "completed", "it", tenant_id="a", remove_on_complete=keep)
    if how == "cancel":
        worker.service.cancel("it", tenant_id="a")
    if how == "expire":
        wait_until(lambda: worker.expire()[0])
    if how == "read":  # which sees that it is over, in place of a worker that removes it
        wait_until(lambda: worker.service.get_job("it", tenant_id="a") is None)

    assert worker.keys_left() == set()
