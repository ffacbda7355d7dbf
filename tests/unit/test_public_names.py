from __future__ import annotations

import inspect
from typing import Any

import pytest

import xpert_mq

#: As the contract names them.
PROMISED = (
    "managed_queue",
    "registry",
    "ManagedQueueService",
    "plugin_job_processor",
    "PluginJobProcessor",
    "ManagedQueueJob",
    "JobContext",
    "RequestContext",
    "request_context",
    "current_context",
    "EnqueueResult",
    "CancelResult",
    "JobSnapshot",
    "PoolHealth",
    "PluginContext",
    "MANAGED_QUEUE_SERVICE_TOKEN",
    "ApiPrincipal",
    "ApiKey",
    "ManagedQueueError",
    "InvalidJobError",
    "JobIdConflictError",
    "ScopeMismatchError",
    "HandlerNotFoundError",
    "StalledJobError",
    "UnrecoverableError",
    "Defer",
    "QueueUnavailableError",
    "app",
)

VERBS = ("enqueue", "enqueue_many", "cancel", "get_job", "retry", "get_redis")


@pytest.mark.parametrize("name", PROMISED)
def test_name_is_promised_and_there(name: str) -> None:
    assert name in xpert_mq.__all__
    assert getattr(xpert_mq, name) is not None


def test_names_are_sorted_and_all_there() -> None:
    assert len(set(xpert_mq.__all__)) == len(xpert_mq.__all__)
    assert sorted(xpert_mq.__all__) == dir(xpert_mq)
    for name in xpert_mq.__all__:
        assert getattr(xpert_mq, name) is getattr(xpert_mq, name)


def test_names_known_to_type_checkers_and_at_run_time_agree() -> None:
    source = inspect.getsource(xpert_mq)
    checked = source.partition("if TYPE_CHECKING:")[2].partition("_MODULES = ")[0]

    assert set(xpert_mq._HOMES) == set(xpert_mq.__all__)
    for name in xpert_mq.__all__:
        assert name in checked


def test_name_unknown() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = xpert_mq.no_such_name


def test_alias_is_the_same() -> None:
    assert xpert_mq.PluginJobProcessor is xpert_mq.plugin_job_processor


def test_star_import_gives_all() -> None:
    names: dict[str, Any] = {}
    exec("from xpert_mq import *", names)

    assert set(xpert_mq.__all__) <= set(names)


@pytest.mark.parametrize("verb", VERBS)
def test_verb_has_an_async_twin_with_the_same_parameters(verb: str) -> None:
    method = getattr(xpert_mq.ManagedQueueService, verb)
    twin = getattr(xpert_mq.ManagedQueueService, f"a{verb}")

    assert inspect.signature(method).parameters == inspect.signature(twin).parameters
    assert inspect.iscoroutinefunction(twin)
    assert not inspect.iscoroutinefunction(method)
    assert method.__doc__
    assert twin.__doc__


def test_public_methods_and_classes_are_documented() -> None:
    for name in xpert_mq.__all__:
        value = getattr(xpert_mq, name)
        if inspect.isclass(value):
            assert value.__doc__, name
            for method_name, method in inspect.getmembers(value, inspect.isfunction):
                if not method_name.startswith("_") and method.__module__.startswith("xpert_mq"):
                    assert method.__doc__, f"{name}.{method_name}"
