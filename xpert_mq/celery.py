"""The platform's Celery application.

It lives beside the host's: it is never current, reads no Celery variables of the environment and no configuration but
its own, and all of its keys carry the platform's prefix. `celery -A xpert_mq …` finds it.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from celery import Celery, _state, signals
from celery.app.registry import TaskRegistry
from celery.loaders.app import AppLoader
from celery.result import AsyncResult
from celery.utils.imports import cwd_in_path
from kombu import Connection, Exchange, Queue

from xpert_mq.context import effective_tenant
from xpert_mq.dispatch import DispatchTask
from xpert_mq.errors import InvalidJobError, SettingsError
from xpert_mq.handlers import registry
from xpert_mq.logs import TEXT_FORMAT
from xpert_mq.models import JobRequest
from xpert_mq.plugins import load_plugins
from xpert_mq.running import running
from xpert_mq.service import managed_queue
from xpert_mq.settings import Settings
from xpert_mq.store import TASK_NAME
from xpert_mq.transport import Platform
from xpert_mq.worker.bootsteps import MaintenanceStep

#: Looked for where XPERT_MQ_CELERY_CONFIG names no module; read only if it declares itself.
CONFIG_MODULE = "celeryconfig"
DECLARATION = "xpert_mq_deployment"

#: What a deployment's configuration can't change, since records and scripts depend on it; and where it is decided.
_OURS = {
    "broker_url": "XPERT_MQ_REDIS_URL",
    "broker_read_url": "XPERT_MQ_REDIS_URL",
    "broker_write_url": "XPERT_MQ_REDIS_URL",
    "broker_transport": "XPERT_MQ_REDIS_URL",
    "broker_use_ssl": "XPERT_MQ_REDIS_URL",
    "result_backend": "XPERT_MQ_REDIS_URL",
    "task_default_queue": "MANAGED_QUEUE_PREFIX",
    "task_queues": "XPERT_MQ_POOLS",
    "task_serializer": "the platform (JSON)",
    "accept_content": "the platform (JSON)",
    "task_protocol": "the platform (2)",
    "task_acks_late": "the platform (always)",
}


class Loader(AppLoader):
    """Reads the platform's configuration, and loads the plugins in a worker."""

    def read_configuration(self, env: str = "") -> dict[str, Any]:
        """The package's defaults under the deployment's settings; variables of other applications are not asked."""
        settings = managed_queue.settings
        return {**defaults(settings), **deployment_config(settings)}

    def on_worker_init(self) -> None:
        """Before the pool starts: children inherit what is loaded here."""
        _import_from_here()
        load_plugins(managed_queue.settings, registry)
        _keep_host_current()
        running.share()


class Registry(TaskRegistry):
    """Holds the platform's task and Celery's own. The host's shared tasks, offered to every application, stay the
    host's.
    """

    def __setitem__(self, name: str, task: Any) -> None:
        if name == TASK_NAME or name.startswith("celery."):
            super().__setitem__(name, task)


class PlatformCelery(Celery):
    """The application class. There is one application, `app`."""

    loader_cls = "xpert_mq.celery:Loader"
    backend_cls = "xpert_mq.backend:RecordBackend"
    registry_cls = Registry
    log_cls = "xpert_mq.logs:Logging"

    @cached_property
    def Worker(self) -> Any:  # noqa: N802 # Celery's name
        """The worker program, made for this application."""
        return self.subclass_with_self("xpert_mq.worker.program:PlatformWorker")

    def connection_for_read(self, url: str | None = None, **kwargs: Any) -> Connection:
        """To the platform's Redis, whatever the URL says."""
        return self._platform_connection(**kwargs)

    def connection_for_write(self, url: str | None = None, **kwargs: Any) -> Connection:
        """To the platform's Redis, whatever the URL says."""
        return self._platform_connection(**kwargs)

    def _platform_connection(
        self, heartbeat: float | None = None, transport_options: dict[str, Any] | None = None, **_: Any
    ) -> Connection:
        settings = managed_queue.settings
        keys = managed_queue.store.keys
        options = {
            "unacked_key": keys.unacked,
            "unacked_index_key": keys.unacked_index,
            "unacked_mutex_key": keys.unacked_mutex,
            "platform": Platform(
                settings.redis_url,
                settings.enqueue_timeout,
                keys,
                frozenset(settings.queue_name(pool) for pool in settings.pools),
                managed_queue.store.fetch_script,
                managed_queue.store.give_back_script,
            ),
        }
        return Connection(
            settings.safe_redis_url,
            transport="xpert_mq.transport:Transport",
            transport_options={**self.conf.broker_transport_options, **(transport_options or {}), **options},
            connect_timeout=settings.enqueue_timeout,
            heartbeat=heartbeat,
        )

    def send_task(self, name: str, args: Any = None, kwargs: Any = None, **options: Any) -> AsyncResult:
        """`celery call xpert_mq.dispatch --kwargs=…`: enqueues the job that the keywords describe."""
        if name != TASK_NAME or args:
            raise InvalidJobError(
                f"this application only takes {TASK_NAME}, with a job as its keywords, not {name}{args or ''}"
            )
        delay = {"delay_ms": options["countdown"] * 1000} if options.get("countdown") else {}
        job = JobRequest.parse(kwargs, **delay)
        result = managed_queue.enqueue(job)
        call = managed_queue.store.read(effective_tenant(job.tenant_id), result.job_id)
        record = managed_queue.executor.run(call)
        return AsyncResult(record.task_id() if record else result.job_id, app=self)


