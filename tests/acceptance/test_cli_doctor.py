"""`xpert-mq doctor`: the server, the pools, the settings, the warnings; and never a password."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from tests.acceptance.conftest import DeploymentFactory
from tests.acceptance.deployment import Deployment
from tests.acceptance.test_cli import CLI, PASSWORD, STYLE, WIDTHS, cli, document, lines, seen
from tests.conftest import ServerFactory


@pytest.fixture
def kept(server_factory: ServerFactory, deploy: DeploymentFactory) -> Deployment:
    """A platform on a server as it should be, with a password."""
    return deploy(server_factory(password=PASSWORD, appendonly=True))


@pytest.mark.parametrize("width", WIDTHS)
def test_tables(kept: Deployment, width: int) -> None:
    kept.enqueue("echo")
    kept.enqueue("echo", delay_ms=60_000, execution_pool="sandbox-browser")

    text = seen(kept, "doctor", width=width, code=0)
    shown = lines(text)

    assert max(map(len, shown)) <= width
    assert PASSWORD not in text
    assert any(re.match(r"server       (Valkey|Redis) \d+\.\d+\.\d+, master$", line) for line in shown)
    assert any(re.match(r"memory       .* MiB used, .* maxmemory-policy noeviction$", line) for line in shown)
    assert any(re.match(r"persistence  append-only file, fsync everysec", line) for line in shown)
    assert any(re.match(r"round trip   \d+\.\d\d ms at best, \d+\.\d\d ms median$", line) for line in shown)
    assert any(re.match(r"clock        [+-]\d+ ms from this machine's$", line) for line in shown)
    pools = [line.split() for line in shown[shown.index("Execution pools") :]]
    assert next(words for words in pools if words[:1] == ["default"])[-3:] == ["1", "1", "0"]
    assert next(words for words in pools if words[:1] == ["sandbox-browser"])[-3:] == ["0", "0", "1"]
    settings = [line.split() for line in shown[shown.index("Settings") :]]
    assert ["MANAGED_QUEUE_SANDBOX_BROWSER_CONCURRENCY", "1", "default"] in settings
    assert ["MANAGED_QUEUE_CONCURRENCY", "1", "environment"] in settings
    assert shown[-1] == "No warnings."


def test_json_and_where_values_come_from(kept: Deployment) -> None:
    (kept.folder / ".env").write_text("XPERT_MQ_MAX_STALLED=3\nMANAGED_QUEUE_CONCURRENCY=7\nOTHER=1\n")

    done = cli(kept, "doctor", "--json", XPERT_MQ_NODE_TIMEOUT="")
    said = document(done)
    settings = {one["name"]: (one["value"], one["source"]) for one in said["settings"]}

    assert done.returncode == 0
    assert said["warnings"] == []
    assert said["error"] is None
    assert settings["XPERT_MQ_MAX_STALLED"] == ("3", ".env")
    assert settings["MANAGED_QUEUE_CONCURRENCY"] == ("1", "environment")
    assert settings["XPERT_MQ_NODE_TIMEOUT"] == ("30", "default")
    assert settings["XPERT_MQ_REDIS_URL"] == (f"redis://127.0.0.1:{kept.server.port}/0", "environment")
    assert settings["XPERT_MQ_POOLS"] == ("default,sandbox-browser", "default")
    assert PASSWORD not in done.stdout
    assert said["server"]["append_only"] is True
    assert 0 < said["server"]["ping_min_ms"] <= said["server"]["ping_median_ms"]
    assert abs(said["server"]["clock_difference_ms"]) < 1000
    assert [pool["queue"] for pool in said["pools"]] == [
        f"{kept.prefix}:plugin-jobs",
        f"{kept.prefix}:plugin-jobs-sandbox-browser",
    ]


@pytest.mark.parametrize("binary", ["valkey", "redis"])
def test_warnings(server_factory: ServerFactory, deploy: DeploymentFactory, binary: str) -> None:
    careless = server_factory(binary=binary, config={"maxmemory-policy": "allkeys-lru", "maxmemory": "100mb"})
    deployment = deploy(careless)

    done = cli(deployment, "doctor")
    said = document(cli(deployment, "doctor", "--json"))

    assert done.returncode == 1
    assert said["server"]["kind"] == binary
    policy, persistence = said["warnings"]
    assert "allkeys-lru" in policy
    assert "appendonly" in persistence
    assert done.stdout.splitlines()[-3:] == ["Warnings", f"- {policy}", f"- {persistence}"]


def test_what_access_rules_forbid_is_not_told(kept: Deployment) -> None:
    url = f"redis://low:{PASSWORD}2@127.0.0.1:{kept.server.port}/0"
    rules: Any = kept.service.get_redis().execute_command
    rules("ACL", "SETUSER", "low", "on", f">{PASSWORD}2", "~test:*", "+@all", "-@dangerous")

    done = cli(kept, "doctor", XPERT_MQ_REDIS_URL=url)

    assert done.returncode == 1
    assert "server       not told" in lines(done.stdout)
    assert "INFO" in done.stdout.splitlines()[-1]
    assert PASSWORD not in done.stdout + done.stderr


def test_redis_away_or_closed_to_us(kept: Deployment) -> None:
    port = kept.server.port
    urls = {
        f"redis://:{PASSWORD}@127.0.0.1:1/0": "refused",
        f"redis://:wrong-{PASSWORD}@127.0.0.1:{port}/0": "password",
        f"redis://127.0.0.1:{port}/0": "Authentication",
    }
    for url, reason in urls.items():
        done = cli(kept, "doctor", XPERT_MQ_REDIS_URL=url)
        said = document(cli(kept, "doctor", "--json", XPERT_MQ_REDIS_URL=url))

        assert done.returncode == 2
        assert reason in done.stderr
        assert "XPERT_MQ_REDIS_URL" in done.stdout
        assert "of the environment" in done.stderr
        assert "Traceback" not in done.stderr
        assert said["server"] is None
        assert reason in said["error"]
        assert PASSWORD not in done.stdout + done.stderr + json.dumps(said)


def test_message_of_a_cancelled_job_is_explained(kept: Deployment) -> None:
    first = kept.enqueue("echo")
    before = cli(kept, "doctor").stdout
    kept.service.cancel(first)

    after = cli(kept, "doctor")

    explained = "Messages beyond the waiting jobs are left over from cancelled ones."
    assert explained not in before
    assert explained in after.stdout
    assert after.returncode == 0


def test_variable_that_nobody_reads(kept: Deployment) -> None:
    (kept.folder / ".env").write_text("XPERT_MQ_PREFIX=7\nOTHER=1\n")
    typo = {"XPERT_MQ_REDIS_ULR": f"redis://:{PASSWORD}@host/0", "XPERT_MQ_zzz": "1"}

    done = cli(kept, "doctor", **typo)
    away = cli(kept, "doctor", "--json", **typo, XPERT_MQ_REDIS_URL="redis://127.0.0.1:1/0")

    assert done.returncode == 1
    assert done.stdout.splitlines()[-4:] == [
        "Warnings",
        "- 'XPERT_MQ_REDIS_ULR' in the environment is no setting, so nobody reads it; did you mean XPERT_MQ_REDIS_URL?",
        "- 'XPERT_MQ_zzz' in the environment is no setting, so nobody reads it",
        "- 'XPERT_MQ_PREFIX' in the .env is no setting, so nobody reads it; did you mean MANAGED_QUEUE_PREFIX?",
    ]
    assert PASSWORD not in done.stdout
    assert away.returncode == 2
    assert len(document(away)["warnings"]) == 3


def test_server_that_hangs_is_given_up_in_time(kept: Deployment) -> None:
    kept.server.freeze()
    try:
        started = time.monotonic()
        done = cli(kept, "doctor", XPERT_MQ_ENQUEUE_TIMEOUT="0.5")
    finally:
        kept.server.thaw()

    assert done.returncode == 2
    assert time.monotonic() - started < 10


def test_wrong_setting(deployment: Deployment) -> None:
    done = cli(deployment, "doctor", XPERT_MQ_REDIS_URL=f"http://:{PASSWORD}@nowhere", MANAGED_QUEUE_CONCURRENCY="0")

    assert (done.returncode, done.stdout) == (2, "")
    assert "XPERT_MQ_REDIS_URL: must start with redis://" in done.stderr
    assert "MANAGED_QUEUE_CONCURRENCY" in done.stderr
    assert PASSWORD not in done.stderr


def test_colours_are_for_terminals_that_want_them(deployment: Deployment) -> None:
    assert STYLE.search(seen(deployment, "doctor", width=80))
    assert not STYLE.search(seen(deployment, "doctor", width=80, NO_COLOR="1"))
    assert "\x1b" not in cli(deployment, "doctor", NO_COLOR="").stdout


def test_celery_is_not_imported(deployment: Deployment) -> None:
    done = deployment.python("-X", "importtime", *CLI, "doctor")

    assert not re.search(r"\| +(celery|kombu)$", done.stderr, re.MULTILINE)
