"""What crosses a boundary: the validated input, the envelope and options kept with a job, and the results.

Everything here is a frozen dataclass with slots and not a pydantic model: `enqueue` builds three of them per call.
"""

from __future__ import annotations

import json
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache, lru_cache
from math import inf
from typing import Any, Final, Literal, NamedTuple, TypedDict, TypeVar

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from xpert_mq.errors import InvalidJobError

JobState = Literal["waiting", "delayed", "active", "completed", "failed"]

MAX_NAME_LENGTH: Final = 200
"""Characters of a plugin, queue or job name, after trimming."""
MAX_ID_LENGTH: Final = 300
"""Characters of a job id, and of the ids of tenant, organization, scope and user."""
MAX_DURATION_MS: Final = 100 * 366 * 24 * 3600 * 1000
"""A century, in milliseconds. Due times then stay far below 2**53, where Lua's numbers stop being exact."""
MAX_COUNT: Final = 2**53 - 1
"""The largest count or number of attempts; Lua's numbers are exact up to here."""


class Backoff(TypedDict):
    """How long a retry waits: `delay` in milliseconds, always or doubling."""

    type: Literal["fixed", "exponential"]
    delay: int


class Retention(TypedDict, total=False):
    """How long a finished job is kept: `age` in seconds, `count` jobs; a missing one sets no bound."""

    age: float
    count: int


Keep = bool | int | Retention
"""`True` removes at once, `False` never, a number keeps that many."""


# --- What is wrong with a value, in words -----------------------------------------------------------------------------

_shortly = reprlib.Repr()
_shortly.maxlevel = 2
_shortly.maxdict = _shortly.maxlist = _shortly.maxtuple = _shortly.maxset = 2
_shortly.maxstring = _shortly.maxother = 60


def _kind(value: object) -> str:
    """The type and a short text of a value; never more, since it may be a payload in the wrong place."""
    if value is None:
        return "None"
    try:
        shown = _shortly.repr(value)
    except Exception:  # noqa: BLE001 - a foreign __repr__, or an integer with more digits than Python prints
        return f"a value of type {type(value).__name__}"
    return f"{type(value).__name__} {shown}"


def _key_shown(key: object) -> str:
    return _shortly.repr(key) if isinstance(key, str) else _kind(key)


def _snake(spelling: str) -> str:
    """`delayMs` and `backoffMs.delay` as the field's own name: `delay_ms`, `backoff_ms`."""
    return re.sub(r"(?<=.)[A-Z]", r"_\g<0>", spelling.partition(".")[0]).lower()


def _camel(name: str) -> str:
    """`delay_ms` as `delayMs`."""
    return re.sub(r"_([a-z])", lambda lower: lower[1].upper(), name)


def _wrong(spelling: str, said: str) -> InvalidJobError:
    return InvalidJobError(f"{spelling} {said}", field=_snake(spelling))


# --- One function per kind of field: (the caller's spelling, the value) -> the value to keep --------------------------

_FORBIDDEN_IN_NAMES = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean_name(spelling: str, value: object) -> str:
    """A plugin, queue or job name: trimmed, 1 to 200 characters, no control characters.

    Raises:
        InvalidJobError: says what is wrong, with `spelling` in snake_case as its field.
    """
    if not isinstance(value, str):
        if value is None:
            raise _wrong(spelling, f"is required: give it text of 1 to {MAX_NAME_LENGTH} characters")
        raise _wrong(spelling, f"must be text, not {_kind(value)}")
    name = str.__str__(value).strip()  # the plain text of a StrEnum, too
    if not name:
        raise _wrong(spelling, f"must not be blank: give it text of 1 to {MAX_NAME_LENGTH} characters")
    if len(name) > MAX_NAME_LENGTH:
        raise _wrong(spelling, f"must have at most {MAX_NAME_LENGTH} characters, not {len(name)}: {_kind(name)}")
    if not name.isprintable() and (bad := _FORBIDDEN_IN_NAMES.search(name)):
        what = f"U+{ord(bad[0]):04X} at position {bad.start()} of {_kind(name)}"
        raise _wrong(spelling, f"must not contain control characters or lone surrogates: {what}")
    return name


