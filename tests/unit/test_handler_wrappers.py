from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager

import pytest

from xpert_mq.handlers import HandlerRegistry
from xpert_mq.models import JobContext

CONTEXT = JobContext("p", "q", "j", tenant_id="t")


def noting(notes: list[str], name: str) -> Callable[[JobContext], AbstractContextManager[None]]:
    @contextmanager
    def wrapper(context: JobContext) -> Iterator[None]:
        notes.append(f"{name} in {context.tenant_id}")
        try:
            yield
        except ValueError as error:
            notes.append(f"{name} sees {error}")
            raise
        finally:
            notes.append(f"{name} out")

    return wrapper


def test_wrappers_are_entered_in_order_of_adding_and_left_in_reverse() -> None:
    registry, notes = HandlerRegistry(), list[str]()
    registry.add_wrapper(noting(notes, "a"))
    registry.add_wrapper(noting(notes, "b"))

    with registry.wrapped(CONTEXT):
        notes.append("handler")

    assert notes == ["a in t", "b in t", "handler", "b out", "a out"]


def test_wrapper_sees_the_handler_s_error() -> None:
    registry, notes = HandlerRegistry(), list[str]()
    registry.add_wrapper(noting(notes, "a"))

    with pytest.raises(ValueError, match="no"), registry.wrapped(CONTEXT):
        raise ValueError("no")

    assert notes == ["a in t", "a sees no", "a out"]


def test_wrapper_that_is_taken_away_is_not_entered() -> None:
    registry, notes = HandlerRegistry(), list[str]()
    removes = [registry.add_wrapper(noting(notes, name)) for name in "ab"]
    removes[0]()
    removes[0]()

    with registry.wrapped(CONTEXT):
        pass

    assert notes == ["b in t", "b out"]


def test_wrapper_that_fails_lets_those_before_it_out() -> None:
    registry, notes = HandlerRegistry(), list[str]()

    def broken(_: JobContext) -> AbstractContextManager[None]:
        raise ValueError("broken")

    registry.add_wrapper(noting(notes, "a"))
    registry.add_wrapper(broken)

    with pytest.raises(ValueError, match="broken"), registry.wrapped(CONTEXT):
        notes.append("handler")

    assert notes == ["a in t", "a sees broken", "a out"]


def test_async_handler_gets_the_async_variant_where_there_is_one() -> None:
    registry, notes = HandlerRegistry(), list[str]()

    @asynccontextmanager
    async def slow(context: JobContext) -> AsyncIterator[None]:
        await asyncio.sleep(0)
        notes.append(f"async in {context.tenant_id}")
        yield
        notes.append("async out")

    registry.add_wrapper(noting(notes, "sync"), slow)
    registry.add_wrapper(noting(notes, "both"))

    async def handle() -> None:
        async with registry.awrapped(CONTEXT):
            notes.append(threading.current_thread().name)

    asyncio.run(handle())

    assert notes == ["async in t", "both in t", "MainThread", "both out", "async out"]
