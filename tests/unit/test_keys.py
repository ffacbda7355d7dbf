from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xpert_mq.store.keys import (
    Keys,
    group_name,
    job_token,
    logical_name,
    pool_keys,
    split_group,
    split_logical,
    split_task_id,
    split_token,
    task_id,
)
from xpert_mq.store.listing import STATES

CHARACTERS = st.characters(codec="utf-8")
TEXT = st.text(CHARACTERS, max_size=20)
TENANT = st.none() | st.text(CHARACTERS, min_size=1, max_size=20)


@given(TENANT, TEXT)
def test_token_round_trip(tenant_id: str | None, job_id: str) -> None:
    assert split_token(job_token(tenant_id, job_id)) == (tenant_id, job_id)


@given(TENANT, TEXT, TENANT, TEXT)
def test_token_names_one_job(one: str | None, id_one: str, two: str | None, id_two: str) -> None:
    assert (job_token(one, id_one) == job_token(two, id_two)) is ((one, id_one) == (two, id_two))


def test_token_of_lookalikes() -> None:
    texts = ["a", "a:b", "b", ":", "-", "1", "1:a", "-:a", "é", "2:é", "a:", ":a", "1:a:b"]
    pairs = [*itertools.product([None, *texts], texts)]

    assert len({job_token(*pair) for pair in pairs}) == len(pairs)


@given(TENANT, TEXT, st.integers(0, 2**53))
def test_task_id_round_trip(tenant_id: str | None, job_id: str, generation: int) -> None:
    token = job_token(tenant_id, job_id)

    assert split_task_id(task_id(token, generation)) == (token, generation)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "a:b",
        "-:id",
        "-:",
        "5:ab:c",
        "1:ab:c",
        "1:a",
        "550e8400-e29b-41d4-a716-446655440000",
        "1:é:x",
        "\ud800:x",
    ],
)
def test_token_of_foreign_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        split_token(text)


@pytest.mark.parametrize("text", ["-5:a:b", "+1:a:b", " 1:a:b", "1_0:abcdefghij:x", "01:a:b", "-1:x:", "\u0661:a:b"])
def test_token_spelled_otherwise_is_refused(text: str) -> None:
    """A token has one spelling: what Python's `int` also reads is none."""
    with pytest.raises(ValueError, match=r"."):
        split_token(text)


@pytest.mark.parametrize("text", ["", ":id:", ":id:x", ":id:1.0", ":id:1_0", ":id: 1", ":id:-1", "x:1"])
def test_task_id_of_foreign_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        split_task_id(text)


@given(st.tuples(TEXT, TEXT, TEXT), st.tuples(TEXT, TEXT, TEXT))
def test_logical_name_is_unambiguous(one: tuple[str, str, str], two: tuple[str, str, str]) -> None:
    assert (logical_name(*one) == logical_name(*two)) is (one == two)


@given(TENANT, st.tuples(TEXT, TEXT, TEXT))
def test_groups_split_into_what_they_were_made_of(tenant_id: str | None, names: tuple[str, str, str]) -> None:
    tenant, logical = split_group(group_name(tenant_id, logical_name(*names)))

    assert (tenant, split_logical(logical)) == (tenant_id, names)


@pytest.mark.parametrize(
    "text", ["", "1:a", "1:a1:b", "1:a1:b1:c1:d", "2:a1:b1:c", "01:a1:b1:c", "x:a1:b1:c", "1:a1:b1:cc"]
)
def test_split_logical_refuses_other_texts(text: str) -> None:
    with pytest.raises(ValueError, match="not the name of a logical job"):
        split_logical(text)


def test_keys_all_carry_the_prefix() -> None:
    keys = Keys("a:prefix")
    named = [value for value in vars(keys).values() if isinstance(value, str)]
    named += [keys.job(job_token(None, "id")), keys.list_of("failed", "-:x"), keys.lua_constants()["QUEUE"]]

    assert all(name == "a:prefix" or name.startswith("a:prefix:") for name in named)


def test_keys_never_meet() -> None:
    keys = Keys("p")
    queues = ["p:plugin-jobs", "p:plugin-jobs-x"]
    logical = logical_name("p", "q", "j")
    lists = [keys.list_of(state, group_name(tenant, logical)) for state in STATES for tenant in (None, "-")]
    names = [
        *(getattr(pool_keys(queue), part) for queue in queues for part in pool_keys(queue).__slots__),
        *(f"{name}{more}" for name in lists for more in ("", ":expiry", ":kept")),
        keys.generation,
        keys.expiring,
        keys.groups,
        f"{keys.tallies}29000000",
        keys.due,
        keys.unacked,
        keys.unacked_index,
        keys.unacked_mutex,
        keys.job(job_token(None, "generation")),
        keys.job("1:a:b"),
        f"{keys.answers}abc",
    ]

    assert len(set(names)) == len(names)


def test_pool_keys_begin_with_the_queue() -> None:
    pool = pool_keys("q")

    assert pool.queue == "q"
    assert {pool.waiting, pool.delayed, pool.wake} == {"q:waiting", "q:delayed", "q:wake"}


def test_lua_constants_spell_the_same_keys() -> None:
    keys = Keys("p")
    constants = keys.lua_constants()

    assert constants["JOBS"] + job_token(None, "id") == keys.job(job_token(None, "id"))
    assert constants["LISTS"] + "failed:-:x" == keys.list_of("failed", group_name(None, "x"))
    assert constants["LISTS"] + "failed:2:é:x" == keys.list_of("failed", group_name("é", "x"))
    queue = constants["QUEUE"]
    for part in ("waiting", "delayed", "wake"):
        assert queue + constants[part.upper()] == getattr(pool_keys(queue), part)