def _text(spelling: str, value: object) -> str:
    """Text that can be stored as it is: any characters but lone surrogates, at most 300 of them."""
    if type(value) is str and len(value) <= MAX_ID_LENGTH and value.isascii():
        return value
    if not isinstance(value, str):
        raise _wrong(spelling, f"must be text, not {_kind(value)}")
    if len(value) > MAX_ID_LENGTH:
        raise _wrong(spelling, f"must have at most {MAX_ID_LENGTH} characters, not {len(value)}: {_kind(value)}")
    if bad := _SURROGATES.search(value):
        raise _wrong(spelling, f"must not contain lone surrogates: U+{ord(bad[0]):04X} at position {bad.start()}")
    return str.__str__(value)


def _job_id(spelling: str, value: object) -> str | None:
    """Any text, as it is; none at all (or an empty one) asks for a fresh id."""
    return None if value is None else _text(spelling, value) or None


def _job_id_given(spelling: str, value: object) -> str:
    job_id = _job_id(spelling, value)
    if job_id is None:
        raise _wrong(spelling, f"is required: give it the id of a job, not {_kind(value)}")
    return job_id


def _owner(spelling: str, value: object) -> str | None:
    """The id of a tenant, organization, scope or user, or None."""
    if value is None:
        return None
    owner = _text(spelling, value)
    if not owner or owner.isspace():
        raise _wrong(spelling, f"must not be blank: give it an id, or None for none, not {_kind(value)}")
    return owner


def _pool(spelling: str, value: object) -> str:
    """An execution pool's name; whether it is declared is the settings' to know."""
    return "default" if value is None else clean_name(spelling, value)


def _payload(_: str, value: object) -> object:
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _milliseconds(spelling: str, value: Any) -> int:
    """A finite duration; fractions are cut, and what is below zero counts as zero."""
    if type(value) is int and 0 <= value <= MAX_DURATION_MS:
        return value
    if not _is_number(value) or not -inf < value < inf:
        raise _wrong(spelling, f"must be a finite number of milliseconds, not {_kind(value)}")
    if value > MAX_DURATION_MS:
        raise _wrong(spelling, f"must be at most {MAX_DURATION_MS} ms (a century), not {_kind(value)}")
    return int(value) if value > 0 else 0


def _delay(spelling: str, value: object) -> int:
    return 0 if value is None else _milliseconds(spelling, value)


def _whole(spelling: str, value: Any, least: int) -> int:
    """A whole number; 3.0 is one, since JSON and JavaScript know no other kind."""
    if type(value) is int and least <= value <= MAX_COUNT:
        return value
    whole = _is_number(value) and (isinstance(value, int) or value.is_integer())
    if not whole or not least <= value <= MAX_COUNT:
        raise _wrong(spelling, f"must be a whole number from {least} to {MAX_COUNT}, not {_kind(value)}")
    return int(value)


def _attempts(spelling: str, value: object) -> int:
    return 1 if value is None else _whole(spelling, value, 1)


def _backoff(spelling: str, value: object) -> Backoff | None:
    """A number is a fixed delay (BullMQ's shorthand); a mapping names type and delay."""
    if value is None:
        return None
    if _is_number(value):
        return {"type": "fixed", "delay": _not_negative_ms(spelling, value)}
    right = 'a number of milliseconds or {"type": "fixed" or "exponential", "delay": milliseconds}'
    given = _parts(spelling, value, ("type", "delay"), right)
    if missing := {"type", "delay"} - given.keys():
        raise _wrong(spelling, f"lacks {' and '.join(map(repr, sorted(missing)))}; it must be {right}")
    kind = given["type"]
    if not isinstance(kind, str) or kind not in ("fixed", "exponential"):
        raise _wrong(f"{spelling}.type", f'must be "fixed" or "exponential", not {_kind(kind)}')
    delay = _not_negative_ms(f"{spelling}.delay", given["delay"])
    return {"type": "fixed" if kind == "fixed" else "exponential", "delay": delay}


def _not_negative_ms(spelling: str, value: Any) -> int:
    delay = _milliseconds(spelling, value)
    if value < 0:
        raise _wrong(spelling, f"must be at least 0 ms, not {_kind(value)}")
    return delay


