from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

from xpert_mq import errors
from xpert_mq.errors import (
    Defer,
    HandlerNotFoundError,
    InvalidJobError,
    JobIdConflictError,
    ManagedQueueError,
    QueueUnavailableError,
    ScopeMismatchError,
    StalledJobError,
    UnrecoverableError,
)

SAMPLES: list[Exception] = [
    ManagedQueueError("said"),
    InvalidJobError("said", field="job_id"),
    InvalidJobError("said").at(3),
    JobIdConflictError("id", "t", ("p", "q", "j")),
    ScopeMismatchError("tenant_id", "a", "b").at(0),
    HandlerNotFoundError("p", "q", "j", "scope"),
    StalledJobError("said"),
    UnrecoverableError("said"),
    QueueUnavailableError("redis://host", "away", job_id="id", may_have_been_added=True),
    Defer(1500.9),
]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("way", ["pickle", "copy"])
def test_error_travels_between_processes(error: Exception, way: str) -> None:
    again: Any = pickle.loads(pickle.dumps(error)) if way == "pickle" else copy.copy(error)

    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


def test_errors_have_one_root() -> None:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, BaseException)]

    assert [kind for kind in kinds if not issubclass(kind, ManagedQueueError)] == [Defer]
    assert all(kind.__doc__ for kind in kinds)


def test_errors_are_what_python_calls_them() -> None:
    assert issubclass(InvalidJobError, ValueError)
    assert issubclass(errors.SettingsError, ValueError)
    assert issubclass(errors.InvalidHandlerError, TypeError)


def test_error_at_names_the_index() -> None:
    error = InvalidJobError("attempts must be more", field="attempts")

    assert error.index is None
    again = error.at(7)
    assert again is error
    assert (again.index, again.field, str(again)) == (7, "attempts", "jobs[7]: attempts must be more")


def test_conflict_says_who_keeps_the_id() -> None:
    error = JobIdConflictError("id-1", None, ("p", "q", "j"))

    assert (error.job_id, error.tenant_id, error.holder) == ("id-1", None, ("p", "q", "j"))
    assert "id-1" in str(error)
    assert "p/q/j" in str(error)


@pytest.mark.parametrize(("may", "said"), [(False, "was not carried out"), (True, "may or may not")])
def test_unavailable_says_what_may_have_happened(may: bool, said: str) -> None:
    error = QueueUnavailableError("redis://h:1/0", "away", job_id="id", may_have_been_added=may)

    assert (error.server, error.job_id, error.may_have_been_added) == ("redis://h:1/0", "id", may)
    assert said in str(error)
    assert "redis://h:1/0" in str(error)


def test_unavailable_without_a_job() -> None:
    error = QueueUnavailableError("redis://h:1/0", "away")

    assert (error.job_id, error.may_have_been_added) == (None, False)
    assert "job" not in str(error)


@pytest.mark.parametrize(("delay", "cut"), [(0, 0), (5, 5), (1.9, 1)])
def test_defer_cuts_fractions(delay: float, cut: int) -> None:
    assert Defer(delay).delay_ms == cut
    assert Defer().delay_ms == 0


@pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), True, "5", None])
def test_defer_refuses(delay: Any) -> None:
    with pytest.raises(InvalidJobError, match="delay_ms"):
        Defer(delay)


def test_defer_is_no_error_of_the_queue() -> None:
    assert not issubclass(Defer, ManagedQueueError)
    assert issubclass(Defer, Exception)
