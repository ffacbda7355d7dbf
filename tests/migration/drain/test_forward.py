"""Jobs of each library's queues, moved into the managed queue."""

from __future__ import annotations

import base64
import json
import time
import tomllib
from functools import partial
from typing import Any

import pytest
import redis

from tests.integration.pretend import PretendWorker, wait_until
from tests.migration.drain.conftest import Drain, DrainFactory, OldQueueFactory, snapshot, states
from tests.migration.drain.old_queues import AnyOldQueue, OldQueueOf
from xpert_mq import ManagedQueueService
from xpert_mq.adoption import AdoptionLedger

#: What is left of a delay may differ by what the test took.
_SLACK_MS = 30_000


def waiting_ids(service: ManagedQueueService) -> list[str]:
    return PretendWorker(service).waiting_ids()


def test_waiting_jobs_keep_ids_names_data_and_order(
    any_old_queue: AnyOldQueue, drain_of: DrainFactory, service: ManagedQueueService, client: redis.Redis
) -> None:
    jobs: list[tuple[str, Any, dict[str, Any]]]
    jobs = [("send" if number % 2 else "draw", {"number": number, "text": "ü\u2028"}, {}) for number in range(8)]
    ids = any_old_queue.add_many([*jobs, ("send", {}, {"jobId": "own:id:1"})])

    report = drain_of(any_old_queue).forward("--batch", "3")

    assert report["moved"] == {"wait": 9}
    assert report["targets"] == [
        {"name": "draw", "to": "acme/mail/draw", "jobs": 4},
        {"name": "send", "to": "acme/mail/send", "jobs": 5},
    ]
    assert waiting_ids(service) == ids
    job = service.get_job(ids[3])
    assert job is not None
    assert (job.name, job.data, job.attempts_made) == ("send", {"number": 3, "text": "ü\u2028"}, 0)
    left = set(snapshot(client, any_old_queue))
    assert left <= {any_old_queue.key(part) for part in ("id", "meta", "events", "marker", "xpert-mq:forwarded")}


def test_priorities_are_an_order(
    any_old_queue: AnyOldQueue, drain_of: DrainFactory, service: ManagedQueueService
) -> None:
    priorities = [2, 1, 2, 1, None]
    ids = any_old_queue.add_many(
        [("send", {}, {} if priority is None else {"priority": priority}) for priority in priorities]
    )

    report = drain_of(any_old_queue).forward()

    assert report["lost_options"] == {"priority": 4}
    by_priority = [ids[1], ids[3], ids[0], ids[2]]
    # Bull runs those without a priority last, BullMQ first.
    expected = [*by_priority, ids[4]] if any_old_queue.lib == "bull4" else [ids[4], *by_priority]
    assert waiting_ids(service) == expected


def test_options_and_delays_are_kept(
    any_old_queue: AnyOldQueue, drain_of: DrainFactory, service: ManagedQueueService
) -> None:
    backoff = {"type": "exponential", "delay": 2000}
    keep = {"removeOnComplete": {"age": 60, "count": 7}, "removeOnFail": True}
    first, second, third = any_old_queue.add_many(
        [
            ("send", {}, {"delay": 600_000, "attempts": 4, "backoff": backoff, **keep}),
            ("send", {}, {"delay": 300_000, "removeOnComplete": 3, "removeOnFail": False, "backoff": 1500}),
            ("send", {}, {"delay": 300_000}),
        ]
    )

    drain_of(any_old_queue).forward()

    assert states(service, [first, second, third]) == dict.fromkeys([first, second, third], "delayed")
    assert dict(_opts(service, first)) == {
        "attempts": 4,
        "delay_ms": pytest.approx(600_000, abs=_SLACK_MS),
        "backoff_ms": backoff,
        "remove_on_complete": {"age": 60, "count": 7},
        "remove_on_fail": True,
    }
    assert _opts(service, first).delay_ms <= 600_000
    opts = _opts(service, second)
    assert (opts.attempts, opts.backoff_ms) == (1, {"type": "fixed", "delay": 1500})
    assert (opts.remove_on_complete, opts.remove_on_fail) == (3, False)