def _keep(spelling: str, value: object) -> Keep:
    """What happens to a finished job: True, False, a count, or bounds for age and count."""
    if isinstance(value, bool):
        return value
    if _is_number(value):
        return _whole(spelling, value, 0)
    right = 'True, False, a count, or {"age": seconds, "count": n} with either or both'
    given = _parts(spelling, value, ("age", "count"), right)
    kept: Retention = {}
    if given.get("age") is not None:
        kept["age"] = _age(f"{spelling}.age", given["age"])
    if given.get("count") is not None:
        kept["count"] = _whole(f"{spelling}.count", given["count"], 0)
    if not kept:
        raise _wrong(spelling, f"says neither age nor count; it must be {right}")
    return kept


def _age(spelling: str, value: Any) -> float:
    """Seconds, fractions included; whole ones stay integers, so that they read as they were given."""
    if not _is_number(value) or not 0 <= value < inf:
        raise _wrong(spelling, f"must be a finite number of seconds, at least 0, not {_kind(value)}")
    if value > MAX_DURATION_MS // 1000:
        said = f"must be at most {MAX_DURATION_MS // 1000} s (a century), not {_kind(value)}"
        raise _wrong(spelling, f"{said}; {spelling.partition('.')[0]}=False keeps for ever")
    return int(value) if value == int(value) else float(value)


def _parts(spelling: str, value: object, known: tuple[str, ...], right: str) -> Mapping[Any, Any]:
    """The entries of a small mapping (or model), none of them unknown."""
    given = _mapping_of(value)
    if given is None:
        raise _wrong(spelling, f"must be {right}, not {_kind(value)}")
    for key in given:
        if key not in known:
            close = _closest(str(key), known)
            raise _wrong(
                spelling, f"has no part {_key_shown(key)}; the closest known one is {close!r}. It must be {right}"
            )
    return given


def _keep_completed(spelling: str, value: object) -> Keep:
    return _completed_default() if value is None else _keep(spelling, value)


def _keep_failed(spelling: str, value: object) -> Keep:
    return _failed_default() if value is None else _keep(spelling, value)


def _completed_default() -> Keep:
    return {"age": 24 * 3600, "count": 5000}


def _failed_default() -> Keep:
    return {"age": 7 * 24 * 3600, "count": 5000}


# --- From keywords, mappings and models to checked fields -------------------------------------------------------------

Check = Callable[[str, Any], object]


def _spellings(checks: Mapping[str, Check]) -> dict[str, tuple[str, Check]]:
    """Every spelling of every field, with the field's own name and its check: one look-up per given field."""
    return {spelling: (name, check) for name, check in checks.items() for spelling in (name, _camel(name))}


_REQUEST_FIELDS: Final = _spellings(
    {
        "plugin_name": clean_name,
        "queue_name": clean_name,
        "job_name": clean_name,
        "payload": _payload,
        "tenant_id": _owner,
        "organization_id": _owner,
        "scope_key": _owner,
        "user_id": _owner,
        "job_id": _job_id,
        "delay_ms": _delay,
        "attempts": _attempts,
        "backoff_ms": _backoff,
        "remove_on_complete": _keep_completed,
        "remove_on_fail": _keep_failed,
        "execution_pool": _pool,
    }
)
_REF_FIELDS: Final = _spellings({"job_id": _job_id_given, "tenant_id": _owner})


def _closest(spelling: str, known: Iterable[str]) -> str:
    """The known spelling most like this one, whatever the case and underscores; there always is one."""
    bare = {name.replace("_", "").lower(): name for name in known}
    found = get_close_matches(spelling.replace("_", "").lower(), bare, n=1, cutoff=0.0)[0]
    name = _snake(bare[found])
    return _camel(name) if any(letter.isupper() for letter in spelling) else name


def _mapping_of(value: object) -> Mapping[Any, Any] | None:
    """A mapping's, pydantic model's or dataclass instance's fields by name; None for anything else."""
    if isinstance(value, (dict, Mapping)):  # dict first: it is the usual one, and far cheaper to ask for
        return value
    if isinstance(value, BaseModel):
        return {_known_name(type(value), name): part for name, part in value}
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: getattr(value, part.name) for part in fields(value)}
    return None


def _known_name(model: type[BaseModel], name: str) -> str:
    """A model's field by its own name, or by its alias where only that is one of ours."""
    info = model.model_fields.get(name)
    return info.alias if info and info.alias in _REQUEST_FIELDS and name not in _REQUEST_FIELDS else name


