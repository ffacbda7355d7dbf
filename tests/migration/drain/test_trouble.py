"""Queues and servers that are not what they should be: said in a sentence, and nothing is lost."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import redis

from migration.drain.server import old_server
from tests.conftest import ServerFactory
from tests.integration.pretend import PretendWorker, wait_until
from tests.migration.drain.conftest import Drain, DrainFactory, OldQueueFactory, snapshot, states
from tests.migration.drain.old_queues import NodeProcess, OldQueueOf, PythonQueue
from xpert_mq import ManagedQueueService
from xpert_mq.adoption import AdoptionLedger
from xpert_mq.embedded import EmbeddedServer


def test_queue_that_is_not_there(
    old_queue: OldQueueOf, drain: Drain, drain_of: DrainFactory, node: NodeProcess
) -> None:
    old_queue.add()
    typo = drain_of(OldQueueOf(node, "bullmq5", old_queue.prefix, "mial"))
    nowhere = drain_of(OldQueueOf(node, "bullmq5", f"{old_queue.prefix}x", "mail"))

    assert "there is no queue 'mial' with the prefix" in typo("status", code=2)
    assert "did you mean 'mail'?" in typo("verify", code=2)
    assert "nor any other with that prefix" in nowhere("wait", code=2)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://:secret@127.0.0.1:1/0", "Redis at redis://127.0.0.1:1/0 is unavailable: "),
        ("http://user:secret@host", "the URL of the old queue: must start with redis://"),
        ("redis://:secret@/0", "names no host"),
        ("redis://u:secret@127.0.0.1:{port}/0", "Redis at redis://u@127.0.0.1:{port}/0 does not let us in"),
        ("redis://127.0.0.1:{port}/99999", "Redis at redis://127.0.0.1:{port}/99999 "),
    ],
)
def test_server_that_does_not_serve(
    old_queue: OldQueueOf, drain: Drain, client: redis.Redis, url: str, said: str
) -> None:
    port = str(client.get_connection_kwargs()["port"])
    drain.url = url.replace("{port}", port)

    shown = drain("status", code=2)

    assert said.replace("{port}", port) in shown
    assert "secret" not in shown
    assert shown.count("\n") == 1


def test_output_that_breaks_is_not_taken_for_the_server(server: EmbeddedServer) -> None:
    with pytest.raises(BrokenPipeError), old_server(server.url):
        raise BrokenPipeError


@pytest.mark.parametrize("part", ["wait", "delayed", "active", "meta", "events"])
def test_key_of_another_type(
    old_queue: OldQueueOf, drain: Drain, service: ManagedQueueService, client: redis.Redis, part: str
) -> None:
    old_queue.add()
    client.delete(old_queue.key(part))
    client.set(old_queue.key(part), "x")
    before = snapshot(client, old_queue)

    for words in (["status"], ["forward", drain.mapping(), "--write"], ["verify"]):
        assert f"the key '{old_queue.key(part)}' is a string, and a " in drain(*words, code=2)
    assert snapshot(client, old_queue) == before


def test_jobs_that_are_broken_stay(
    old_queue: OldQueueOf, drain: Drain, service: ManagedQueueService, client: redis.Redis
) -> None:
    ids = old_queue.add_many([("send", {}, {})] * 9, bulk=True)
    client.hset(old_queue.key(ids[0]), "data", "{broken")
    client.delete(old_queue.key(ids[1]))
    client.delete(old_queue.key(ids[2]))
    client.set(old_queue.key(ids[2]), "no hash")
    client.hset(old_queue.key(ids[3]), "opts", "[]")
    client.hset(old_queue.key(ids[4]), "data", b"\xff")
    client.hset(old_queue.key(ids[5]), "name", b"\xff")
    client.hset(old_queue.key(ids[6]), "data", '"' + "x" * 1_100_000 + '"')
    client.hset(old_queue.key(ids[7]), "atm", "two")

    report = drain.forward("--batch", "3", code=1)

    assert [one["id"] for one in report["listed"]] == ids[:8]
    assert states(service, ids) == {ids[8]: "waiting"}
    assert client.lrange(old_queue.key("wait"), 0, -1) == list(reversed(ids[:8]))
    reasons = " ".join(report["stay"]["reasons"])
    for said in (
        "data can't be read as JSON",
        "does not hold a job",
        "no JSON object",
        "name is not UTF-8",
        "at most",
        "tries",
    ):
        assert said in reasons
    assert "8 jobs stay" not in drain("status")
    assert "Staying in the old queue: 8 jobs" in drain("forward", drain.mapping(), code=1)


def test_large_jobs_are_read_a_few_at_a_time(
    old_queue: OldQueueOf, drain: Drain, service: ManagedQueueService, client: redis.Redis
) -> None:
    ids = old_queue.add_many([("send", {}, {})] * 4, bulk=True)
    for job_id in ids[:3]:
        client.hset(old_queue.key(job_id), "data", '"' + "x" * 9_000_000 + '"')
    client.hset(old_queue.key(ids[0]), "data", '"' + "x" * 17_000_000 + '"')

    report = drain.forward(code=1)

    assert report["moved"] == {"wait": 1}
    assert "its data is too large: 17000002 bytes" in report["stay"]["reasons"]
    assert client.llen(old_queue.key("wait")) == 3


@pytest.mark.parametrize("version", ["7.0.0", "4.18.2", "next"])
def test_version_that_is_not_known(old_queue: OldQueueOf, drain: Drain, client: redis.Redis, version: str) -> None:
    old_queue.add()
    client.hset(old_queue.key("meta"), "version", f"bullmq:{version}")

    assert drain.document("status")["version"] == version
    assert drain.document("forward", drain.mapping())["moved"] == {"wait": 1}
    said = drain("forward", drain.mapping(), "--write", code=2)
    assert f"BullMQ {version} made the queue, whose layout is not known" in said
    assert drain.forward("--any-version")["moved"] == {"wait": 1}


def test_prefix_of_a_cluster(old_queue_factory: OldQueueFactory, drain_of: DrainFactory, service: Any) -> None:
    queue = old_queue_factory("bullmq5", prefix="{bull-of-a-cluster}")
    job_id = queue.add(delay=60_000)
    drain = drain_of(queue)

    assert drain.forward()["moved"] == {"delayed": 1}
    assert states(service, [job_id]) == {job_id: "delayed"}
    drain("verify", "--for", "0")


@pytest.mark.slow
def test_node_of_a_cluster_that_has_other_keys(
    server_factory: ServerFactory, tmp_path: Path, node: NodeProcess
) -> None:
    asked, owner = (server_factory(config={"cluster-enabled": "yes"}) for _ in range(2))
    drain = Drain(asked.url, OldQueueOf(node, "bullmq5", "{bull}"), tmp_path)
    assert "Hash slot not served" in drain("status", code=2)
    with redis.Redis.from_url(owner.url) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        client.execute_command("CLUSTER", "MEET", "127.0.0.1", asked.port)
    wait_until(lambda: "this queue is on" in drain.run("status").stderr)

    said = drain("status", code=2)

    assert f"on the node at 127.0.0.1:{owner.port}: give the URL of that one" in said


def test_old_redis_goes_away_and_comes_back(
    server_factory: ServerFactory, tmp_path: Path, service: ManagedQueueService, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = server_factory(appendonly=True, appendfsync="always")
    queue = PythonQueue(old.url, "bull")
    ids = queue.add_many([("send", {}, {})] * 10)
    drain = Drain(old.url, queue, tmp_path)
    adopt_many = AdoptionLedger.adopt_many

    def killing(ledger: AdoptionLedger, jobs: Any) -> Any:
        adopted = adopt_many(ledger, jobs)
        old.kill()
        return adopted

    with monkeypatch.context() as patched:
        patched.setattr(AdoptionLedger, "adopt_many", killing)
        said = drain("forward", drain.mapping(), "--write", "--batch", "4", "--lease", "1", code=2)
    assert f"Redis at {old.url} is unavailable" in said
    old.start()

    report = drain.forward()

    assert (report["resumed"], sum(report["moved"].values())) == (4, 10)
    assert PretendWorker(service).waiting_ids() == ids


def test_old_queue_on_redis(server_factory: ServerFactory, tmp_path: Path, service: ManagedQueueService) -> None:
    old = server_factory(binary="redis")
    queue = PythonQueue(old.url, "bull")
    ids = queue.add_many([("send", {}, {}), ("send", {}, {"priority": 1}), ("send", {}, {"delay": 60_000})])
    service.enqueue(plugin_name="acme", queue_name="mail", job_name="send", job_id=ids[0])
    drain = Drain(old.url, queue, tmp_path)

    assert drain.forward(code=1)["moved"] == {"prioritized": 1, "delayed": 1}
    service.cancel(ids[0])
    assert drain.forward()["moved"] == {"wait": 1}
    assert states(service, ids) == {ids[0]: "waiting", ids[1]: "waiting", ids[2]: "delayed"}
    drain("verify", "--for", "0")


def test_managed_redis_that_is_away_loses_nothing(
    server_factory: ServerFactory,
    old_queue: OldQueueOf,
    drain: Drain,
    service: ManagedQueueService,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = old_queue.add_many([("send", {}, {})] * 5, bulk=True)
    new = server_factory()
    service.configure(service.settings.model_copy(update={"redis_url": new.url, "enqueue_timeout": 0.3}))
    adopt_many = AdoptionLedger.adopt_many

    def killed(ledger: AdoptionLedger, jobs: Any) -> Any:
        new.kill()
        return adopt_many(ledger, jobs)

    with monkeypatch.context() as patched:
        patched.setattr(AdoptionLedger, "adopt_many", killed)
        said = drain("forward", drain.mapping(), "--write", code=2)

    assert f"Redis at {new.url} is unavailable" in said
    assert client.hlen(old_queue.key("xpert-mq:in-flight")) == 5
    assert drain("verify", "--for", "0", code=1)
    new.start()
    assert drain.forward()["resumed"] == 5
    assert PretendWorker(service).waiting_ids() == ids


def test_ctrl_c_ends_after_the_batch(
    old_queue: OldQueueOf,
    drain: Drain,
    service: ManagedQueueService,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = old_queue.add_many([("send", {}, {})] * 5, bulk=True)
    adopt_many = AdoptionLedger.adopt_many

    def interrupted(ledger: AdoptionLedger, jobs: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return adopt_many(ledger, jobs)

    with monkeypatch.context() as patched:
        patched.setattr(AdoptionLedger, "adopt_many", interrupted)
        result = drain.run("forward", drain.mapping(), "--write", "--batch", "2", "--json")

    assert result.exit_code == 130
    assert "the same command goes on with the rest" in result.stderr
    assert '"moved":{"wait":2}' in result.stdout
    assert not client.exists(old_queue.key("xpert-mq:in-flight"), old_queue.key("xpert-mq:lease"))
    drain.forward()
    assert PretendWorker(service).waiting_ids() == ids


@pytest.mark.parametrize("rate", ["fast", "0", "5/h/h", "nan", "10/day", "-3"])
def test_rate_that_is_none(old_queue: OldQueueOf, drain: Drain, rate: str) -> None:
    old_queue.add()

    assert "Invalid value for '--rate'" in drain("forward", drain.mapping(), f"--rate={rate}", code=2)


@pytest.mark.parametrize("words", [["wait", "--timeout"], ["verify", "--for"], ["forward", "{mapping}", "--lease"]])
def test_seconds_that_are_no_number(old_queue: OldQueueOf, drain: Drain, words: list[str]) -> None:
    old_queue.add()
    words = [word.format(mapping=drain.mapping()) for word in words]

    assert f"Invalid value for '{words[-1]}'" in drain(*words, "nan", code=2)


def test_mapping_file_that_is_wrong(old_queue: OldQueueOf, drain: Drain, client: redis.Redis) -> None:
    old_queue.add()
    before = snapshot(client, old_queue)

    said = drain("forward", drain.mapping("plugin_name = 3"), "--write", code=2)

    assert 'mapping.toml: ["plugin_name"] must be a table' in said
    assert snapshot(client, old_queue) == before


def test_job_that_changes_between_look_and_claim_is_moved_as_it_is_then(
    old_queue: OldQueueOf,
    drain: Drain,
    service: ManagedQueueService,
    client: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changed, goes, stays = old_queue.add_many([("send", {}, {})] * 3, bulk=True)
    later = old_queue.add(delay=600_000)
    prepare = service.prepare
    seen: list[int] = []

    def meanwhile(described: Any) -> Any:
        seen.append(1)
        if len(seen) == 4:  # of the first batch, before it is claimed
            client.hset(old_queue.key(changed), "data", '{"new": 1}')
            client.lrem(old_queue.key("wait"), 1, goes)
            client.zincrby(old_queue.key("delayed"), 4096 * 60_000, later)
        return prepare(described)

    monkeypatch.setattr(service, "prepare", meanwhile)

    report = drain.forward()

    assert sum(report["moved"].values()) == 3
    job = service.get_job(changed)
    assert job is not None
    assert job.data == {"new": 1}
    assert states(service, [changed, goes, stays, later]) == {changed: "waiting", stays: "waiting", later: "delayed"}
    wait_until(lambda: not client.exists(old_queue.key("xpert-mq:in-flight")))


def test_help_is_there_for_every_command(drain: Drain) -> None:
    for name in ("status", "wait", "mapping", "forward", "verify"):
        assert "Exit code" in (text := drain(name, "--help")) or name in ("status", "mapping"), text
