"""Which jobs have been enqueued: assertions that say how the closest one differs."""

from __future__ import annotations

import contextlib
import difflib
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from xpert_mq.errors import InvalidJobError
from xpert_mq.inspector import Inspector
from xpert_mq.models import JobRequest, JobSnapshot
from xpert_mq.payload import decode_payload, encode_payload
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.listing import JobFilter

_OPTIONS: Final = ("delay_ms", "attempts", "backoff_ms", "remove_on_complete", "remove_on_fail")
_NAMES: Final = ("plugin_name", "queue_name", "job_name")
_OWNERS: Final = ("tenant_id", "organization_id", "scope_key", "user_id")
_FIELDS: Final = (*_NAMES, "payload", *_OWNERS, "job_id", *_OPTIONS, "execution_pool", "state")
_PAYLOAD_LIMIT: Final = 2**31

#: Characters of a value that are shown, where it has more than twice as many.
_SHOWN: Final = 100


@dataclass(frozen=True, slots=True)
class _Enqueued:
    snapshot: JobSnapshot
    fields: Mapping[str, Any]

    @property
    def logical(self) -> str:
        return "/".join(self.fields[name] for name in _NAMES)


class EnqueuedJobs:
    """Asserts what has been enqueued and is kept: of all tenants, in every state, the oldest first.

    A job counts that waits for a commit only after it, and one that is removed when it ends (`remove_on_complete=True`)
    only until then.
    """

    def __init__(self, service: ManagedQueueService) -> None:
        self._service = service

    def __call__(self, **expected: Any) -> JobSnapshot:
        """The one job with these fields. AssertionError, with the differences, if there is none or more than one.

        Args:
            expected: fields of `enqueue`, by their names in snake_case and in any form that `enqueue` takes; and
                `state`. Values that compare equal to anything (`unittest.mock.ANY`) match so.
        """
        __tracebackhide__ = True
        found = self.all(**expected)
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(repr(job.id) for job in found)
            raise AssertionError(f"{len(found)} jobs were enqueued with {_shown(expected)}, not one: {ids}")
        raise AssertionError(_missing(expected, list(self._jobs())))

    def all(self, **expected: Any) -> list[JobSnapshot]:
        """All jobs with these fields."""
        _check(expected)
        return [job.snapshot for job in self._jobs() if not _differences(expected, job.fields)]

    def none(self, **expected: Any) -> None:
        """No job has these fields."""
        __tracebackhide__ = True
        found = self.all(**expected)
        if found:
            jobs = "".join(f"\n  {job.id!r} ({job.state}): payload {_short(job.data)}" for job in found)
            raise AssertionError(f"{len(found)} jobs were enqueued with {_shown(expected) or 'any fields'}:{jobs}")

    def _jobs(self) -> Iterator[_Enqueued]:
        listed = sorted(Inspector(self._service).each(JobFilter()), key=lambda job: (job.timestamp, job.id))
        calls = [self._service.store.read(job.envelope.tenant_id, job.id) for job in listed]
        for record in self._service.executor.run_many(calls):
            if record is not None:
                yield _Enqueued(record.snapshot, _fields(record.snapshot, record.envelope.execution_pool))


def _fields(job: JobSnapshot, pool: str) -> dict[str, Any]:
    owners = {name: getattr(job, name) for name in (*_OWNERS, "plugin_name", "queue_name")}
    options = {name: job.opts[name] for name in _OPTIONS}
    ours = {"job_name": job.name, "payload": job.data, "job_id": job.id, "execution_pool": pool, "state": job.state}
    return {**owners, **options, **ours}


def _check(expected: Mapping[str, Any]) -> None:
    for name in expected:
        if name not in _FIELDS:
            close = difflib.get_close_matches(name, _FIELDS, n=1)
            raise TypeError(f"jobs have no field {name!r}; {f'did you mean {close[0]!r}?' if close else _FIELDS}")


def _differences(expected: Mapping[str, Any], fields: Mapping[str, Any]) -> list[str]:
    """One line for each value that differs, by its path."""
    found: list[str] = []
    for name, value in expected.items():
        if value != fields[name]:
            found += _compared(name, _as_kept(name, value), fields[name])
    return found


