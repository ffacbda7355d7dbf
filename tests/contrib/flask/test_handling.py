"""Which application's context a handler runs in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from flask import Flask, current_app, g, has_app_context

from xpert_mq import JobContext, registry
from xpert_mq.contrib.flask import XpertMQ

pytestmark = pytest.mark.usefixtures("queue")

CONTEXT = JobContext(plugin_name="p", queue_name="q", job_name="j")


def make_app(name: str, **config: Any) -> Flask:
    app = Flask(name)
    app.config.update(config)
    XpertMQ(app)
    return app


def test_context_and_its_teardown_are_a_handlers_own() -> None:
    app = make_app("first")
    ended: list[str] = []
    app.teardown_appcontext(lambda error: ended.append(f"{g.owner} {error}"))

    def handle() -> None:
        with registry.wrapped(CONTEXT):
            assert not hasattr(g, "owner")
            g.owner = "handler"
            raise ValueError("broken")

    with app.app_context():
        g.owner = "test"
        with pytest.raises(ValueError, match="broken"):
            handle()
        assert (g.owner, ended) == ("test", ["handler broken"])


async def test_coroutines_at_the_same_time_have_their_own() -> None:
    make_app("first")

    async def handle(owner: str) -> tuple[str, str, str]:
        async with registry.awrapped(CONTEXT):
            g.owner = owner
            await asyncio.sleep(0)
            return g.owner, current_app.import_name, await asyncio.to_thread(lambda: str(g.owner))

    assert list(await asyncio.gather(handle("a"), handle("b"))) == [("a", "first", "a"), ("b", "first", "b")]
    assert not has_app_context()


def test_last_application_that_wants_it_has_the_handlers() -> None:
    make_app("first")
    make_app("second")
    make_app("third", XPERT_MQ_APP_CONTEXT=False)

    with registry.wrapped(CONTEXT):
        assert current_app.import_name == "second"
    assert not has_app_context()
