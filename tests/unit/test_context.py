from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import threading
import timeit
import types
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from xpert_mq.context import (
    ApiKey,
    ApiPrincipal,
    ContextUser,
    RequestContext,
    capture,
    check_actor,
    current_context,
    current_job,
    effective_tenant,
    load_user_function,
    request_context,
    restored,
)
from xpert_mq.errors import InvalidJobError, ScopeMismatchError, SettingsError
from xpert_mq.models import Actor, Envelope, JobRequest

TOKEN = "sk-0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_test_leaves_a_context() -> Iterator[None]:
    yield
    assert current_context() == RequestContext()
    assert current_job() is None


def make_request(**fields: Any) -> JobRequest:
    return JobRequest.parse(plugin_name="p", queue_name="q", job_name="j", **fields)


def make_envelope(**fields: Any) -> Envelope:
    return Envelope(plugin_name="p", queue_name="q", job_name="j", **fields)


def make_principal(**fields: Any) -> ApiPrincipal:
    key = ApiKey(TOKEN, "assistant", "e-1", "t-1", "org-1", "key-user")
    return ApiPrincipal(**{"principal_type": "api_key", "api_key": key, "owner_user_id": "owner", **fields})


def envelope_of(request: JobRequest) -> Envelope:
    """What enqueueing writes, after the trip through Redis."""
    request, actor, delegation = capture(request)
    envelope = make_envelope(
        tenant_id=request.tenant_id,
        organization_id=request.organization_id,
        user_id=request.user_id,
        actor=actor,
        delegation=delegation,
    )
    return Envelope.from_json(envelope.to_json())


def in_new_thread(call: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(call).result()


# --- Set, nested, reset ---


def test_context_is_empty_outside() -> None:
    assert current_context() == RequestContext(None, None, None, None)
    assert current_context().user_id is None


def test_context_is_set_within_the_block_only() -> None:
    with request_context(tenant_id="t-1", organization_id="org-1", user="u-1") as entered:
        assert current_context() is entered
        assert entered == RequestContext("t-1", "org-1", ContextUser("u-1"))
    assert current_context() == RequestContext()


def test_nested_context_replaces_the_outer_as_a_whole_and_puts_it_back() -> None:
    with request_context(tenant_id="t-1", user="u-1"):
        with request_context(tenant_id="t-2"):
            assert current_context() == RequestContext("t-2")
            with request_context():
                assert current_context() == RequestContext()
            assert current_context() == RequestContext("t-2")
        assert current_context() == RequestContext("t-1", None, ContextUser("u-1"))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, asyncio.CancelledError, GeneratorExit])
def test_context_is_reset_after_an_exception(error: type[BaseException]) -> None:
    with pytest.raises(error), request_context(tenant_id="t-1"):
        raise error
    assert current_context() == RequestContext()


def test_context_scope_is_for_one_block_at_a_time() -> None:
    scope = request_context(tenant_id="t-1")
    with scope, pytest.raises(RuntimeError, match="entered already"), scope:
        pytest.fail("entered twice")
    with scope:
        assert current_context().tenant_id == "t-1"