def _as_kept(name: str, value: Any) -> Any:
    """The expected value as a record would have it; as it is where that is not its form."""
    if name == "payload":
        return _payload_as_kept(value)
    if name in _OPTIONS:
        given: dict[str, Any] = {**dict.fromkeys(_NAMES, "-"), name: value}
        with contextlib.suppress(InvalidJobError):
            return getattr(JobRequest.parse(given), name)
    return value


def _payload_as_kept(value: Any) -> Any:
    try:
        return decode_payload(encode_payload(value, _PAYLOAD_LIMIT))
    except InvalidJobError:
        # Something in it only compares, as `ANY` does.
        if isinstance(value, dict):
            return {name: _payload_as_kept(part) for name, part in value.items()}
        if isinstance(value, (list, tuple)):
            return [_payload_as_kept(part) for part in value]
        return value


def _compared(path: str, expected: Any, found: Any) -> list[str]:
    if expected == found:
        return []
    if isinstance(expected, dict) and isinstance(found, dict):
        names = [*expected, *(name for name in found if name not in expected)]
        pairs = [(f"{path}.{name}", expected.get(name, _Absent), found.get(name, _Absent)) for name in names]
    elif isinstance(expected, list) and isinstance(found, list):
        longest = max(len(expected), len(found))
        pairs = [(f"{path}[{index}]", _at(expected, index), _at(found, index)) for index in range(longest)]
    else:
        return [f"{path}: {_told(expected, found)}"]
    return [line for pair in pairs for line in _compared(*pair)]


class _Absent:
    """There is no such value."""


def _at(values: list[Any], index: int) -> Any:
    return values[index] if index < len(values) else _Absent


def _told(expected: Any, found: Any) -> str:
    skipped = 0
    if isinstance(expected, str) and isinstance(found, str):
        # Of long texts that begin alike, what differs.
        alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(expected, found, strict=False))
        skipped = max(0, len(list(alike)) - _SHOWN // 2)
    return f"expected {_value(expected, skipped)}, got {_value(found, skipped)}"


def _value(value: Any, skipped: int = 0) -> str:
    if value is _Absent:
        return "nothing"
    return f"…{_short(value[skipped:])}" if skipped else _short(value)


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 2 * _SHOWN else f"{shown[:_SHOWN]}… ({len(shown)} characters)"


def _missing(expected: Mapping[str, Any], jobs: list[_Enqueued]) -> str:
    said = f"no job was enqueued with {_shown(expected)}"
    if not jobs:
        return f"{said}; none was enqueued at all"
    closest = min(jobs, key=lambda job: _distance(expected, job))
    lines = [said, f"  closest is {closest.snapshot.id!r} of {closest.logical} ({closest.snapshot.state}):"]
    lines += [f"    {line}" for line in _differences(expected, closest.fields)]
    others = Counter(job.logical for job in jobs if job is not closest)
    lines += [f"  also enqueued: {count} of {logical}" for logical, count in others.items()]
    return "\n".join(lines)


def _distance(expected: Mapping[str, Any], job: _Enqueued) -> tuple[int, int, int]:
    """Fields that differ, the names before all others; then how little their values have in common; then how many
    values differ.
    """
    differing = [name for name, value in expected.items() if _differences({name: value}, job.fields)]
    alike = sum(_likeness(_as_kept(name, expected[name]), job.fields[name]) for name in differing)
    return sum(100 if name in _NAMES else 1 for name in differing), -alike, len(_differences(expected, job.fields))


def _likeness(expected: Any, found: Any) -> int:
    """How many places, types and values the two have in common."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return 1 + sum(1 + _likeness(value, found[name]) for name, value in expected.items() if name in found)
    if isinstance(expected, list) and isinstance(found, list):
        return 1 + sum(1 + _likeness(*pair) for pair in zip(expected, found, strict=False))
    return int(type(expected) is type(found)) + int(expected == found)


def _shown(expected: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={_short(value)}" for name, value in expected.items())
