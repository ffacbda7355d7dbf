from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from xpert_mq.errors import InvalidJobError
from xpert_mq.models import (
    MAX_DURATION_MS,
    Actor,
    DelegatedKey,
    Delegation,
    Envelope,
    JobOptions,
    JobRef,
    JobRequest,
    clean_name,
    parse_job_ref,
)

NAMES: dict[str, Any] = {"plugin_name": "@acme/mail", "queue_name": "mail.outbound", "job_name": "send"}
NAN, INF = float("nan"), float("inf")
DAY_S = 24 * 3600
TEN_YEARS_MS = 3660 * 24 * 3600 * 1000
FULL: dict[str, Any] = {
    **NAMES,
    "payload": {"messageId": "m-1"},
    "tenant_id": "t-1",
    "organization_id": "org-1",
    "scope_key": "org-1",
    "user_id": "u-1",
    "job_id": "mail:m-1",
    "delay_ms": 1000,
    "attempts": 3,
    "backoff_ms": {"type": "fixed", "delay": 60_000},
    "remove_on_complete": {"age": 3600, "count": 50},
    "remove_on_fail": False,
    "execution_pool": "sandbox-browser",
}


def camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def parsed(**fields: Any) -> JobRequest:
    return JobRequest.parse(**NAMES, **fields)


def refused(**fields: Any) -> InvalidJobError:
    with pytest.raises(InvalidJobError) as caught:
        JobRequest.parse(**{**NAMES, **fields})
    return caught.value


class JobModel(BaseModel):
    plugin_name: str = Field(alias="pluginName")
    queueName: str  # noqa: N815 - a model in camelCase
    job: str = Field(alias="jobName")
    payload: Any = None
    delay_ms: int | None = None


@dataclasses.dataclass
class JobRecord:
    plugin_name: str
    queue_name: str
    job_name: str
    payload: Any = None


# --- Spellings --------------------------------------------------------------------------------------------------------


def test_request_keeps_every_field() -> None:
    assert dataclasses.asdict(JobRequest.parse(**FULL)) == FULL


def test_request_reads_the_same_in_every_spelling() -> None:
    in_camel = {camel(name): value for name, value in FULL.items()}
    mixed = {camel(name) if index % 2 else name: value for index, (name, value) in enumerate(FULL.items())}
    expected = JobRequest.parse(**FULL)
    assert JobRequest.parse(**in_camel) == expected
    assert JobRequest.parse(FULL) == expected
    assert JobRequest.parse(in_camel) == expected
    assert JobRequest.parse(mixed) == expected
    assert JobRequest.parse(NAMES, **{name: value for name, value in FULL.items() if name not in NAMES}) == expected
    assert JobRequest.parse(expected) == expected


def test_request_reads_models_and_dataclasses() -> None:
    payload = {"a": [1]}
    expected = parsed(payload=payload)
    model = JobModel.model_validate({**{camel(name): value for name, value in NAMES.items()}, "payload": payload})
    assert JobRequest.parse(model) == expected
    assert JobRequest.parse(JobRecord(**NAMES, payload=payload)) == expected


def test_request_fills_in_defaults_afresh_for_each_call() -> None:
    request = parsed()
    assert dataclasses.asdict(request) == {
        **NAMES,
        "payload": None,
        **dict.fromkeys(("tenant_id", "organization_id", "scope_key", "user_id", "job_id", "backoff_ms")),
        "delay_ms": 0,
        "attempts": 1,
        "remove_on_complete": {"age": DAY_S, "count": 5000},
        "remove_on_fail": {"age": 7 * DAY_S, "count": 5000},
        "execution_pool": "default",
    }
    assert parsed(**{name: None for name in FULL if name not in NAMES}) == request
    assert parsed().remove_on_complete is not request.remove_on_complete


@pytest.mark.parametrize("request_", [[("plugin_name", "p")], "send", 5, JobRecord, b"{}"])
def test_request_that_is_no_mapping_is_refused(request_: object) -> None:
    with pytest.raises(InvalidJobError, match="keywords, a mapping, a pydantic model or a dataclass") as caught:
        JobRequest.parse(request_)
    assert caught.value.field is None


@pytest.mark.parametrize(
    ("given", "keywords"),
    [({"job_id": "a", "jobId": "a"}, {}), ({"jobId": "a"}, {"job_id": "a"}), ({"job_id": "a"}, {"job_id": "a"})],
)
def test_request_with_a_field_given_twice_is_refused(given: dict[str, str], keywords: dict[str, str]) -> None:
    with pytest.raises(InvalidJobError, match="given twice") as caught:
        JobRequest.parse({**NAMES, **given}, **keywords)
    assert caught.value.field == "job_id"