def test_job_in_its_backoff_has_the_tries_that_are_left(
    old_queue_factory: OldQueueFactory, drain_of: DrainFactory, service: ManagedQueueService, client: redis.Redis
) -> None:
    for library in ("bullmq5", "bullmq6", "bull4"):
        queue = old_queue_factory(library)
        assert isinstance(queue, OldQueueOf)
        job_id = queue.add(data={"fails": True}, jobId=f"of-{library}", attempts=3, backoff=500_000)
        queue.work()
        wait_until(partial(client.zcard, queue.key("delayed")))
        queue.call("rest")

        report = drain_of(queue).forward()

        assert report["moved"] == {"delayed": 1}
        job = service.get_job(job_id)
        assert job is not None
        assert (job.state, job.attempts_made, job.opts.attempts) == ("delayed", 1, 3)
        assert job.opts.delay_ms == pytest.approx(500_000, abs=_SLACK_MS)


def test_overdue_job_waits(old_queue: OldQueueOf, drain: Drain, service: ManagedQueueService) -> None:
    job_id = old_queue.add(delay=1)
    time.sleep(0.002)

    drain.forward()

    assert states(service, [job_id]) == {job_id: "waiting"}


@pytest.mark.parametrize("library", ["bullmq5", "bullmq6", "bull4"])
def test_paused_queue_is_emptied(
    library: str, old_queue_factory: OldQueueFactory, drain_of: DrainFactory, service: ManagedQueueService
) -> None:
    queue = old_queue_factory(library)
    assert isinstance(queue, OldQueueOf)
    ids = [queue.add()]
    queue.call("pause")
    ids.append(queue.add())

    drain_of(queue).forward()

    assert waiting_ids(service) == ids


def test_dry_run_changes_nothing(
    any_old_queue: AnyOldQueue, drain_of: DrainFactory, service: ManagedQueueService, client: redis.Redis
) -> None:
    ids = any_old_queue.add_many([("send", {}, {}), ("send", {}, {"delay": 60_000}), ("send", {}, {"priority": 3})])
    before = snapshot(client, any_old_queue)
    drain = drain_of(any_old_queue)

    report = drain.document("forward", drain.mapping())

    assert (sum(report["moved"].values()), report["written"]) == (3, False)
    assert "Nothing was changed" in drain("forward", drain.mapping())
    assert snapshot(client, any_old_queue) == before
    assert states(service, ids) == {}


def test_failed_jobs_come_when_asked_for(
    old_queue: OldQueueOf, drain: Drain, service: ManagedQueueService, client: redis.Redis
) -> None:
    ids = [old_queue.add(data={"fails": True}) for _ in range(3)]
    old_queue.work()
    wait_until(lambda: client.zcard(old_queue.key("failed")) == 3)
    old_queue.call("rest")

    assert drain.forward()["moved"] == {}
    assert drain.forward("--failed")["moved"] == {"failed": 3}

    assert waiting_ids(service) == ids
    job = service.get_job(ids[0])
    assert job is not None
    assert job.attempts_made == 0


@pytest.mark.parametrize("library", ["bullmq5", "bullmq6", "bull4"])
def test_what_a_worker_has_taken_is_left_to_it(
    library: str,
    old_queue_factory: OldQueueFactory,
    drain_of: DrainFactory,
    service: ManagedQueueService,
    client: redis.Redis,
) -> None:
    queue = old_queue_factory(library)
    assert isinstance(queue, OldQueueOf)
    running, waits = queue.add_many([("send", {"until": queue.key("told")}, {}), ("send", {}, {"delay": 60_000})])
    queue.work()
    wait_until(lambda: client.llen(queue.ran_key))

    report = drain_of(queue).forward()

    assert (report["active"], report["moved"]) == (1, {"delayed": 1})
    assert states(service, [running, waits]) == {waits: "delayed"}
    client.set(queue.key("told"), "1")
    wait_until(lambda: client.zscore(queue.key("completed"), running))
    queue.call("rest")


def test_flows_and_schedulers_stay(
    old_queue: OldQueueOf, drain: Drain, service: ManagedQueueService, client: redis.Redis
) -> None:
    _, child = old_queue.call("flow")
    old_queue.call("schedule", name="nightly")
    moved = old_queue.add()

    report = drain.forward(code=1)

    assert report["moved"] == {"wait": 1}
    assert states(service, [moved]) == {moved: "waiting"}
    assert {one["name"]: one["reason"].partition(":")[0] for one in report["listed"]} == {
        "child": "it is part of a flow",
        "nightly": "a job scheduler made it, which will go on",
    }
    assert client.lrange(old_queue.key("wait"), 0, -1) == [child]