def _unknown(spelling: object, table: Iterable[str]) -> InvalidJobError:
    close = _closest(str(spelling), table)
    said = f"unknown field {_key_shown(spelling)}; the closest known one is {close!r}"
    return InvalidJobError(said, field=_snake(spelling) if isinstance(spelling, str) else None)


def _read(table: Mapping[str, tuple[str, Check]], given: Mapping[Any, Any], values: dict[str, Any]) -> None:
    """Check the given fields one by one and add them to `values` under their own names."""
    for spelling, value in given.items():
        entry = table.get(spelling)
        if entry is None:
            raise _unknown(spelling, table)
        name, check = entry
        if name in values:
            both = "in both spellings, or in the mapping and as a keyword"
            raise _wrong(spelling, f"is given twice ({both}); give it once")
        values[name] = check(spelling, value)


def _read_call(table: Mapping[str, tuple[str, Check]], request: object, keywords: dict[str, Any]) -> dict[str, Any]:
    """The fields of one call by their own names, from a mapping or model, from keywords, or from both."""
    values: dict[str, Any] = {}
    if request is not None:
        given = _mapping_of(request)
        if given is None:
            right = "keywords, a mapping, a pydantic model or a dataclass"
            raise InvalidJobError(f"a job is described by {right}, not by {_kind(request)}")
        _read(table, given, values)
    if keywords:
        _read(table, keywords, values)
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What `enqueue` was asked for. `parse` checks and completes it; the constructor trusts its caller."""

    plugin_name: str
    queue_name: str
    job_name: str
    payload: Any = None
    tenant_id: str | None = None
    organization_id: str | None = None
    scope_key: str | None = None
    user_id: str | None = None
    job_id: str | None = None
    delay_ms: int = 0
    attempts: int = 1
    backoff_ms: Backoff | None = None
    remove_on_complete: Keep = field(default_factory=_completed_default)
    remove_on_fail: Keep = field(default_factory=_failed_default)
    execution_pool: str = "default"

    @classmethod
    def parse(cls, request: object = None, /, **keywords: Any) -> JobRequest:
        """Check one call, given as keywords, as a mapping, or as a model; in snake_case or camelCase.

        The payload is taken as it is (encoding checks it), and so is the pool's name (the settings know the pools).
        None stands for a field's default, required names excepted.

        Raises:
            InvalidJobError: says what is wrong and what would be right; `field` is the field in snake_case.
        """
        values = _read_call(_REQUEST_FIELDS, request, keywords)
        for name in ("plugin_name", "queue_name", "job_name"):
            if name not in values:
                given = [*(_mapping_of(request) or ()), *keywords]
                in_camel = any(isinstance(key, str) and key != key.lower() for key in given)
                clean_name(_camel(name) if in_camel else name, None)
        return cls(**values)

    def options(self) -> JobOptions:
        """What is kept of it as the job's options."""
        return JobOptions(self.attempts, self.delay_ms, self.backoff_ms, self.remove_on_complete, self.remove_on_fail)


class JobRef(NamedTuple):
    """Which job is meant: its id, and the tenant where the caller named one."""

    job_id: str
    tenant_id: str | None


def parse_job_ref(ref: object = None, tenant_id: str | None = None, /, **keywords: Any) -> JobRef:
    """Read what `cancel`, `get_job` and `retry` accept.

    That is `("id")`, `("id", "tenant")`, `("id", tenant_id=…)`, `(job_id=…)` and `({"jobId": …, "tenantId": …})`, with
    keywords in either case.

    Raises:
        InvalidJobError: no id, one that is no text, or an unknown field.
    """
    given = {"job_id": ref} if isinstance(ref, str) else _mapping_of(ref)
    if given is None and ref is not None:
        raise _wrong("job_id", f"must be text, or a mapping with jobId and tenantId, not {_kind(ref)}")
    if tenant_id is not None:
        given = {**(given or {}), "tenant_id": tenant_id}
    values = _read_call(_REF_FIELDS, given, keywords)
    return JobRef(values.get("job_id") or _job_id_given("job_id", None), values.get("tenant_id"))


# --- What is kept with a job, as JSON ---------------------------------------------------------------------------------

