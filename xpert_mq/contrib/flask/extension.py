"""The extension: each request's context, the application around handlers, the session's commits, the commands."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from flask import Flask, abort, current_app, request

from xpert_mq.context import ContextScope, ContextUser, RequestContext
from xpert_mq.contrib.flask.commands import managed_jobs
from xpert_mq.contrib.flask.configuration import apply_settings, finders_of
from xpert_mq.contrib.flask.handling import run_handlers_in
from xpert_mq.contrib.flask.transactions import SessionCommits
from xpert_mq.contrib.tenants import Finders, TenantRefusedError
from xpert_mq.contrib.wsgi import Environ, OwnContext, StartResponse
from xpert_mq.errors import SettingsError
from xpert_mq.service import managed_queue

_NAME = "xpert_mq"
_SCOPE = "xpert_mq.scope"
#: The request's context variables end with it.
_ENDS = "xpert_mq.ends"


class XpertMQ:
    """The managed queue of a Flask application.

    Args:
        app: the application; without it call `init_app` later. Its `config` must be complete by then.

    Keys of `config`:
        XPERT_MQ_USER, XPERT_MQ_TENANT, XPERT_MQ_ORGANIZATION, XPERT_MQ_PRINCIPAL, XPERT_MQ_ALLOWS: as in `Finders`:
            callables, or `module:function`, that get the request. The user is Flask-Login's, where it is there.
        XPERT_MQ_ON_COMMIT: whether an enqueue waits for the commit of Flask-SQLAlchemy's session, unless it says so
            itself; default False.
        XPERT_MQ_APP_CONTEXT: whether handlers run in a context of this application; default True. Where a process has
            several, it is the one that was initialised last.
        XPERT_MQ_REDIS_URL, MANAGED_QUEUE_PREFIX and all the other settings, by their names in the environment; they go
            before it.

    Raises:
        SettingsError: a key or a value is wrong, or it comes too late.
    """

    def __init__(self, app: Flask | None = None) -> None:
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Add it to an application, once. A request's context is there from then on, also in `before_request` functions
        that are added later.
        """
        if _NAME in app.extensions:
            raise SettingsError(f"the Flask application {app.name!r} has XpertMQ already")
        apply_settings(app.config)
        # First, since it is refused after the first request.
        app.before_request(_enter)
        app.teardown_request(_leave)
        finders = finders_of(app)
        app.extensions[_NAME] = finders if finders.user else replace(finders, user=_login_user)
        app.wsgi_app = _OwnContext(app.wsgi_app)  # type: ignore[method-assign] # Flask's way to add a middleware
        app.cli.add_command(managed_jobs)
        managed_queue.commit_hook = SessionCommits(managed_queue)
        if app.config.get("XPERT_MQ_APP_CONTEXT", True):
            run_handlers_in(app)


class _OwnContext(OwnContext):
    def _start(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ[_ENDS] = True
        return super()._start(environ, start_response)


def _enter() -> None:
    finders: Finders = current_app.extensions[_NAME]
    try:
        scope = finders.scope(request)
    except TenantRefusedError as error:
        abort(403, str(error))
    scope.__enter__()
    if _ENDS not in request.environ:
        # Not in `g`, which nested requests of one application context share.
        request.environ[_SCOPE] = scope


def _leave(_: BaseException | None) -> None:
    # For requests that tests push by themselves. Else it would end too early: an answer is still streamed then.
    scope: ContextScope | None = request.environ.pop(_SCOPE, None)
    if scope is not None:
        scope.__exit__(None, None, None)


def _login_user(_: Any) -> Any:
    """Flask-Login's user, where the application has it."""
    if not hasattr(current_app, "login_manager"):
        return None
    # The user, not what stands for it in this request.
    user: Any = sys.modules["flask_login"].current_user._get_current_object()
    if user.is_authenticated and RequestContext(user=user).user_id is None:
        # All that Flask-Login asks of a user is this method.
        ids = [getattr(user, name, None) for name in ("tenant_id", "organization_id")]
        return ContextUser(user.get_id(), *ids)
    return user