@pytest.mark.parametrize(
    ("unknown", "closest", "field"),
    [
        ("delay", "delay_ms", "delay"),
        ("Delay", "delayMs", "delay"),
        ("removeOnCompleted", "removeOnComplete", "remove_on_completed"),
        ("backoff", "backoff_ms", "backoff"),
        ("queue", "queue_name", "queue"),
        ("TENANT_ID", "tenantId", "t_e_n_a_n_t__i_d"),
        ("", "", ""),
    ],
)
def test_request_with_an_unknown_field_names_it_and_the_closest(unknown: str, closest: str, field: str) -> None:
    error = refused(**{unknown: 1})
    assert f"unknown field {unknown!r}" in str(error)
    assert closest in str(error)
    assert error.field == field


def test_request_with_a_key_that_is_no_text_is_refused() -> None:
    odd: dict[Any, Any] = {1: 2}
    with pytest.raises(InvalidJobError, match="unknown field int 1") as caught:
        JobRequest.parse(odd | NAMES)
    assert caught.value.field is None


@pytest.mark.parametrize("name", NAMES)
def test_request_without_a_name_says_so_in_the_callers_spelling(name: str) -> None:
    rest = {key: value for key, value in NAMES.items() if key != name}
    with pytest.raises(InvalidJobError, match=f"^{name} is required") as caught:
        JobRequest.parse(**rest)
    assert caught.value.field == name
    with pytest.raises(InvalidJobError, match=f"^{camel(name)} is required") as caught:
        JobRequest.parse({camel(key): value for key, value in rest.items()})
    assert caught.value.field == name


def test_request_errors_never_quote_a_whole_value() -> None:
    secret = {"password": "x" * 5000, **{f"key-{index}": "y" * 100 for index in range(100)}}
    for field in ("plugin_name", "tenant_id", "attempts", "delay_ms", "remove_on_fail", "backoff_ms"):
        assert len(str(refused(**{field: [secret] * 50}))) < 500
    assert len(str(refused(**{"z" * 10_000: 1}))) < 500
    assert "int" in str(refused(plugin_name=10**5000))


# --- Names and ids ----------------------------------------------------------------------------------------------------


def test_name_is_trimmed() -> None:
    class Queue(StrEnum):
        MAIL = "mail"

    assert clean_name("queue_name", " \n send 消息 \t") == "send 消息"
    assert clean_name("queue_name", "x" * 200 + " ") == "x" * 200
    assert clean_name("queue_name", "a\u00a0b\u200dc") == "a\u00a0b\u200dc"
    assert type(clean_name("queue_name", Queue.MAIL)) is str


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "must not be blank"),
        (" \t\n", "must not be blank"),
        ("x" * 201, "at most 200 characters, not 201"),
        ("a\x00b", "U\\+0000 at position 1"),
        ("a\nb", "U\\+000A"),
        ("a\x7fb", "U\\+007F"),
        ("a\x85b", "U\\+0085"),
        ("a\ud800b", "U\\+D800"),
        (None, "is required"),
        (5, "must be text, not int 5"),
        (True, "must be text, not bool True"),
        (b"send", "must be text, not bytes"),
    ],
)
@pytest.mark.parametrize("field", NAMES)
def test_name_that_is_wrong_is_refused(field: str, value: object, said: str) -> None:
    for spelling in (field, camel(field)):
        with pytest.raises(InvalidJobError, match=f"^{spelling} .*{said}") as caught:
            clean_name(spelling, value)
        assert caught.value.field == field
    assert refused(**{field: value}).field == field


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300))
def test_job_id_is_any_text(job_id: str) -> None:
    assert parsed(job_id=job_id).job_id == job_id


