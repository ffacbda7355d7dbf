"""Every log line of a job says whose it is: in every pool, of handlers, libraries, dispatch and Celery."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import MOST_POOLS, DeploymentFactory
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import wait_for
from tests.acceptance.talkative import FORGED, PLUGIN
from xpert_mq import JobSnapshot
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.logs import JOB_FIELDS

PLUGINS = {"XPERT_MQ_PLUGINS": "tests.acceptance.talkative"}
HEAD = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: [A-Z]+/\S+\] ")
QUEUES = pytest.mark.parametrize("queue", ["sync", "async"])

Entry = dict[str, Any]


@pytest.fixture(scope="module", params=MOST_POOLS)
def talking(
    request: pytest.FixtureRequest, server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A platform with one worker of each pool in turn, which runs several jobs at a time and logs in JSON."""
    folder = tmp_path_factory.mktemp(request.param)
    with closing(Deployment(server, folder, **PLUGINS, XPERT_MQ_LOG_FORMAT="json")) as platform:
        platform.worker(pool=request.param, MANAGED_QUEUE_CONCURRENCY="4")
        yield platform


def add(site: Deployment, job_id: str, tenant_id: str | None, *, queue: str, data: str = "") -> None:
    site.service.enqueue(
        plugin_name=PLUGIN,
        queue_name=queue,
        job_name="talk",
        payload=data,
        tenant_id=tenant_id,
        job_id=job_id,
        attempts=3,
    )


def entries(site: Deployment, job_id: str) -> list[Entry]:
    """What was logged about a job."""
    return [entry for entry in all_entries(site) if job_id in entry["message"]]


def all_entries(site: Deployment) -> list[Entry]:
    return [json.loads(line) for line in written(site).split("\n") if line.startswith("{")]


def written(site: Deployment) -> str:
    """The worker's log without a line that is half written."""
    (worker,) = site.workers
    whole, _, _ = worker.logs().rpartition("\n")
    return whole


def wait_for_line(site: Deployment, text: str) -> None:
    wait_for(lambda: text in written(site), f"{text!r} in a log")


def ended(site: Deployment, job_id: str, tenant_id: str | None) -> JobSnapshot:
    """The job when Celery has said its last word about it."""
    job = site.finished(job_id, tenant_id)
    wait_for_line(site, f":{job_id}:{_generation(site, job_id, tenant_id)}] succeeded")
    return job


def _generation(site: Deployment, job_id: str, tenant_id: str | None) -> int:
    record = site.service.executor.run(site.service.store.read(tenant_id, job_id))
    assert record is not None
    return record.generation


def _said(entry: Entry) -> Entry:
    return {name: entry.get(name) for name in JOB_FIELDS if name != "task_id"}


@QUEUES
def test_every_line_of_a_job_has_its_fields(talking: Deployment, queue: str) -> None:
    job_id = f"fields-{queue}"
    add(talking, job_id, "acme", queue=queue, data="fail")

    job = ended(talking, job_id, "acme")

    assert (job.state, job.attempts_made) == ("completed", 2)
    lines = entries(talking, job_id)
    names = {"plugin_name": PLUGIN, "queue_name": queue, "job_name": "talk"}
    about = {"job_id": job_id, "tenant_id": "acme", **names}
    received = [entry for entry in lines if entry["message"].endswith("received")]
    others = [entry for entry in lines if entry not in received]
    assert [_said(entry) for entry in received] == [{**about, "job_try": None}] * 2
    assert {entry["job_try"] for entry in others} == {1, 2}
    for entry in others:
        assert _said(entry) == {**about, "job_try": entry["job_try"]}, entry
        assert re.fullmatch(rf"4:acme:{job_id}:\d+", entry["task_id"])
    for number, last in ((1, "retry: "), (2, "succeeded in")):
        of_try = [entry["message"] for entry in others if entry["job_try"] == number]
        for what in ("something", "it as Celery's tasks do", "it aloud", "more", FORGED):
            assert sum(f"{job_id} says" in text and what in text for text in of_try) == 1, (what, of_try)
        assert sum("says it elsewhere" in text for text in of_try) == (queue == "async")
        assert last in of_try[-1]
    assert any("its return value is dropped" in entry["message"] for entry in others)


@QUEUES
def test_jobs_at_the_same_time_are_not_mixed_up(talking: Deployment, queue: str) -> None:
    jobs = [(f"mixed-{queue}-{number:02}", ("acme", "globex", None)[number % 3]) for number in range(24)]
    for job_id, tenant_id in jobs:
        add(talking, job_id, tenant_id, queue=queue)

    for job_id, tenant_id in jobs:
        ended(talking, job_id, tenant_id)
        lines = entries(talking, job_id)
        assert len(lines) >= 7
        assert {(entry["job_id"], entry.get("tenant_id")) for entry in lines} == {(job_id, tenant_id)}


def test_lines_outside_of_jobs_have_none_of_the_fields(talking: Deployment) -> None:
    found = all_entries(talking)

    (ready,) = [entry for entry in found if entry["message"].endswith("ready.")]
    (served,) = [entry for entry in found if entry.get("action") == "handlers_served"]
    assert not ready.keys() & set(JOB_FIELDS)
    assert served["handlers"] == [f"{PLUGIN}/async/talk", f"{PLUGIN}/sync/talk"]


