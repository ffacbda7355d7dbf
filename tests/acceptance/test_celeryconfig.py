"""A deployment's Celery settings: the repository's own file, and which file is read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from celery.app.defaults import NAMESPACES, flatten

from tests.acceptance.conftest import DeploymentFactory
from tests.acceptance.deployment import Deployment
from tests.acceptance.nodes import ROOT, environment

SHOW = """
import json
from xpert_mq import app
names = ("worker_concurrency", "worker_prefetch_multiplier", "task_soft_time_limit", "task_default_queue")
print(json.dumps({name: app.conf[name] for name in names}))
"""


def shown(deployment: Deployment, **env: str) -> dict[str, Any]:
    done = deployment.python("-c", SHOW, **env)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def write(deployment: Deployment, text: str, name: str = "celeryconfig.py") -> None:
    (deployment.folder / name).write_text(text)


def test_repository_file_names_real_settings_only() -> None:
    known = {name for name, _ in flatten(NAMESPACES)}
    names: dict[str, Any] = {}
    text = (ROOT / "celeryconfig.py").read_text()
    exec(compile(text, "celeryconfig.py", "exec"), names)
    set_ones = {name for name in names if name.islower() and not name.startswith("_")} - {"xpert_mq_deployment"}
    # Those that are only shown, each as a comment that can be taken in as it is.
    shown_ones = {
        line.removeprefix("# ").partition(" = ")[0]
        for line in text.splitlines()
        if line.startswith("# ") and " = " in line and line[2:].partition(" = ")[0].isidentifier()
    }

    assert names["xpert_mq_deployment"] is True
    assert set_ones <= known
    assert shown_ones
    assert shown_ones <= known, shown_ones - known


@pytest.mark.parametrize("taken_in", [False, True], ids=["as it is", "with every comment taken in"])
def test_repository_file_works(deployment: Deployment, taken_in: bool) -> None:
    lines = (ROOT / "celeryconfig.py").read_text().splitlines()
    if taken_in:
        lines = [
            line.removeprefix("# ") if line[2:].partition(" = ")[0].isidentifier() and " = " in line else line
            for line in lines
        ]
    write(deployment, "\n".join(lines))
    worker = deployment.worker(pool="prefork")

    assert deployment.run("echo", 1).return_value["data"] == 1
    assert worker.terminate() == 0


def test_repository_file_changes_no_default(deployment: Deployment, deploy: DeploymentFactory, tmp_path: Path) -> None:
    without = shown(deployment)
    write(deployment, (ROOT / "celeryconfig.py").read_text())

    assert shown(deployment) == without


def test_file_that_declares_itself_is_read(deployment: Deployment) -> None:
    write(deployment, "xpert_mq_deployment = True\nworker_concurrency = 7\ntask_soft_time_limit = 5\n")

    found = shown(deployment)

    assert (found["worker_concurrency"], found["task_soft_time_limit"]) == (7, 5)
    assert found["worker_prefetch_multiplier"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "worker_concurrency = 7\nraise SystemExit('run')\n",
        "xpert_mq_deployment = False\nraise SystemExit('run')\n",
        "'xpert_mq_deployment = True'\n# xpert_mq_deployment = True\nraise SystemExit('run')\n",
        "def f():\n    xpert_mq_deployment = True\nraise SystemExit('run')\n",
        "this is no Python\n",
        "s = '\\xff'\n\x00",
    ],
    ids=["silent", "false", "in a text", "in a function", "broken", "binary"],
)
def test_file_of_another_application_is_not_run(deployment: Deployment, text: str) -> None:
    write(deployment, text)

    assert shown(deployment)["worker_concurrency"] == 1


def test_file_in_another_encoding_is_left_alone(deployment: Deployment) -> None:
    (deployment.folder / "celeryconfig.py").write_bytes(b"# -*- coding: latin-1 -*-\nname = '\xe9'\n")

    assert shown(deployment)["worker_concurrency"] == 1


def test_variable_names_another_module(deployment: Deployment) -> None:
    write(deployment, "xpert_mq_deployment = True\nworker_concurrency = 7\n")
    write(deployment, "worker_concurrency = 9\n", "other.py")

    assert shown(deployment, XPERT_MQ_CELERY_CONFIG="other")["worker_concurrency"] == 9


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("worker_concurrency = \n", "can't be read: invalid syntax"),
        ("import no_such_module\n", "No module named 'no_such_module'"),
        ("raise ValueError('a typing error')\n", "ValueError: a typing error"),
        ("broker_url = 'redis://:pw@elsewhere/0'\n", "sets broker_url"),
        ("result_backend = 'rpc://'\n", "sets result_backend"),
        ("task_acks_late = False\n", "sets task_acks_late"),
    ],
)
def test_wrong_file_ends_the_worker_with_a_clear_line(deployment: Deployment, text: str, said: str) -> None:
    write(deployment, "xpert_mq_deployment = True\n" + text)

    done = deployment.celery("worker", "-P", "solo")

    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert "celeryconfig" in last
    assert said in last
    assert ":pw@" not in done.stderr


def test_missing_module_ends_the_worker_with_a_clear_line(deployment: Deployment) -> None:
    done = deployment.celery("worker", "-P", "solo", XPERT_MQ_CELERY_CONFIG="nowhere.settings")

    assert done.returncode != 0
    assert "nowhere.settings can't be imported" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "setting",
    [
        "broker_transport_options = {'visibility_timeout': 30}",
        "control_exchange = 'celery'",
        "event_exchange = 'celeryev'",
        "task_always_eager = True",
        "task_default_exchange = 'x'",
        "task_create_missing_queues = True",
        "result_serializer = 'pickle'",
        "broker_connection_max_retries = 1",
        "worker_direct = True",
        "imports = ('json',)",
        "task_ignore_result = True",
        "task_track_started = True",
        "task_reject_on_worker_lost = True",
        "worker_pool = 'threads'",
        "task_default_rate_limit = '100/s'",
        "worker_deduplicate_successful_tasks = True",
        "task_annotations = {'*': {'rate_limit': '100/s'}}",
        "result_extended = True",
        "task_send_sent_event = True",
        "worker_disable_prefetch = True",
        "broker_pool_limit = 0",
        "enable_utc = False",
        "task_compression = 'gzip'",
        "worker_cancel_long_running_tasks_on_connection_loss = True",
    ],
)
@pytest.mark.slow
def test_any_other_setting_is_refused_or_harmless(deployment: Deployment, setting: str) -> None:
    write(deployment, f"xpert_mq_deployment = True\n{setting}\n")
    name = setting.partition(" ")[0]
    refused = deployment.python("-c", "from xpert_mq import app; app.conf.worker_concurrency")
    if refused.returncode:
        assert f"sets {name}" in refused.stderr
        return
    deployment.worker("-E", pool="prefork")

    done = deployment.run("fail", {"times": 1, "how": "plain"}, attempts=2, tenant_id="t-1")
    pinged = deployment.celery("inspect", "ping")

    assert (done.state, done.attempts_made) == ("completed", 2)
    assert "pong" in pinged.stdout
    assert not [key for key in deployment.service.get_redis().scan_iter("*celery*") if b":" not in key]


def test_settings_that_are_wrong_end_the_worker_with_a_clear_line(deployment: Deployment) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "xpert_mq", "worker"],
        env=environment(XPERT_MQ_REDIS_URL="http://:pw@x", MANAGED_QUEUE_CONCURRENCY="many"),
        cwd=deployment.folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode != 0
    assert "XPERT_MQ_REDIS_URL: must start with redis://" in done.stderr
    assert "MANAGED_QUEUE_CONCURRENCY" in done.stderr
    assert "pw@" not in done.stderr
