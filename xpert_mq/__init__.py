"""Managed queues: background jobs for plugins of multi-tenant platforms, on Celery.

Names are loaded on first use: importing the package opens no connection and imports neither Celery nor a web framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xpert_mq.celery import app
    from xpert_mq.context import ApiKey, ApiPrincipal, RequestContext, current_context, request_context
    from xpert_mq.errors import (
        Defer,
        HandlerNotFoundError,
        InvalidHandlerError,
        InvalidJobError,
        JobIdConflictError,
        ManagedQueueError,
        PluginLoadError,
        QueueUnavailableError,
        ScopeMismatchError,
        SettingsError,
        StalledJobError,
        UnrecoverableError,
    )
    from xpert_mq.handlers import ManagedQueueJob, PluginJobProcessor, plugin_job_processor, registry
    from xpert_mq.models import CancelResult, EnqueueResult, JobContext, JobSnapshot, PoolHealth
    from xpert_mq.plugins import MANAGED_QUEUE_SERVICE_TOKEN, PluginContext
    from xpert_mq.service import ManagedQueueService, managed_queue
    from xpert_mq.settings import Settings

_MODULES = {
    "celery": ("app",),
    "context": ("ApiKey", "ApiPrincipal", "RequestContext", "current_context", "request_context"),
    "errors": (
        "Defer",
        "HandlerNotFoundError",
        "InvalidHandlerError",
        "InvalidJobError",
        "JobIdConflictError",
        "ManagedQueueError",
        "PluginLoadError",
        "QueueUnavailableError",
        "ScopeMismatchError",
        "SettingsError",
        "StalledJobError",
        "UnrecoverableError",
    ),
    "handlers": ("ManagedQueueJob", "PluginJobProcessor", "plugin_job_processor", "registry"),
    "models": ("CancelResult", "EnqueueResult", "JobContext", "JobSnapshot", "PoolHealth"),
    "plugins": ("MANAGED_QUEUE_SERVICE_TOKEN", "PluginContext"),
    "service": ("ManagedQueueService", "managed_queue"),
    "settings": ("Settings",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "MANAGED_QUEUE_SERVICE_TOKEN",
    "ApiKey",
    "ApiPrincipal",
    "CancelResult",
    "Defer",
    "EnqueueResult",
    "HandlerNotFoundError",
    "InvalidHandlerError",
    "InvalidJobError",
    "JobContext",
    "JobIdConflictError",
    "JobSnapshot",
    "ManagedQueueError",
    "ManagedQueueJob",
    "ManagedQueueService",
    "PluginContext",
    "PluginJobProcessor",
    "PluginLoadError",
    "PoolHealth",
    "QueueUnavailableError",
    "RequestContext",
    "ScopeMismatchError",
    "Settings",
    "SettingsError",
    "StalledJobError",
    "UnrecoverableError",
    "app",
    "current_context",
    "managed_queue",
    "plugin_job_processor",
    "registry",
    "request_context",
]


def __getattr__(name: str) -> Any:
    module = _HOMES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
