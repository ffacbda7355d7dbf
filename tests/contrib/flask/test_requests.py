"""The context of a request in a Flask application."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask_login  # type: ignore[import-untyped] # has no types
import pytest
from flask import Flask, abort, g, request, stream_with_context

from xpert_mq import ManagedQueueService, SettingsError, current_context
from xpert_mq.contrib.flask import XpertMQ, from_subdomain, organization_header, tenant_header

pytestmark = pytest.mark.usefixtures("queue")

USER = {"id": "u-1", "tenant_id": "acme"}


def find_user(_: Any) -> dict[str, str]:
    return USER


async def afind_user(_: Any) -> dict[str, str]:
    return USER


async def allow_nobody(user: Any, *_: Any) -> bool:
    assert user is USER
    return False


def seen() -> str:
    context = current_context()
    return f"{context.tenant_id}/{context.organization_id}/{context.user_id}"


def make_app(**config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(TESTING=True, **config)
    XpertMQ(app)
    app.add_url_rule("/", view_func=seen)
    return app


def get(app: Flask, path: str = "/", tenant: str | None = None, **options: Any) -> str:
    headers = {} if tenant is None else {"tenant-id": tenant}
    text: str = app.test_client().get(path, headers=headers, **options).get_data(as_text=True)
    assert current_context().tenant_id is None
    return text


def test_tenant_is_the_users_and_no_header_is_believed() -> None:
    assert get(make_app(), tenant="globex") == "None/None/None"
    assert get(make_app(XPERT_MQ_USER=find_user), tenant="globex") == "acme/None/u-1"


def test_header_is_believed_where_the_config_says_so() -> None:
    app = make_app(XPERT_MQ_TENANT=tenant_header, XPERT_MQ_ORGANIZATION=organization_header)

    assert get(app, tenant="globex") == "globex/None/None"
    assert get(app) == "None/None/None"


def test_finders_are_named_by_text_too() -> None:
    app = make_app(XPERT_MQ_TENANT="xpert_mq.contrib.flask:tenant_header", XPERT_MQ_USER=f"{__name__}:find_user")

    assert get(app, tenant="acme") == "acme/None/u-1"


def test_subdomain() -> None:
    app = make_app(XPERT_MQ_TENANT=from_subdomain("example.com"))

    assert get(app, base_url="http://acme.example.com:8000") == "acme/None/None"


def test_other_tenant_than_the_users_is_refused() -> None:
    app = make_app(XPERT_MQ_TENANT=tenant_header, XPERT_MQ_USER=find_user)

    answer = app.test_client().get("/", headers={"tenant-id": "globex"})

    assert answer.status_code == 403
    assert "may not act for" in answer.get_data(as_text=True)


def test_user_of_flask_login_is_the_default() -> None:
    app = make_app(SECRET_KEY="secret")
    manager = flask_login.LoginManager(app)

    class Known(flask_login.UserMixin):  # type: ignore[misc] # has no types
        id = "u-7"
        tenant_id = "acme"

    manager.request_loader(lambda asked: Known() if asked.headers.get("Authorization") else None)
    client = app.test_client()

    assert client.get("/").text == "None/None/None"
    assert client.get("/", headers={"Authorization": "yes"}).text == "acme/None/u-7"


def test_user_of_flask_login_needs_nothing_but_what_it_asks_for() -> None:
    app = make_app(SECRET_KEY="secret")
    manager = flask_login.LoginManager(app)

    class Known(flask_login.UserMixin):  # type: ignore[misc] # has no types
        tenant_id = "acme"

        def get_id(self) -> str:
            return "u-7"

    manager.request_loader(lambda _: Known())

    assert get(app) == "acme/None/u-7"


@pytest.mark.parametrize("named", [False, True])
def test_callables_of_the_config_may_be_coroutine_functions(named: bool) -> None:
    app = make_app(
        XPERT_MQ_USER=f"{__name__}:afind_user" if named else afind_user,
        XPERT_MQ_ALLOWS=f"{__name__}:allow_nobody" if named else allow_nobody,
    )

    assert app.test_client().get("/").status_code == 403


def test_context_is_there_for_later_hooks_and_coroutines() -> None:
    app = make_app(XPERT_MQ_TENANT=tenant_header)

    @app.before_request
    def note() -> None:
        g.seen = seen()

    @app.get("/coroutine")
    async def coroutine() -> str:
        return f"{g.seen} {seen()}"

    assert get(app, "/coroutine", "acme") == "acme/None/None acme/None/None"


def test_context_lasts_while_a_streamed_answer_is_sent() -> None:
    app = make_app(XPERT_MQ_TENANT=tenant_header)

    @app.get("/stream")
    def stream() -> Any:
        def parts() -> Iterator[str]:
            yield f"{request.path} "
            yield seen()

        return stream_with_context(parts())

    assert get(app, "/stream", "acme") == "/stream acme/None/None"


def test_request_that_a_test_pushes_itself() -> None:
    app = make_app(XPERT_MQ_TENANT=tenant_header)

    with app.test_request_context(headers={"tenant-id": "acme"}):
        app.preprocess_request()
        assert seen() == "acme/None/None"
    assert seen() == "None/None/None"

    with app.test_client() as client:
        client.get("/", headers={"tenant-id": "acme"})
        assert request.path == "/"
        assert seen() == "None/None/None"


def test_request_within_a_request_has_its_own() -> None:
    app = make_app(XPERT_MQ_TENANT=tenant_header)

    @app.get("/outer")
    def outer() -> str:
        inner = app.test_client().get("/", headers={"tenant-id": "globex"}).text
        return f"{inner} {seen()}"

    with app.app_context():
        assert get(app, "/outer", "acme") == "globex/None/None acme/None/None"


@pytest.mark.parametrize("path", ["/broken", "/refused", "/missing"])
def test_nothing_stays_after_an_error(path: str) -> None:
    app = make_app(XPERT_MQ_TENANT=tenant_header, PROPAGATE_EXCEPTIONS=False)
    app.add_url_rule("/broken", view_func=lambda: str(1 / 0), endpoint="broken")
    app.add_url_rule("/refused", view_func=lambda: abort(401), endpoint="refused")

    get(app, path, "acme")


def test_request_that_an_earlier_hook_refuses_has_no_context() -> None:
    app = Flask(__name__)
    app.before_request(lambda: abort(401))
    XpertMQ(app)

    assert app.test_client().get("/").status_code == 401


def test_job_gets_the_tenant_of_its_request(queue: ManagedQueueService) -> None:
    app = make_app(XPERT_MQ_USER=find_user)

    @app.post("/jobs")
    def add() -> str:
        return queue.enqueue(plugin_name="p", queue_name="q", job_name="j", job_id="id").job_id

    app.test_client().post("/jobs")

    job = queue.get_job("id", tenant_id="acme")
    assert job is not None
    assert job.user_id == "u-1"


def test_unknown_key_is_an_error_that_names_the_closest() -> None:
    with pytest.raises(SettingsError, match=r"XPERT_MQ_TENNANT.*did you mean 'XPERT_MQ_TENANT'"):
        make_app(XPERT_MQ_TENNANT=tenant_header)


@pytest.mark.parametrize("prefix", ["XPERT_MQ", "MANAGED_QUEUE"])
def test_unknown_key_is_an_error(prefix: str) -> None:
    with pytest.raises(SettingsError, match=f"unknown key '{prefix}_NONSENSE' in the Flask config"):
        make_app(**{f"{prefix}_NONSENSE": 1})


@pytest.mark.parametrize("key", ["XPERT_MQ_USER", "XPERT_MQ_ALLOWS"])
@pytest.mark.parametrize("value", [5, True, "", "module", "module:", ":function"])
def test_finder_must_be_callable_or_name_a_function(key: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"{key} of the Flask config must be a callable or `module:function`"):
        make_app(**{key: value})


@pytest.mark.parametrize("named", ["no_such_module:find", f"{__name__}:find_nobody", f"{__name__}:USER"])
def test_function_that_is_not_there_is_an_error_of_the_request(named: str) -> None:
    with pytest.raises(SettingsError, match=f"XPERT_MQ_TENANT names '{named}', which"):
        get(make_app(XPERT_MQ_TENANT=named))


@pytest.mark.parametrize("key", ["XPERT_MQ_ON_COMMIT", "XPERT_MQ_APP_CONTEXT"])
@pytest.mark.parametrize("value", ["false", "", 2, []])
def test_text_is_no_truth_value(key: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"{key} of the Flask config must be True or False, not "):
        make_app(**{key: value})


def test_application_has_it_once() -> None:
    with pytest.raises(SettingsError, match=f"the Flask application '{__name__}' has XpertMQ already"):
        XpertMQ(make_app())


def test_application_that_has_served_does_not_take_it() -> None:
    app = Flask(__name__)
    app.add_url_rule("/", view_func=seen)
    app.test_client().get("/")
    with pytest.raises(AssertionError, match="already handled its first request"):
        XpertMQ(app)

    assert app.test_client().get("/").text == "None/None/None"


def test_setting_that_comes_too_late_is_an_error(queue: ManagedQueueService) -> None:
    assert queue.get_job("none") is None  # is in use
    make_app(MANAGED_QUEUE_PREFIX=queue.settings.prefix)

    with pytest.raises(SettingsError, match="MANAGED_QUEUE_PREFIX of the Flask config came too late"):
        make_app(MANAGED_QUEUE_PREFIX="other")
