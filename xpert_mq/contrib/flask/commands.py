"""`flask managed-jobs …`: jobs and workers of the application's queue."""

from __future__ import annotations

import inspect
import os
from typing import Any

import click
from flask import Flask
from flask.cli import ScriptInfo

from xpert_mq.cli import Commands
from xpert_mq.cli.act import cancel, retry
from xpert_mq.cli.health import health
from xpert_mq.cli.jobs import list_, show, watch
from xpert_mq.cli.queues import queues
from xpert_mq.cli.worker import worker as platform_worker
from xpert_mq.contrib.flask.configuration import environment_of
from xpert_mq.service import managed_queue
from xpert_mq.settings import get_settings

#: Not imported here: it loads the application.
_PLUGIN = "xpert_mq.contrib.flask.worker"


@click.group("managed-jobs", cls=Commands)
def managed_jobs() -> None:
    """Look after the managed queue's jobs, and run workers."""


def _run_worker(**options: Any) -> None:
    script: ScriptInfo = click.get_current_context().ensure_object(ScriptInfo)
    os.environ.update(_environment(script.load_app(), script.app_import_path))
    # As it will be read by the worker that this process becomes.
    get_settings.cache_clear()
    assert platform_worker.callback is not None
    platform_worker.callback(**options)


def _environment(app: Flask, path: str | None) -> dict[str, str]:
    """What a worker needs to come to the same application, with the same settings."""
    env = environment_of(app.config)
    plugins = [_PLUGIN, *managed_queue.settings.plugins]
    if path is not None:
        env["FLASK_APP"] = path
    return {**env, "XPERT_MQ_PLUGINS": ",".join(plugins)}


worker = click.Command(
    "worker",
    callback=_run_worker,
    params=platform_worker.params,
    context_settings=platform_worker.context_settings,
    options_metavar=platform_worker.options_metavar,
    help=f"Run a worker for the handlers of the application, of its blueprints and of XPERT_MQ_PLUGINS.\n\n"
    f"{inspect.cleandoc(platform_worker.help or '')}",
    short_help="Run a worker.",
)

for command in (list_, show, watch, cancel, retry, queues, health, worker):
    managed_jobs.add_command(command)
