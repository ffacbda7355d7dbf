"""`xpert-mq queues`: counts and rates by logical job."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.acceptance.deployment import Deployment
from tests.acceptance.test_cli import cli, document, lines, seen
from tests.integration.pretend import STATES, PretendWorker
from xpert_mq.embedded import EmbeddedServer

LONG = "@xpert-ai/plugin-community-wechat"


@pytest.fixture(scope="module")
def filled(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A platform that holds a job in each state for two tenants, and no worker."""
    with closing(Deployment(server, tmp_path_factory.mktemp("queues"))) as platform:
        worker = PretendWorker(platform.service)
        for tenant in ("t", None):
            for state in reversed(STATES):
                worker.bring_to(state, f"{state}", tenant_id=tenant)
            worker.take()
        worker.enqueue("wechat", plugin_name=LONG, queue_name="wechat.outbound", job_name="send-message")
        yield platform


def test_names_stand_above_their_numbers_at_80_columns(filled: Deployment) -> None:
    shown = lines(seen(filled, "queues", width=80, code=0))

    assert max(map(len, shown)) <= 80
    assert shown[0] == "plugin/queue/job"
    assert shown[1] == "waiting  delayed  active  completed  failed  oldest  added/m  done/m  failed/m"
    assert shown[3] == f"{LONG}/wechat.outbound/send-message"
    assert shown[5] == "plugin/queue/job"
    assert re.fullmatch(r" +2 +2 +2 +2 +2 +[\d.]+ s +[12]\.\d +0\.\d +0\.\d", shown[6])
    assert shown[7] == "total"
    assert shown[8].split()[:5] == ["3", "2", "2", "2", "2"]
    assert shown[-1] == "/m: per minute, mean over the last 5 full minutes and the present one."


def test_each_is_a_row_at_140_columns(filled: Deployment) -> None:
    shown = lines(seen(filled, "queues", width=140, code=0))

    assert max(map(len, shown)) <= 140
    assert shown[0].split()[:3] == ["plugin/queue/job", "waiting", "delayed"]
    row = next(line for line in shown[1:] if line.startswith("plugin/queue/job"))
    assert row.split()[1:6] == ["2"] * 5


def test_json(filled: Deployment) -> None:
    said = document(cli(filled, "queues", "--json"))
    wechat, plain = said["queues"]

    assert (wechat["plugin_name"], wechat["queue_name"], wechat["job_name"]) == (
        LONG,
        "wechat.outbound",
        "send-message",
    )
    assert wechat["states"] == {"waiting": 1, "delayed": 0, "active": 0, "completed": 0, "failed": 0}
    assert plain["oldest_wait"] <= wechat["oldest_wait"]
    assert 10 / 6 <= plain["per_minute"]["added"] <= 2
    assert 2 / 6 - 0.001 <= plain["per_minute"]["failed"] <= 2 / 5
    assert said["total"]["states"]["waiting"] == 3
    assert said["total"]["oldest_wait"] == plain["oldest_wait"]


def test_rates_are_left_out_for_a_tenant(filled: Deployment) -> None:
    (line,) = document(cli(filled, "queues", "--json", "--tenant", "t"))["queues"]
    text = cli(filled, "queues", "--no-tenant", "--plugin", "plugin").stdout

    assert line["states"] == dict.fromkeys(STATES, 1)
    assert line["per_minute"] is None
    assert "added/m" not in text
    assert "Rates are of all tenants together, so they are left out." in text
    assert LONG not in text


def test_interval_is_for_a_watch(deployment: Deployment) -> None:
    done = cli(deployment, "queues", "--interval", "1")

    assert (done.returncode, done.stdout) == (2, "")
    assert "--watch" in done.stderr.splitlines()[-1]


def test_nothing_there(deployment: Deployment) -> None:
    text = " ".join(cli(deployment, "queues").stdout.split())

    assert text.startswith(f"There are no jobs under the prefix {deployment.prefix} on redis://")
    assert text.endswith("Nor were there any in the last minutes.")
    assert document(cli(deployment, "queues", "--json"))["queues"] == []