def test_jobs_that_do_not_map_stay_where_they_are(
    any_old_queue: AnyOldQueue, drain_of: DrainFactory, service: ManagedQueueService, client: redis.Redis
) -> None:
    jobs: list[tuple[str, Any, dict[str, Any]]] = []
    for number in range(12):
        place = ({}, {"delay": 60_000}, {"priority": 2})[number % 3]
        jobs.append(("send", {"tenantId": "t"} if number % 2 else {}, place))
    ids = any_old_queue.add_many(jobs)
    order = {key: _content(client, any_old_queue.key(key)) for key in ("wait", "delayed", "prioritized", "priority")}
    drain = drain_of(any_old_queue)
    mapping = '["mail"."send"]\nplugin_name = "acme"\nqueue_name = "mail"\ntenant_id = {{ path = "tenantId" }}\n'

    report = drain.forward("--batch", "2", mapping=mapping, code=1)

    stay = set(ids[0::2])
    assert report["stay"] == {"jobs": 6, "reasons": {"its data has no tenantId": 6}}
    assert {one["id"] for one in report["listed"]} == stay
    assert set(states(service, ids, "t")) == set(ids[1::2])
    for key, before in order.items():
        assert _content(client, any_old_queue.key(key)) == [one for one in before if one[0] in stay]


def test_job_whose_id_is_held_goes_back_to_its_place(
    any_old_queue: AnyOldQueue, drain_of: DrainFactory, service: ManagedQueueService, client: redis.Redis
) -> None:
    places: list[dict[str, Any]] = [{}, {"delay": 60_000}, {"priority": 2}]
    ids = any_old_queue.add_many([("send", {}, {"jobId": f"j{n}", **places[n % 3]}) for n in range(9)])
    keys = ("wait", "delayed", "prioritized", "priority")
    order = {key: _content(client, any_old_queue.key(key)) for key in keys}
    held = [ids[0], ids[1], ids[2], ids[6]]
    service.enqueue(plugin_name="acme", queue_name="mail", job_name="send", job_id=held[0])
    for job_id in held[1:]:
        service.enqueue(plugin_name="acme", queue_name="mail", job_name="other", job_id=job_id)

    report = drain_of(any_old_queue).forward(code=1)

    assert {one["id"] for one in report["listed"]} == set(held)
    assert "has the id that it would get" in report["listed"][0]["reason"]
    for key in keys:
        assert _content(client, any_old_queue.key(key)) == [one for one in order[key] if one[0] in held]
    assert not client.exists(any_old_queue.key("xpert-mq:in-flight"))


@pytest.mark.parametrize("library", ["bullmq5", "bullmq6", "bull4"])
def test_what_went_back_is_run_by_the_old_worker(
    library: str,
    old_queue_factory: OldQueueFactory,
    drain_of: DrainFactory,
    service: ManagedQueueService,
    client: redis.Redis,
) -> None:
    queue = old_queue_factory(library)
    assert isinstance(queue, OldQueueOf)
    service.enqueue(plugin_name="acme", queue_name="mail", job_name="send", job_id="held")
    queue.call("pause")
    queue.work()
    queue.add(jobId="held")
    drain_of(queue).forward(code=1)

    queue.call("resume")

    wait_until(lambda: client.lrange(queue.ran_key, 0, -1) == ["held"])
    queue.call("rest")


def test_jobs_that_go_back_keep_their_order_behind_those_that_stayed(
    any_old_queue: AnyOldQueue, drain_of: DrainFactory, service: ManagedQueueService, client: redis.Redis
) -> None:
    any_old_queue.add_many([(name, {}, {"jobId": name}) for name in ("stays", "first", "second")])
    for held in ("first", "second"):
        service.enqueue(plugin_name="acme", queue_name="mail", job_name="other", job_id=held)
    rule = 'plugin_name = "acme"\nqueue_name = "mail"\ntenant_id = {{ none = true }}\n'

    drain_of(any_old_queue).forward(mapping=f'["mail"."first"]\n{rule}["mail"."second"]\n{rule}', code=1)

    assert client.lrange(any_old_queue.key("wait"), 0, -1) == ["second", "first", "stays"]