def defaults(settings: Settings) -> dict[str, Any]:
    """The package's Celery settings; the repository's `celeryconfig.py` explains those that a deployment may change."""
    queues = [settings.queue_name(pool) for pool in settings.pools]
    return {
        "task_default_queue": settings.queue_name("default"),
        "task_queues": [Queue(name, Exchange(""), routing_key=name) for name in queues],
        "task_create_missing_queues": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "result_serializer": "json",
        "result_cache_max": -1,
        # The backend keeps no state; Celery would make one for each thread, and for each job under gevent.
        "result_backend_thread_safe": True,
        "task_acks_late": True,
        "worker_concurrency": settings.concurrency,
        "worker_prefetch_multiplier": 1,
        "worker_log_format": TEXT_FORMAT,
        "worker_task_log_format": TEXT_FORMAT,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "control_exchange": f"{settings.prefix}:control",
        "event_exchange": f"{settings.prefix}:events",
        "event_queue_prefix": f"{settings.prefix}:celeryev",
    }


def deployment_config(settings: Settings) -> dict[str, Any]:
    """The settings of the deployment's own configuration module, where there is one.

    Raises:
        SettingsError: it can't be imported, or sets what it can't change.
    """
    named = settings.celery_config
    with cwd_in_path():
        if named is None and not _declares_itself(CONFIG_MODULE):
            return {}
        module = _imported(named or CONFIG_MODULE)
    found = {name: value for name, value in vars(module).items() if not name.startswith("_") and name.islower()}
    found = {name: value for name, value in found.items() if not isinstance(value, ModuleType) and name != DECLARATION}
    for name in found:
        if name in _OURS:
            raise SettingsError(
                f"{module.__name__} sets {name}, which is not its to decide but is set by {_OURS[name]}"
            )
    return found


def _declares_itself(name: str) -> bool:
    """Whether the module has `xpert_mq_deployment = True`. Looks at its text: another application's must not even be
    run.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return False
    text = Path(spec.origin).read_bytes()
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        if DECLARATION.encode() not in text:
            return False
        raise SettingsError(f"{name} ({spec.origin}) can't be read: {error}") from error
    return any(ast.unparse(statement) == f"{DECLARATION} = True" for statement in tree.body)


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise SettingsError(
            f"the Celery configuration {name} can't be imported: {type(error).__name__}: {error}"
        ) from error


def _keep_host_current() -> None:
    """The host's Celery application, where it has one, stays the current one: handlers may call its shared tasks."""
    own = _state._tls.current_app or _state.default_app
    if own is None or own is app:
        return

    def put_back(**_: Any) -> None:
        # A worker makes its application the current one of all threads.
        own.set_current()
        own.set_default()

    for signal in (signals.worker_ready, signals.worker_process_init):
        signal.connect(put_back, weak=False)


def _import_from_here() -> None:
    """As a script does: plugins, and what they import later, may lie where the worker was started."""
    if (folder := os.getcwd()) not in sys.path:
        sys.path.insert(0, folder)


def _own_command() -> click.Context | None:
    """`celery -A xpert_mq …`, if this process runs it. Another application's command may import this module, too."""
    current = click.get_current_context(silent=True)
    return current if current is not None and str(current.params.get("app")).startswith(__package__) else None


def _refuse_broker_options(current: click.Context) -> None:
    """Refuses `celery -b …` and `--result-backend`: one Redis serves broker, records and plugins."""
    for option in ("broker", "result_backend"):
        if current.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE:
            # Not by an exception, which Celery would show as a failure to load the application.
            said = f"--{option.replace('_', '-')} has no effect here: XPERT_MQ_REDIS_URL names the platform's Redis"
            click.echo(f"Error: {said}", err=True)
            sys.exit(2)


def _set_up_django() -> None:
    """A worker of a Django project takes its settings and handlers from there, before the first setting is read."""
    if os.environ.get("DJANGO_SETTINGS_MODULE"):
        _import_from_here()
        importlib.import_module("xpert_mq.contrib.django.worker").set_up(app)


if command := _own_command():
    _refuse_broker_options(command)

# No fix-up of Celery's: the one for Django would make this the host's default application, and close its connections.
app = PlatformCelery("xpert_mq", set_as_current=False, fixups=[])
# What a worker node does besides running jobs.
app.steps["consumer"].add(MaintenanceStep)
if command:
    # Before the task reads the configuration.
    _set_up_django()
app.register_task(DispatchTask())