@pytest.mark.parametrize(
    ("given", "kept"), [("t-1", "t-1"), (7, "7"), (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001")]
)
def test_context_ids_are_kept_as_text(given: Any, kept: str) -> None:
    with request_context(tenant_id=given, organization_id=given, user=given) as context:
        assert (context.tenant_id, context.organization_id, context.user_id) == (kept, kept, kept)


@pytest.mark.parametrize("field", ["tenant_id", "organization_id"])
@pytest.mark.parametrize("value", ["", "  ", True, 1.5, ["t-1"]])
def test_context_refuses_an_id_that_is_blank_or_no_id(field: str, value: Any) -> None:
    with pytest.raises(InvalidJobError, match=field) as caught:
        request_context(**{field: value})
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("user", "user_id"),
    [
        (types.SimpleNamespace(id="u-1"), "u-1"),
        (types.SimpleNamespace(id=7), "7"),
        (types.SimpleNamespace(id=0), "0"),
        (types.SimpleNamespace(pk=7), "7"),
        (types.SimpleNamespace(id=None, pk=None), None),
        (types.SimpleNamespace(id=""), None),
        (object(), None),
        ({"id": "u-1", "name": "Ann"}, "u-1"),
        ({"name": "Ann"}, None),
        (None, None),
    ],
)
def test_context_user_id_is_read_from_any_kind_of_user(user: Any, user_id: str | None) -> None:
    with request_context(tenant_id="t-1", user=user) as context:
        assert context.user is user
        assert context.user_id == user_id


def test_context_does_not_load_a_lazy_user_before_it_is_needed() -> None:
    loads = []

    class Lazy:
        """Like Django's: its `__class__` and attributes load the user."""

        def __getattribute__(self, name: str) -> Any:
            loads.append(name)
            return str if name == "__class__" else 7

    with request_context(tenant_id="t-1", user=Lazy()) as context:
        assert loads == []
        assert context.user_id == "7"


def test_context_takes_missing_ids_from_the_principal() -> None:
    with request_context(principal=make_principal()) as context:
        assert (context.tenant_id, context.organization_id) == ("t-1", "org-1")
    with request_context(principal=make_principal(requested_organization_id="org-2")) as context:
        assert (context.tenant_id, context.organization_id) == ("t-1", "org-2")
    with request_context(tenant_id="t-9", organization_id="org-9", principal=make_principal()) as context:
        assert (context.tenant_id, context.organization_id) == ("t-9", "org-9")


# --- Leaks: threads, tasks, other contexts ---


def test_context_is_not_seen_by_another_thread() -> None:
    with request_context(tenant_id="t-1"):
        assert in_new_thread(current_context) == RequestContext()


def test_context_of_a_thread_is_gone_for_the_next_call_of_that_thread() -> None:
    def fail() -> None:
        with request_context(tenant_id="t-1"):
            raise ValueError

    with ThreadPoolExecutor(1) as executor:
        assert isinstance(executor.submit(fail).exception(), ValueError)
        assert executor.submit(current_context).result() == RequestContext()


def test_contexts_of_threads_that_overlap_are_their_own() -> None:
    both_inside = threading.Barrier(2, timeout=10)

    def run(tenant_id: str) -> list[str | None]:
        with request_context(tenant_id=tenant_id):
            both_inside.wait()
            seen = [current_context().tenant_id]
            both_inside.wait()
        return [*seen, current_context().tenant_id]

    with ThreadPoolExecutor(2) as executor:
        assert list(executor.map(run, ["t-1", "t-2"])) == [["t-1", None], ["t-2", None]]


async def test_context_follows_await_and_to_thread() -> None:
    async def deeper() -> str | None:
        await asyncio.sleep(0)
        return current_context().tenant_id

    with request_context(tenant_id="t-1"):
        assert await deeper() == "t-1"
        assert (await asyncio.to_thread(current_context)).tenant_id == "t-1"
        assert await asyncio.create_task(deeper()) == "t-1"
    assert await deeper() is None


async def test_context_works_as_async_block() -> None:
    async with request_context(tenant_id="t-1") as context:
        await asyncio.sleep(0)
        assert current_context() is context
    assert current_context() == RequestContext()


async def test_contexts_of_interleaved_tasks_are_their_own() -> None:
    inside = asyncio.Barrier(2)

    async def run(tenant_id: str) -> list[str | None]:
        with request_context(tenant_id=tenant_id):
            await inside.wait()
            seen = [current_context().tenant_id]
            await inside.wait()
        return [*seen, current_context().tenant_id]

    assert list(await asyncio.gather(run("t-1"), run("t-2"))) == [["t-1", None], ["t-2", None]]
    assert current_context() == RequestContext()


async def test_context_is_reset_in_a_cancelled_task() -> None:
    entered, seen = asyncio.Event(), []

    async def run() -> None:
        try:
            with request_context(tenant_id="t-1"):
                entered.set()
                await asyncio.Event().wait()
        finally:
            seen.append(current_context())

    task = asyncio.create_task(run())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == [RequestContext()]


def test_context_left_in_a_copy_that_took_it_along_does_not_live_on_there() -> None:
    scope = request_context(tenant_id="t-1")
    entered = contextvars.copy_context()
    entered.run(scope.__enter__)
    copy = entered.copy()
    assert copy.run(current_context).tenant_id == "t-1"
    copy.run(scope.__exit__, None, None, None)
    assert copy.run(current_context) == RequestContext()


def test_context_left_elsewhere_does_not_disturb_what_is_set_there() -> None:
    scope = request_context(tenant_id="t-1")
    contextvars.copy_context().run(scope.__enter__)
    with request_context(tenant_id="t-2"):
        scope.__exit__(None, None, None)
        assert current_context().tenant_id == "t-2"


# --- Secrets ---


def test_repr_hides_the_token() -> None:
    with request_context(principal=make_principal(extra={"bearer": TOKEN})) as context:
        for shown in (context, context.principal, context.principal and context.principal.api_key):
            assert TOKEN not in repr(shown)
            assert TOKEN not in f"{shown}"
        assert "owner" in repr(context.principal)


def test_delegation_never_holds_a_token() -> None:
    extra = {
        "client": "mobile",
        "rate": 1.5,
        "flags": [True, None, f"Bearer {TOKEN}", {"accessToken": "other"}],
        "note": f"called with {TOKEN}",
        TOKEN: "as a name",
        "x-api-key": "other",
        "apiKey": "other",
        "client_secret": "other",
        "Authorization": "other",
        "nested": {"password": "other", "plan": "pro"},
    }
    with request_context(principal=make_principal(extra=extra)):
        envelope = envelope_of(make_request())
    assert TOKEN not in envelope.to_json()
    assert "other" not in envelope.to_json()
    assert envelope.delegation is not None
    assert envelope.delegation.extra == {
        "client": "mobile",
        "rate": 1.5,
        "flags": [True, None, {}],
        "nested": {"plan": "pro"},
    }


def test_delegation_drops_what_is_not_json() -> None:
    endless: list[Any] = []
    endless.append(endless)
    extra: Any = {"request": object(), "nan": float("nan"), 7: "no text", "endless": endless, "kept": 2**70}
    with request_context(principal=make_principal(extra=extra)):
        envelope = envelope_of(make_request())
    assert envelope.delegation is not None
    assert envelope.delegation.extra is not None
    assert envelope.delegation.extra.keys() == {"endless", "kept"}


# --- Capture ---


def test_capture_outside_returns_the_request_itself() -> None:
    request = make_request(tenant_id="t-1", user_id="u-1")
    captured, actor, delegation = capture(request)
    assert captured is request
    assert (actor, delegation) == (None, None)


def test_capture_in_an_emptied_context_is_as_outside() -> None:
    request = make_request(tenant_id="t-2")
    with request_context(tenant_id="t-1"):
        with request_context():
            assert capture(request) == (request, None, None)
        with restored(make_envelope()):
            assert capture(request) == (request, None, None)


def test_capture_outside_is_fast() -> None:
    request = make_request()
    best = min(timeit.repeat(lambda: capture(request), number=2000, repeat=20)) / 2000
    assert best < 2e-6, f"{best * 1e9:.0f} ns; the aim is 1 us, and twice that leaves room for a slow machine"


def test_capture_fills_in_missing_ids_but_no_scope() -> None:
    with request_context(tenant_id="t-1", organization_id="org-1", user=types.SimpleNamespace(id=7)):
        request, actor, delegation = capture(make_request(payload={"n": 1}, attempts=3))
    assert request == make_request(payload={"n": 1}, attempts=3, tenant_id="t-1", organization_id="org-1", user_id="7")
    assert request.scope_key is None
    assert actor == Actor("7", "t-1", "org-1", "user")
    assert delegation is None


def test_capture_keeps_a_request_that_agrees() -> None:
    request = make_request(tenant_id="t-1", organization_id="org-1", user_id="u-1", scope_key="s")
    with request_context(tenant_id="t-1", organization_id="org-1", user="u-1"):
        assert capture(request)[0] is request


@pytest.mark.parametrize("field", ["tenant_id", "organization_id", "user_id"])
def test_capture_refuses_another_than_the_contexts(field: str) -> None:
    request = make_request(**{field: "other"})
    refused = pytest.raises(ScopeMismatchError, match=f"{field} 'other' contradicts 'mine'")
    with request_context(tenant_id="mine", organization_id="mine", user="mine"), refused as caught:
        capture(request)
    assert (caught.value.field, caught.value.given, caught.value.current) == (field, "other", "mine")


@pytest.mark.parametrize("user", [None, types.SimpleNamespace(id=None)])
def test_capture_lets_a_call_name_a_user_where_the_context_has_none(user: Any) -> None:
    with request_context(tenant_id="t-1", user=user):
        request, actor, _ = capture(make_request(user_id="u-9", organization_id="org-9"))
    assert (request.tenant_id, request.organization_id, request.user_id) == ("t-1", "org-9", "u-9")
    assert actor == Actor(None, "t-1", None, "service")


def test_capture_of_a_requested_user_is_delegated() -> None:
    principal = make_principal(requested_user_id="u-5", api_key_user_id="k-1", requested_organization_id="org-2")
    with request_context(principal=principal, user=types.SimpleNamespace(id="owner")):
        request, actor, delegation = capture(make_request())
        with pytest.raises(ScopeMismatchError):
            capture(make_request(user_id="owner"))
    assert request.user_id == "u-5"
    assert actor == Actor("u-5", "t-1", "org-2", "delegated_user")
    assert delegation is not None
    assert dataclasses.asdict(delegation) == {
        "principal_type": "api_key",
        "api_key": {
            "type": "assistant",
            "entity_id": "e-1",
            "tenant_id": "t-1",
            "organization_id": "org-1",
            "user_id": "key-user",
        },
        "owner_user_id": "owner",
        "api_key_user_id": "k-1",
        "requested_user_id": "u-5",
        "requested_organization_id": "org-2",
        "extra": None,
    }


@pytest.mark.parametrize(
    ("fields", "user", "user_id"),
    [
        ({"api_key_user_id": "k-1"}, "u-1", "u-1"),
        ({"api_key_user_id": "k-1"}, None, "k-1"),
        ({}, None, "key-user"),
        ({"api_key": ApiKey(TOKEN)}, None, "owner"),
        ({"api_key": None}, None, "owner"),
        ({"api_key": None, "owner_user_id": None}, None, None),
    ],
)
def test_capture_of_a_principal_alone_is_a_service(fields: dict[str, Any], user: Any, user_id: str | None) -> None:
    with request_context(tenant_id="t-1", user=user, principal=make_principal(**fields)):
        request, actor, delegation = capture(make_request())
    assert request.user_id == user_id
    assert actor is not None
    assert (actor.user_id, actor.type) == (user_id, "service")
    assert delegation is not None


def test_principal_ids_are_kept_as_text() -> None:
    principal = ApiPrincipal(requested_user_id=uuid.UUID(int=1), api_key=ApiKey(tenant_id=7))  # type: ignore[arg-type]
    assert principal.requested_user_id == "00000000-0000-0000-0000-000000000001"
    assert principal.api_key == ApiKey(tenant_id="7")


# --- The tenant of a call about a job ---


def test_effective_tenant() -> None:
    assert effective_tenant(None) is None
    assert effective_tenant("t-9") == "t-9"
    with request_context(organization_id="org-1"):
        assert effective_tenant("t-9") == "t-9"
    with request_context(tenant_id="t-1"):
        assert effective_tenant(None) == "t-1"
        assert effective_tenant("t-1") == "t-1"
        with pytest.raises(ScopeMismatchError) as caught:
            effective_tenant("t-2")
    assert (caught.value.field, caught.value.given, caught.value.current) == ("tenant_id", "t-2", "t-1")


# --- In the worker ---


def test_restored_context_holds_the_ids_alone_without_a_loader() -> None:
    envelope = make_envelope(tenant_id="t-1", organization_id="org-1", user_id="u-1", scope_key="s")
    with restored(envelope) as context:
        assert context == RequestContext("t-1", "org-1", ContextUser("u-1", "t-1", "org-1"))


def test_restored_context_holds_the_loaded_user() -> None:
    user = types.SimpleNamespace(id="u-1", name="Ann")
    with restored(make_envelope(tenant_id="t-1", user_id="u-1"), user):
        assert current_context().user is user
    with restored(make_envelope(tenant_id="t-1", user_id="u-1"), "u-1"):
        assert current_context().user == ContextUser("u-1")


def test_restored_context_is_the_jobs_own_whatever_was_there() -> None:
    with request_context(tenant_id="t-9", organization_id="org-9", user="u-9"):
        with restored(make_envelope(tenant_id="t-1")):
            assert current_context() == RequestContext("t-1")
        with restored(make_envelope()):
            assert current_context() == RequestContext()
        assert current_context().tenant_id == "t-9"


@pytest.mark.parametrize("error", [ValueError, SystemExit, asyncio.CancelledError])
def test_restored_context_is_reset_after_an_exception(error: type[BaseException]) -> None:
    with pytest.raises(error), restored(make_envelope(tenant_id="t-1", user_id="u-1")):
        raise error
    assert current_context() == RequestContext()
    assert current_job() is None


def test_current_job_is_the_handlers_own() -> None:
    outer, inner = make_envelope(tenant_id="t-1"), make_envelope(tenant_id="t-2")
    assert current_job() is None
    with restored(outer):
        assert current_job() is outer
        with request_context(tenant_id="t-9"):
            assert current_job() is outer
        with restored(inner):
            assert current_job() is inner
        assert current_job() is outer
        assert in_new_thread(current_job) is None
    assert current_job() is None


def test_restored_principal_is_the_one_that_enqueued_without_its_token() -> None:
    principal = make_principal(requested_user_id="u-5", extra={"client": "mobile"})
    with request_context(principal=principal):
        envelope = envelope_of(make_request())
    without_token = dataclasses.replace(make_principal().api_key or ApiKey(), token=None)
    with restored(envelope):
        assert current_context().principal == dataclasses.replace(principal, api_key=without_token)


@pytest.mark.parametrize(
    "context",
    [
        {"tenant_id": "t-1", "organization_id": "org-1", "user": "u-1"},
        {"principal": make_principal()},
        {"principal": make_principal(requested_user_id="u-5")},
        {"tenant_id": "t-1", "user": "u-1", "principal": make_principal()},
    ],
)
def test_job_enqueued_by_a_job_belongs_to_the_same_ids(context: dict[str, Any]) -> None:
    with request_context(**context):
        parent = envelope_of(make_request())
    check_actor(parent)
    with restored(parent):
        child = envelope_of(make_request())
    check_actor(child)
    assert child == parent


# --- Actor and envelope ---


def test_check_actor_accepts_what_capture_writes() -> None:
    check_actor(make_envelope(tenant_id="t-1"))
    check_actor(make_envelope(tenant_id="t-1", user_id="u-1", actor=Actor(None, "t-1", None, "service")))


@pytest.mark.parametrize("field", ["tenant_id", "organization_id", "user_id"])
@pytest.mark.parametrize("kept", ["other", None])
def test_check_actor_refuses_a_contradiction(field: str, kept: str | None) -> None:
    ids: dict[str, Any] = {"tenant_id": "mine", "organization_id": "mine", "user_id": "mine"}
    with pytest.raises(ScopeMismatchError, match="the job's envelope") as caught:
        check_actor(make_envelope(**{**ids, field: kept}, actor=Actor(**ids)))
    assert (caught.value.field, caught.value.given, caught.value.current) == (field, "mine", kept)


# --- The user loader ---


def test_load_user_function_imports_functions_and_methods() -> None:
    assert load_user_function("json:loads").__name__ == "loads"
    assert load_user_function("pathlib:Path.cwd")() == Path.cwd()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("json", "module:function"),
        (":loads", "module:function"),
        ("json:", "module:function"),
        ("no_such_module_anywhere:load", "ModuleNotFoundError"),
        ("json:no_such_function", "no_such_function"),
        ("json:__name__", "not callable"),
    ],
)
def test_load_user_function_says_what_is_wrong(spec: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        load_user_function(spec)
    assert "XPERT_MQ_USER_LOADER" in str(caught.value)
    assert repr(spec) in str(caught.value)


def test_load_user_function_keeps_the_modules_own_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_user_loader.py").write_text("raise RuntimeError('no database')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SettingsError, match="no database") as caught:
        load_user_function("broken_user_loader:load")
    assert isinstance(caught.value.__cause__, RuntimeError)