def test_job_id_that_is_empty_is_none() -> None:
    assert parsed(job_id="").job_id is None
    assert parsed(job_id=" ").job_id == " "


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (5, "must be text, not int 5"),
        (b"a", "must be text, not bytes"),
        (["a"], "not list"),
        ("x" * 301, "at most 300 characters, not 301"),
        ("é" * 301, "at most 300 characters, not 301"),
        ("a\udfff", "lone surrogates: U\\+DFFF at position 1"),
    ],
)
@pytest.mark.parametrize("field", ["job_id", "tenant_id", "organization_id", "scope_key", "user_id"])
def test_id_that_is_wrong_is_refused(field: str, value: object, said: str) -> None:
    with pytest.raises(InvalidJobError, match=said) as caught:
        parsed(**{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize("field", ["tenant_id", "organization_id", "scope_key", "user_id"])
def test_owner_is_kept_as_it_is_unless_blank(field: str) -> None:
    assert getattr(parsed(**{field: " a:b "}), field) == " a:b "
    for blank in ("", "  ", "\n"):
        assert "must not be blank" in str(refused(**{field: blank}))


def test_execution_pool_is_a_name() -> None:
    assert parsed(execution_pool=" gpu ").execution_pool == "gpu"
    for wrong in ("", 5, "a\nb"):
        assert refused(execution_pool=wrong).field == "execution_pool"


# --- Numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (0, 0),
        (-5, 0),
        (-0.5, 0),
        (0.9, 0),
        (1, 1),
        (1.9, 1),
        (TEN_YEARS_MS, TEN_YEARS_MS),
        (float(TEN_YEARS_MS), TEN_YEARS_MS),
    ],
)
def test_delay_is_whole_milliseconds_from_zero(value: float, kept: int) -> None:
    delay = parsed(delay_ms=value).delay_ms
    assert (delay, type(delay)) == (kept, int)


@pytest.mark.parametrize(
    "value",
    [
        NAN,
        INF,
        -INF,
        True,
        False,
        "5",
        b"5",
        [5],
        1j,
        MAX_DURATION_MS + 1,
        10**400,
        pytest.param(10**5000, id="huge"),
        1e300,
    ],
)
def test_delay_that_is_no_sane_number_is_refused(value: object) -> None:
    assert refused(delay_ms=value).field == "delay_ms"
    assert str(refused(delayMs=value)).startswith("delayMs must be")


@pytest.mark.parametrize(("value", "kept"), [(1, 1), (3, 3), (3.0, 3), (10**9, 10**9)])
def test_attempts_are_whole_numbers_from_one(value: float, kept: int) -> None:
    attempts = parsed(attempts=value).attempts
    assert (attempts, type(attempts)) == (kept, int)


@pytest.mark.parametrize("value", [0, -1, 2.5, NAN, INF, True, "3", [3], 2**53, 10**400])
def test_attempts_that_are_none_are_refused(value: object) -> None:
    error = refused(attempts=value)
    assert error.field == "attempts"
    assert "whole number from 1" in str(error)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (500, {"type": "fixed", "delay": 500}),
        (500.9, {"type": "fixed", "delay": 500}),
        (0, {"type": "fixed", "delay": 0}),
        ({"type": "fixed", "delay": 1.5}, {"type": "fixed", "delay": 1}),
        ({"delay": 0, "type": "exponential"}, {"type": "exponential", "delay": 0}),
    ],
)
def test_backoff_is_a_type_and_a_delay(value: Any, kept: dict[str, Any]) -> None:
    assert parsed(backoff_ms=value).backoff_ms == kept


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (-1, "at least 0 ms"),
        (NAN, "finite number"),
        (INF, "finite number"),
        (MAX_DURATION_MS + 1, "at most"),
        (True, "must be a number of milliseconds or"),
        ("500", "must be a number of milliseconds or"),
        ({}, "lacks 'delay' and 'type'"),
        ({"delay": 5}, "lacks 'type'"),
        ({"type": "fixed"}, "lacks 'delay'"),
        ({"type": "linear", "delay": 5}, 'backoff_ms.type must be "fixed" or "exponential", not str \'linear\''),
        ({"type": ["fixed"], "delay": 5}, "backoff_ms.type must be"),
        ({"type": "fixed", "delay": None}, "backoff_ms.delay must be"),
        ({"type": "fixed", "delay": -1}, "backoff_ms.delay must be at least 0"),
        ({"type": "fixed", "delay": True}, "backoff_ms.delay must be"),
        ({"type": "fixed", "delay": 5, "jiter": 0.5}, "no part 'jiter'"),
        ({"type": "fixed", "dely": 5}, "closest known one is 'delay'"),
    ],
)
def test_backoff_that_is_wrong_is_refused(value: object, said: str) -> None:
    error = refused(backoff_ms=value)
    assert error.field == "backoff_ms"
    assert said in str(error)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (True, True),
        (False, False),
        (0, 0),
        (7, 7),
        (7.0, 7),
        ({"count": 3}, {"count": 3}),
        ({"count": 0}, {"count": 0}),
        ({"age": 60}, {"age": 60}),
        ({"age": 0.25}, {"age": 0.25}),
        ({"age": 60.0, "count": None}, {"age": 60}),
        ({"age": 1, "count": 2.0}, {"age": 1, "count": 2}),
    ],
)
@pytest.mark.parametrize("field", ["remove_on_complete", "remove_on_fail"])
def test_retention_is_kept_as_it_was_said(field: str, value: Any, kept: Any) -> None:
    got = getattr(parsed(**{field: value}), field)
    assert got == kept
    assert type(got) is type(kept)
    assert got is not value or isinstance(value, int)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "says neither age nor count; it must be True, False, a count, or"),
        ({"age": None, "count": None}, "says neither age nor count"),
        (-1, "whole number from 0"),
        (1.5, "whole number from 0"),
        (NAN, "whole number from 0"),
        ("5", "must be True, False, a count, or"),
        ([5], "must be True, False, a count, or"),
        ({"age": -1}, ".age must be a finite number of seconds"),
        ({"age": NAN}, ".age must be a finite number of seconds"),
        ({"age": INF}, ".age must be a finite number of seconds"),
        ({"age": True}, ".age must be a finite number of seconds"),
        ({"age": "5"}, ".age must be a finite number of seconds"),
        ({"age": MAX_DURATION_MS}, "=False keeps for ever"),
        ({"count": -1}, ".count must be a whole number from 0"),
        ({"count": 1.5}, ".count must be a whole number from 0"),
        ({"count": True}, ".count must be a whole number from 0"),
        ({"cuont": 5}, "closest known one is 'count'"),
        ({1: 5}, "no part int 1"),
    ],
)
@pytest.mark.parametrize("field", ["remove_on_complete", "remove_on_fail"])
def test_retention_that_is_wrong_is_refused(field: str, value: object, said: str) -> None:
    error = refused(**{field: value})
    assert error.field == field
    assert said in str(error)
    assert str(refused(**{camel(field): value})).startswith(camel(field))


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=3),
    lambda part: st.lists(part, max_size=2) | st.dictionaries(st.sampled_from(["age", "count", "type", "delay"]), part),
    max_leaves=4,
)