_encode = json.JSONEncoder(separators=(",", ":"), default=to_jsonable_python).encode
_T = TypeVar("_T")


@cache
def _wire_names(cls: Any) -> tuple[tuple[str, str], ...]:
    return tuple((part.name, _camel(part.name)) for part in fields(cls))


def _dump(part: Any) -> dict[str, Any]:
    """A dataclass under its camelCase names, without what is None or the default pool."""
    return _given({wire: getattr(part, name) for name, wire in _wire_names(part.__class__)})


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {wire: value for wire, value in fields.items() if value is not None and (wire, value) != _DEFAULT_POOL}


#: Of an envelope, under its camelCase name.
_DEFAULT_POOL: Final = ("executionPool", "default")


def _load(cls: Callable[..., _T], data: Mapping[str, Any]) -> _T:
    """The reverse. Names of a later release are ignored, so that nodes of two releases can share a queue."""
    return cls(**{name: data[wire] for name, wire in _wire_names(cls) if wire in data})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who enqueued: a user, a user on whose behalf an API client called, or a client by itself."""

    user_id: str | None = None
    tenant_id: str | None = None
    organization_id: str | None = None
    type: Literal["user", "delegated_user", "service"] = "user"


@dataclass(frozen=True, slots=True)
class DelegatedKey:
    """An API key without its token."""

    type: str | None = None
    entity_id: str | None = None
    tenant_id: str | None = None
    organization_id: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True)
class Delegation:
    """The API principal that enqueued, without any token."""

    principal_type: str | None = None
    api_key: DelegatedKey | None = None
    owner_user_id: str | None = None
    api_key_user_id: str | None = None
    requested_user_id: str | None = None
    requested_organization_id: str | None = None
    extra: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A job's routing and owner, written once when it is enqueued. `enqueued_at` is in ms of the server's clock."""

    plugin_name: str
    queue_name: str
    job_name: str
    tenant_id: str | None = None
    organization_id: str | None = None
    scope_key: str | None = None
    user_id: str | None = None
    execution_pool: str = "default"
    actor: Actor | None = None
    delegation: Delegation | None = None
    enqueued_at: int | None = None

    def to_json(self) -> str:
        """Compact ASCII JSON in camelCase, without what is the default."""
        if self.actor is None and self.delegation is None:
            return _route_json(*(getattr(self, name) for name in _ROUTE))
        data = _dump(self)
        if self.actor is not None:
            data["actor"] = _dump(self.actor)
        if self.delegation is not None:
            data["delegation"] = delegation = _dump(self.delegation)
            if self.delegation.api_key is not None:
                delegation["apiKey"] = _dump(self.delegation.api_key)
        return _encode(data)

    @classmethod
    def from_json(cls, text: str | bytes) -> Envelope:
        """Read what `to_json` wrote, unchecked."""
        return cls.load(json.loads(text))

    @classmethod
    def load(cls, data: dict[str, Any]) -> Envelope:
        """`from_json` of a text that is decoded already. Takes the dictionary over."""
        if (actor := data.get("actor")) is not None:
            data["actor"] = _load(Actor, actor)
        if (delegation := data.get("delegation")) is not None:
            if (api_key := delegation.get("apiKey")) is not None:
                delegation["apiKey"] = _load(DelegatedKey, api_key)
            data["delegation"] = _load(Delegation, delegation)
        return _load(cls, data)