def test_json_entry(talking: Deployment) -> None:
    add(talking, "entry", "acme", queue="sync")
    ended(talking, "entry", "acme")

    lines = entries(talking, "entry")

    (more,) = [entry for entry in lines if entry["message"].endswith("says more")]
    assert (more["level"], more["logger"], more["order"], more["odd"]) == ("WARNING", "vendor.library", 7, "{1, 2}")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", more["time"])
    (failed,) = [entry for entry in lines if entry["message"] == f"entry says{FORGED}"]
    assert f"LookupError: entry says{FORGED}" in failed["exception"]


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_text_has_the_job_behind_the_message(deploy: DeploymentFactory, pool: str) -> None:
    site = deploy(**PLUGINS)
    site.worker(pool=pool)
    add(site, "plain", "acme", queue="async", data="fail")
    ended(site, "plain", "acme")

    lines = [line[found.end() :] for line in written(site).splitlines() if (found := HEAD.match(line))]

    about = re.escape(f"acme {PLUGIN}/async/talk")
    assert f"plain says something [acme {PLUGIN}/async/talk 1/3 plain]" in lines
    assert f"plain says something [acme {PLUGIN}/async/talk 2/3 plain]" in lines
    said = (
        rf"received \[{about} - plain\]",
        rf"retry: .* \[{about} 1/3 plain\]",
        rf"succeeded in .* \[{about} 2/3 plain\]",
    )
    for what in said:
        assert any(re.fullmatch(rf"Task {PLUGIN}/async/talk\[4:acme:plain:\d+\] {what}", line) for line in lines), what
    assert any(line.endswith("ready.") for line in lines)


def test_text_from_outside_forges_no_line(deploy: DeploymentFactory) -> None:
    site = deploy(**PLUGINS)
    site.worker()
    job_id, tenant_id = f"evil{FORGED}", f"tenant{FORGED}"
    add(site, job_id, tenant_id, queue="sync", data="fail")
    site.finished(job_id, tenant_id)
    wait_for_line(site, "succeeded in")

    text = written(site)

    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028]", text)
    assert "\n    [2026-01-01" in text
    log = text[HEAD.search(text).start() :].split("\n")  # type: ignore[union-attr] # behind Celery's banner
    assert not [line for line in log if line.startswith("[2026-01-01 00:00:00,000")]
    # What begins no entry is indented.
    assert not [line for line in log if not HEAD.match(line) and not line.startswith("    ")]
    assert f" [{json.dumps(tenant_id)} {PLUGIN}/sync/talk 2/3 {json.dumps(job_id)}]" in text


def test_own_format_of_the_deployment(deploy: DeploymentFactory, tmp_path: Path) -> None:
    site = deploy(**PLUGINS)
    (tmp_path / "celeryconfig.py").write_text(
        "xpert_mq_deployment = True\n"
        "worker_log_format = '%(levelname)s %(tenant_id)s:%(job_id)s:%(job_try)s %(message)s'\n"
        "worker_task_log_format = 'task %(task_name)s %(task_id)s %(message)s'\n"
    )
    site.worker()
    add(site, "own", "acme", queue="async")
    ended(site, "own", "acme")

    lines = written(site).splitlines()

    assert "INFO acme:own:1 own says something" in lines
    assert any(re.fullmatch(r"task \S+ 4:acme:own:\d+ own says it as Celery's tasks do", line) for line in lines)
    assert any(re.fullmatch(r"INFO -:-:- w1@test ready\.", line) for line in lines)


OWN_LOGGING = """
import logging.config

xpert_mq_deployment = True
worker_hijack_root_logger = False
logging.config.dictConfig({
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"job": {"()": "xpert_mq.logs.JobFilter"}},
    "formatters": {"own": {"format": "OWN %(tenant_id)s %(plugin_name)s %(job_id)s %(message)s"}},
    "handlers": {"own": {"class": "logging.StreamHandler", "filters": ["job"], "formatter": "own"}},
    "root": {"handlers": ["own"], "level": "INFO"},
})
"""


@QUEUES
def test_filter_in_logging_that_the_deployment_sets_up(deploy: DeploymentFactory, tmp_path: Path, queue: str) -> None:
    site = deploy(**PLUGINS)
    (tmp_path / "celeryconfig.py").write_text(OWN_LOGGING)
    site.worker(pool="prefork")
    add(site, "own", "acme", queue=queue)
    ended(site, "own", "acme")

    lines = written(site).splitlines()

    assert f"OWN acme {PLUGIN} own own says something" in lines
    assert "OWN - - - w1@test ready." in lines


def test_deferred_job(deploy: DeploymentFactory) -> None:
    site = deploy(**PLUGINS, XPERT_MQ_LOG_FORMAT="json")
    site.worker()
    add(site, "later", "acme", queue="sync", data="defer")
    wait_for_line(site, "] retry: ")

    *_, last = entries(site, "later")

    assert (last["job_id"], last["tenant_id"], last["job_try"]) == ("later", "acme", 1)


def test_message_whose_job_is_gone(deploy: DeploymentFactory) -> None:
    site = deploy(**PLUGINS, XPERT_MQ_LOG_FORMAT="json")
    # Fetched, and behind another, when it is cancelled: else the fetch drops the message.
    add(site, "long", "acme", queue="sync", data="long")
    add(site, "gone", "acme", queue="sync")
    site.worker("--prefetch-multiplier", "2")
    wait_for_line(site, ":gone:")
    site.service.cancel("gone", "acme")
    wait_for_line(site, "has nothing to start")

    (line,) = [entry for entry in entries(site, "gone") if entry.get("action") == "message_stale"]

    about = {"job_id": "gone", "tenant_id": "acme", "plugin_name": PLUGIN, "queue_name": "sync", "job_name": "talk"}
    assert _said(line) == {**about, "job_try": None}