@pytest.mark.parametrize("library", ["bullmq5", "bullmq6", "bull4"])
def test_idle_worker_is_woken_for_what_went_back(
    library: str,
    old_queue_factory: OldQueueFactory,
    drain_of: DrainFactory,
    service: ManagedQueueService,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queue = old_queue_factory(library)
    assert isinstance(queue, OldQueueOf)
    service.enqueue(plugin_name="acme", queue_name="mail", job_name="send", job_id="held")
    queue.add(jobId="held")
    adopt_many = AdoptionLedger.adopt_many

    def meanwhile(ledger: AdoptionLedger, jobs: Any) -> Any:
        if not client.exists(queue.key("stalled-check")):
            queue.work()
            wait_until(lambda: _blocks(client, queue))
        return adopt_many(ledger, jobs)

    monkeypatch.setattr(AdoptionLedger, "adopt_many", meanwhile)

    drain_of(queue).forward(code=1)

    # Unwoken it would look again after 5 s.
    wait_until(lambda: client.lrange(queue.ran_key, 0, -1) == ["held"], 3)
    queue.call("rest")


def _blocks(client: redis.Redis, queue: OldQueueOf) -> bool:
    """Whether the worker waits for something to do."""
    name = f"{queue.prefix}:{base64.b64encode(queue.name.encode()).decode()}"
    return any(one["name"] == name and one["flags"] == "b" for one in client.client_list())


def test_deduplication_ends_as_with_the_job(old_queue: OldQueueOf, drain: Drain, client: redis.Redis) -> None:
    old_queue.add(deduplication={"id": "until-it-ends"})
    old_queue.add(deduplication={"id": "for-a-time", "ttl": 60_000})

    drain.forward()

    assert client.keys(old_queue.key("de:*")) == [old_queue.key("de:for-a-time")]


def test_listeners_are_told(old_queue: OldQueueOf, drain: Drain, client: redis.Redis) -> None:
    ids = [old_queue.add(), old_queue.add(delay=60_000)]

    drain.forward()

    told: Any = client.xrevrange(old_queue.key("events"), count=2)
    assert [event for _, event in reversed(told)] == [
        {"event": "removed", "jobId": ids[0], "prev": "waiting"},
        {"event": "removed", "jobId": ids[1], "prev": "delayed"},
    ]


def test_limit_and_rate(old_queue: OldQueueOf, drain: Drain, service: ManagedQueueService) -> None:
    ids = old_queue.add_many([("send", {}, {})] * 7, bulk=True)

    assert drain.forward("--limit", "2")["moved"] == {"wait": 2}
    assert waiting_ids(service) == ids[:2]
    started = time.monotonic()
    drain.forward("--rate", "10/s", "--batch", "2")

    assert time.monotonic() - started > 0.4
    assert waiting_ids(service) == ids


def test_id_that_is_used_again_is_another_job(
    old_queue: OldQueueOf, drain: Drain, service: ManagedQueueService
) -> None:
    for number in range(2):
        old_queue.add(data={"number": number}, jobId="same")
        drain.forward()
        job = service.get_job("same")
        assert job is not None
        assert job.data == {"number": number}
        service.cancel("same")


def test_managed_envelope_of_the_old_platform(
    old_queue: OldQueueOf, drain: Drain, service: ManagedQueueService
) -> None:
    envelope = {"pluginName": "p", "queueName": "q", "jobName": "j", "tenantId": "t", "payload": {"a": 1}}
    old_queue.add("j", {**envelope, "organizationId": None}, jobId="one")
    started = drain("mapping")
    assert 'payload = { path = "payload" }' in started

    report = drain.forward(mapping=started.replace("{", "{{").replace("}", "}}"))

    assert report["targets"] == [{"name": "j", "to": "p/q/j", "jobs": 1}]
    job = service.get_job("one", "t")
    assert job is not None
    assert (job.data, job.organization_id) == ({"a": 1}, None)


def test_names_that_would_break_a_mapping_file(old_queue: OldQueueOf, drain: Drain) -> None:
    name = 'a"b\\c\nd\x7fé\u2028'
    old_queue.add(name, {'"\ntenant_id = "evil"\nx': 1})

    started = tomllib.loads(drain("mapping"))

    assert list(started["mail"]) == [name]
    assert started["mail"][name]["job_name"] == name
    assert started["mail"][name]["tenant_id"] == ""


def _opts(service: ManagedQueueService, job_id: str) -> Any:
    job = service.get_job(job_id)
    assert job is not None
    return job.opts


def _content(client: redis.Redis, key: str) -> list[tuple[str, float]]:
    if client.type(key) == "list":
        listed: Any = client.lrange(key, 0, -1)
        return [(member, 0) for member in listed]
    found: Any = client.zrange(key, 0, -1, withscores=True)
    return [tuple(one) for one in found]


def test_report_is_json(old_queue: OldQueueOf, drain: Drain) -> None:
    old_queue.add()

    assert json.loads(drain("forward", drain.mapping(), "--json"))["target"]