# The first draw of a run builds tables of all characters.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([*FULL, *map(camel, FULL), "other"]), _anything, max_size=6))
def test_request_is_either_read_or_refused(given: Mapping[str, Any]) -> None:
    try:
        request = JobRequest.parse({**NAMES, **given})
    except InvalidJobError:
        return
    assert JobRequest.parse(request) == request or request.payload != request.payload  # a NaN differs from itself
    assert JobOptions.load(json.loads(request.options().to_json())) == request.options()


# --- References to jobs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "keywords", "ref"),
    [
        (("a",), {}, JobRef("a", None)),
        (("a", "t"), {}, JobRef("a", "t")),
        (("a",), {"tenant_id": "t"}, JobRef("a", "t")),
        (("a",), {"tenantId": "t"}, JobRef("a", "t")),
        ((), {"job_id": "a"}, JobRef("a", None)),
        ((), {"jobId": "a", "tenant_id": None}, JobRef("a", None)),
        (({"jobId": "a", "tenantId": "t"},), {}, JobRef("a", "t")),
        (({"job_id": "a"}, "t"), {}, JobRef("a", "t")),
        (({"job_id": "a"},), {"tenant_id": "t"}, JobRef("a", "t")),
    ],
)
def test_job_ref_reads_every_form(given: tuple[Any, ...], keywords: dict[str, Any], ref: JobRef) -> None:
    assert parse_job_ref(*given, **keywords) == ref


@pytest.mark.parametrize(
    ("given", "keywords", "said", "field"),
    [
        ((), {}, "job_id is required", "job_id"),
        ((None,), {}, "job_id is required", "job_id"),
        (("",), {}, "job_id is required", "job_id"),
        (({},), {}, "job_id is required", "job_id"),
        ((5,), {}, "job_id must be text, or a mapping with jobId and tenantId, not int 5", "job_id"),
        (([], "t"), {}, "job_id must be text, or a mapping", "job_id"),
        (({"jobId": 5},), {}, "jobId must be text, not int 5", "job_id"),
        (({"id": "a"},), {}, "unknown field 'id'; the closest known one is 'job_id'", "id"),
        (("a",), {"job_id": "a"}, "job_id is given twice", "job_id"),
        (("a", "t"), {"tenantId": "t"}, "tenantId is given twice", "tenant_id"),
        (("a", " "), {}, "tenant_id must not be blank", "tenant_id"),
    ],
)
def test_job_ref_that_is_wrong_is_refused(
    given: tuple[Any, ...], keywords: dict[str, Any], said: str, field: str
) -> None:
    with pytest.raises(InvalidJobError) as caught:
        parse_job_ref(*given, **keywords)
    assert said in str(caught.value)
    assert caught.value.field == field


