"""The application's context around each handler that this process runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from flask import Flask

from xpert_mq.handlers import registry
from xpert_mq.models import JobContext

_app: Flask | None = None
_remove: Callable[[], None] | None = None


def run_handlers_in(app: Flask) -> None:
    """Every handler runs in a context of this application from now on; teardown functions run at its end.

    Flask-SQLAlchemy's session so ends with the handler: what is not committed is rolled back.
    """
    global _app, _remove
    if _remove is not None:
        _remove()
    # Anew each time: tests put back what wrappers there were.
    _app, _remove = app, registry.add_wrapper(_context)


def _context(_: JobContext) -> AbstractContextManager[Any]:
    assert _app is not None
    return _app.app_context()


def _forget_connections() -> None:
    """A pool's child must not talk on its parent's connections to the database."""
    database = _app.extensions.get("sqlalchemy") if _app is not None else None
    if database is not None and _app is not None:
        with _app.app_context():
            for engine in database.engines.values():
                engine.dispose(close=False)


os.register_at_fork(after_in_child=_forget_connections)
