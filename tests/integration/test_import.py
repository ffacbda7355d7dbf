"""What importing and first using the package does to a process: as little as possible."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import ServiceFactory
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.service import ManagedQueueService

ROOT = Path(__file__).parents[2]
NOWHERE = "redis://127.0.0.1:1/0"


def run(code: str, cwd: Path, **environment: str) -> str:
    """Runs code in a process of its own, with warnings as errors; what it prints."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("XPERT_", "MANAGED_", "CELERY"))},
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(cwd)]),
        **environment,
    }
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=env,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_import_opens_no_connection_and_loads_no_framework(tmp_path: Path) -> None:
    run(
        """
import socket, sys
def refuse(*_): raise AssertionError("connects")
socket.socket.connect = refuse
import xpert_mq
from xpert_mq import managed_queue, registry, plugin_job_processor, PluginContext, request_context
heavy = {"celery", "kombu", "django", "flask", "fastapi", "gevent", "hypothesis", "pytest"} & set(sys.modules)
assert not heavy, heavy
dir(xpert_mq)
assert not {"celery", "kombu"} & set(sys.modules)
""",
        tmp_path,
        XPERT_MQ_REDIS_URL=NOWHERE,
    )


def test_import_reads_no_settings(tmp_path: Path) -> None:
    """A wrong setting shows at the first use, and not in every process that imports a plugin."""
    run(
        """
import xpert_mq
from xpert_mq import managed_queue, ManagedQueueService, SettingsError
try:
    managed_queue.get_job("id")
except SettingsError as error:
    assert "MANAGED_QUEUE_PREFIX" in str(error)
else:
    raise AssertionError
""",
        tmp_path,
        MANAGED_QUEUE_PREFIX="not/allowed",
    )


def test_import_app_connects_nowhere(tmp_path: Path) -> None:
    run(
        """
import socket
def refuse(*_): raise AssertionError("connects")
socket.socket.connect = refuse
from xpert_mq import app
assert "xpert_mq.dispatch" in app.tasks
""",
        tmp_path,
        XPERT_MQ_REDIS_URL=NOWHERE,
    )


def test_enqueue_leaves_the_host_s_application_alone(
    server: EmbeddedServer, service: ManagedQueueService, tmp_path: Path
) -> None:
    run(
        """
import celery
host = celery.Celery("host", broker="memory://", backend="cache+memory://")
host.conf.task_default_queue = "host-queue"

@celery.shared_task(name="host.shared")
def shared():
    return 1

host.finalize()
def state():
    return celery.current_app._get_current_object() is host, dict(host.conf), sorted(host.tasks), shared.app is host
before = state()
import asyncio
from xpert_mq import managed_queue, app
job = dict(plugin_name="p", queue_name="q", job_name="j", job_id="id")
assert managed_queue.enqueue(job).created
assert not asyncio.run(managed_queue.aenqueue(job)).created
assert managed_queue.cancel("id").success
assert app.conf.task_default_queue.startswith("test:")
assert "host.shared" not in app.tasks
assert before == state(), state()
assert celery.current_app.conf.task_default_queue == "host-queue"
managed_queue.close()
""",
        tmp_path,
        XPERT_MQ_REDIS_URL=server.url,
        MANAGED_QUEUE_PREFIX=service.settings.prefix,
    )


def test_enqueue_without_a_host_s_application_makes_none_current(
    server: EmbeddedServer, service: ManagedQueueService, tmp_path: Path
) -> None:
    run(
        """
from xpert_mq import managed_queue
managed_queue.enqueue(plugin_name="p", queue_name="q", job_name="j")
managed_queue.close()
import celery, celery._state
assert celery._state._tls.current_app is None
assert celery._state.default_app is None
""",
        tmp_path,
        XPERT_MQ_REDIS_URL=server.url,
        MANAGED_QUEUE_PREFIX=service.settings.prefix,
    )


@pytest.mark.parametrize("module", ["host_settings", "no_such_module"])
def test_enqueue_never_runs_the_host_s_celery_configuration(
    server: EmbeddedServer, service: ManagedQueueService, tmp_path: Path, module: str
) -> None:
    """`CELERY_CONFIG_MODULE`, and a `celeryconfig` that does not declare itself, belong to another application."""
    for name in ("host_settings", "celeryconfig"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the host configuration was run')")

    run(
        """
import asyncio
from xpert_mq import managed_queue
job = dict(plugin_name="p", queue_name="q", job_name="j")
assert managed_queue.enqueue(job).created
managed_queue.close()
""",
        tmp_path,
        XPERT_MQ_REDIS_URL=server.url,
        MANAGED_QUEUE_PREFIX=service.settings.prefix,
        CELERY_CONFIG_MODULE=module,
        CELERY_BROKER_URL="redis://127.0.0.1:1/0",
        CELERY_RESULT_BACKEND="redis://127.0.0.1:1/0",
    )


def test_settings_of_the_process_are_used(
    server: EmbeddedServer, service_factory: ServiceFactory, tmp_path: Path
) -> None:
    service = service_factory(server.url)
    (tmp_path / ".env").write_text(f"XPERT_MQ_REDIS_URL={server.url}\nMANAGED_QUEUE_PREFIX={service.settings.prefix}\n")

    run(
        """
from xpert_mq import managed_queue
managed_queue.enqueue(plugin_name="p", queue_name="q", job_name="j", job_id="id")
managed_queue.close()
""",
        tmp_path,
    )

    assert service.get_job("id")