# --- Envelope and options ---------------------------------------------------------------------------------------------


def test_envelope_survives_json() -> None:
    envelope = Envelope(
        **NAMES,
        tenant_id="t-1",
        organization_id="org-\ud800",
        scope_key="s",
        user_id="u-1",
        execution_pool="gpu",
        actor=Actor("u-1", "t-1", None, "delegated_user"),
        delegation=Delegation("api_key", DelegatedKey("tenant", "e-1"), requested_user_id="u-1", extra={"a": [1, "é"]}),
        enqueued_at=1_700_000_000_123,
    )
    assert Envelope.from_json(envelope.to_json()) == envelope
    assert Envelope.from_json(envelope.to_json().encode()) == envelope


def test_envelope_json_is_compact_camel_case_without_none() -> None:
    envelope = Envelope(**NAMES, tenant_id="t-1", actor=Actor("u-1"), enqueued_at=5)
    assert envelope.to_json() == (
        '{"pluginName":"@acme/mail","queueName":"mail.outbound","jobName":"send","tenantId":"t-1",'
        '"actor":{"userId":"u-1","type":"user"},"enqueuedAt":5}'
    )


def test_envelope_of_a_service_without_user_survives_json() -> None:
    envelope = Envelope(**NAMES, actor=Actor(None, "t-1", None, "service"))
    assert Envelope.from_json(envelope.to_json()) == envelope


def test_envelope_ignores_what_a_later_release_adds() -> None:
    envelope = Envelope(**NAMES, actor=Actor("u-1"), delegation=Delegation("api_key", DelegatedKey("tenant")))
    data = json.loads(envelope.to_json())
    for part in (data, data["actor"], data["delegation"], data["delegation"]["apiKey"]):
        part["later"] = 1
    assert Envelope.from_json(json.dumps(data)) == envelope


def test_options_read_as_attributes_and_by_name() -> None:
    options = JobRequest.parse(**FULL).options()
    assert options.attempts == options["attempts"] == options.get("attempts") == 3
    assert options.remove_on_fail is options["remove_on_fail"] is False
    assert dict(options) == dataclasses.asdict(options)
    assert list(options) == ["attempts", "delay_ms", "backoff_ms", "remove_on_complete", "remove_on_fail"]
    assert "delay_ms" in options
    assert "keys" not in options
    assert options.get("keys") is None
    assert options.get("other", 5) == 5
    with pytest.raises(KeyError, match="keys"):
        options["keys"]


def test_options_survive_json() -> None:
    given = (JobOptions(), JobOptions(delay_ms=5), JobOptions(remove_on_fail=0), JobOptions(attempts=2, delay_ms=1))
    for options in (JobRequest.parse(**FULL).options(), parsed().options(), *given):
        assert JobOptions.load(json.loads(options.to_json())) == options
    assert JobOptions().to_json() == "{}"
    assert JobOptions(backoff_ms={"type": "fixed", "delay": 5}).to_json() == '{"backoffMs":{"type":"fixed","delay":5}}'


def test_options_backoff_before_each_retry() -> None:
    assert [JobOptions().backoff_before(retry) for retry in (1, 2)] == [0, 0]
    fixed = JobOptions(backoff_ms={"type": "fixed", "delay": 100})
    assert [fixed.backoff_before(retry) for retry in (1, 2, 50)] == [100, 100, 100]
    doubling = JobOptions(backoff_ms={"type": "exponential", "delay": 100})
    assert [doubling.backoff_before(retry) for retry in (1, 2, 3, 4)] == [100, 200, 400, 800]
    assert doubling.backoff_before(10**9) == MAX_DURATION_MS
    assert JobOptions(backoff_ms={"type": "exponential", "delay": 0}).backoff_before(50) == 0


def test_models_are_frozen() -> None:
    for frozen in (parsed(), parsed().options(), Envelope(**NAMES), Actor("u-1")):
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            frozen.attempts = 5  # type: ignore[union-attr, misc]