@dataclass(frozen=True, slots=True)
class JobOptions:
    """A job's options, with defaults filled in; as attributes, or by name as in a mapping: `opts["attempts"]`."""

    attempts: int = 1
    delay_ms: int = 0
    backoff_ms: Backoff | None = None
    remove_on_complete: Keep = field(default_factory=_completed_default)
    remove_on_fail: Keep = field(default_factory=_failed_default)

    def __getitem__(self, name: str) -> Any:
        if name not in _OPTION_NAMES:
            raise KeyError(name)
        return getattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in _OPTION_NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(_OPTION_NAMES)

    def keys(self) -> tuple[str, ...]:
        """The options' names; with this, `dict(opts)` works."""
        return _OPTION_NAMES

    def get(self, name: str, default: Any = None) -> Any:
        """The option of that name, or the default if there is no such option."""
        return getattr(self, name) if name in _OPTION_NAMES else default

    def backoff_before(self, retry: int) -> int:
        """Milliseconds to wait before the n-th retry (from 1). Exponential: delay times 2**(n-1), as in BullMQ."""
        if self.backoff_ms is None:
            return 0
        delay = self.backoff_ms["delay"]
        if self.backoff_ms["type"] == "fixed" or retry <= 1:
            return delay
        return min(delay << min(retry - 1, 64), MAX_DURATION_MS)  # 64 doublings are beyond the limit for any delay

    def to_json(self) -> str:
        """Compact JSON in camelCase, without what is the default."""
        kept = _limits_json(
            self.attempts,
            _hashable(self.backoff_ms),
            _hashable(self.remove_on_complete),
            _hashable(self.remove_on_fail),
        )
        if not self.delay_ms:
            return kept
        return f'{{"delayMs":{self.delay_ms}{"," if len(kept) > 2 else ""}{kept[1:]}'

    @classmethod
    def load(cls, data: dict[str, Any]) -> JobOptions:
        """Read what `to_json` wrote, decoded and unchecked."""
        return _load(cls, data)


# Most jobs share all but their times with many others, and encoding costs more than all the rest of describing one: so
# what they share is encoded once.

_ROUTE: Final = tuple(part.name for part in fields(Envelope) if part.name not in ("actor", "delegation", "enqueued_at"))


@lru_cache(maxsize=1024)
def _route_json(*values: str | None) -> str:
    return _encode(_given({_camel(name): value for name, value in zip(_ROUTE, values, strict=True)}))


@lru_cache(maxsize=1024, typed=True)
def _limits_json(attempts: int, backoff_ms: object, remove_on_complete: object, remove_on_fail: object) -> str:
    kept = {
        "attempts": attempts,
        "removeOnComplete": remove_on_complete,
        "removeOnFail": remove_on_fail,
        "backoffMs": backoff_ms,
    }
    given = {name: dict(value) if isinstance(value, tuple) else value for name, value in kept.items()}
    # Most jobs have the defaults, and would keep them many times. A release that changes one changes the format.
    return _encode({name: value for name, value in given.items() if value != _DEFAULT_LIMITS[name]})


_DEFAULT_LIMITS: Final = {
    "attempts": 1,
    "removeOnComplete": _completed_default(),
    "removeOnFail": _failed_default(),
    "backoffMs": None,
}


def _hashable(value: object) -> object:
    return tuple(value.items()) if isinstance(value, dict) else value


_OPTION_NAMES: Final = tuple(part.name for part in fields(JobOptions))


# --- Results ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EnqueueResult:
    """`created` is False when the id was already kept; `state` is the job's at that moment."""

    job_id: str
    created: bool
    state: JobState


@dataclass(frozen=True, slots=True)
class CancelResult:
    """What became of a `cancel` or `retry`.

    Without success, `reason` is the state that stood against it, or `not_found`.
    """

    success: bool
    job_id: str
    state: JobState | None = None
    reason: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PoolHealth:
    """Live workers that consume an execution pool, by their heartbeats; `warning` says what is wrong, if anything."""

    execution_pool: str
    available: bool
    worker_count: int
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class JobContext:
    """Whose job a handler runs, and which logical job it is."""

    plugin_name: str
    queue_name: str
    job_name: str
    scope_key: str | None = None
    tenant_id: str | None = None
    organization_id: str | None = None
    user_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSnapshot:
    """A job as its record was when read; a new snapshot has to be taken to see changes.

    `name` is the job name, `data` the payload as last checkpointed, times are milliseconds since 1970 by Redis' clock.
    `processed_on` is the start of the latest try, `attempts_made` counts ended tries, `stacktrace` has one text per
    failed try (the last 10), and `failed_reason` is the message of the latest failed one.
    """

    id: str
    name: str
    data: Any
    attempts_made: int
    opts: JobOptions
    state: JobState
    failed_reason: str | None = None
    stacktrace: list[str] = field(default_factory=list)
    return_value: Any = None
    timestamp: int
    processed_on: int | None = None
    finished_on: int | None = None
    plugin_name: str
    queue_name: str
    tenant_id: str | None = None
    organization_id: str | None = None
    scope_key: str | None = None
    user_id: str | None = None
