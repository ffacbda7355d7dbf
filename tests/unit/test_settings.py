from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from xpert_mq.errors import InvalidJobError, SettingsError
from xpert_mq.settings import Settings, get_settings

VARIABLES = [str(field.validation_alias) for field in Settings.model_fields.values()]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_settings_defaults() -> None:
    assert Settings().model_dump() == {
        "redis_url": "redis://127.0.0.1:6379/0",
        "prefix": "xpert:managed-queue",
        "concurrency": 10,
        "plugins": (),
        "payload_limit": 1048576,
        "enqueue_timeout": 3.0,
        "heartbeat_interval": 5.0,
        "node_timeout": 30.0,
        "max_stalled": 1,
        "pools": ("default", "sandbox-browser"),
        "sandbox_browser_concurrency": 1,
        "user_loader": None,
        "celery_config": None,
        "log_format": "text",
    }


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("XPERT_MQ_REDIS_URL", "rediss://user:pw@redis.internal:6380/2", "redis_url", None),
        ("XPERT_MQ_REDIS_URL", "unix:///run/redis.sock?db=1", "redis_url", None),
        ("XPERT_MQ_REDIS_URL", "redis://[::1]:6379", "redis_url", None),
        ("MANAGED_QUEUE_PREFIX", "staging_2:mq-a", "prefix", None),
        ("MANAGED_QUEUE_PREFIX", "p" * 160, "prefix", None),
        ("MANAGED_QUEUE_CONCURRENCY", "1", "concurrency", 1),
        ("XPERT_MQ_PLUGINS", " wechat , acme.jobs,,", "plugins", ("wechat", "acme.jobs")),
        ("XPERT_MQ_PLUGINS", "", "plugins", ()),
        ("XPERT_MQ_PAYLOAD_LIMIT", "2048", "payload_limit", 2048),
        ("XPERT_MQ_ENQUEUE_TIMEOUT", "0.25", "enqueue_timeout", 0.25),
        ("XPERT_MQ_HEARTBEAT_INTERVAL", "0.5", "heartbeat_interval", 0.5),
        ("XPERT_MQ_NODE_TIMEOUT", "7.5", "node_timeout", 7.5),
        ("XPERT_MQ_MAX_STALLED", "0", "max_stalled", 0),
        ("XPERT_MQ_POOLS", "gpu, gpu,default", "pools", ("gpu", "default")),
        ("XPERT_MQ_POOLS", "gpu", "pools", ("default", "gpu")),
        ("MANAGED_QUEUE_SANDBOX_BROWSER_CONCURRENCY", "4", "sandbox_browser_concurrency", 4),
        ("XPERT_MQ_USER_LOADER", "acme.users:load", "user_loader", None),
        ("XPERT_MQ_CELERY_CONFIG", "deploy.celeryconfig", "celery_config", None),
        ("XPERT_MQ_LOG_FORMAT", "json", "log_format", None),
    ],
)
def test_settings_read_from_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str, field: str, value: object
) -> None:
    monkeypatch.setenv(variable, text)

    assert getattr(Settings(), field) == (text if value is None else value)


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("XPERT_MQ_REDIS_URL", "amqp://host", "must start with redis://"),
        ("XPERT_MQ_REDIS_URL", "redis://", "names no host"),
        ("XPERT_MQ_REDIS_URL", "redis://host:port", "host or port"),
        ("XPERT_MQ_REDIS_URL", "redis://host/first", "database"),
        ("XPERT_MQ_REDIS_URL", "redis://host/0?colour=red", "an option"),
        ("XPERT_MQ_REDIS_URL", "redis://host/0?socket_timeout=soon", "an option"),
        ("XPERT_MQ_REDIS_URL", "unix:///run/redis.sock?db=first", "database"),
        ("XPERT_MQ_REDIS_URL", "unix://run/redis.sock", "full path"),
        ("MANAGED_QUEUE_PREFIX", "a b", "letters"),
        ("MANAGED_QUEUE_PREFIX", "{a}", "letters"),
        ("MANAGED_QUEUE_PREFIX", "é", "letters"),
        ("MANAGED_QUEUE_PREFIX", "p" * 161, "160"),
        ("MANAGED_QUEUE_CONCURRENCY", "0", "greater than or equal to 1, not '0'"),
        ("MANAGED_QUEUE_CONCURRENCY", "ten", "valid integer"),
        ("XPERT_MQ_PLUGINS", "acme/jobs", "package.module"),
        ("XPERT_MQ_PAYLOAD_LIMIT", "0", "greater than or equal to 1"),
        ("XPERT_MQ_ENQUEUE_TIMEOUT", "0", "greater than 0"),
        ("XPERT_MQ_ENQUEUE_TIMEOUT", "inf", "finite"),
        ("XPERT_MQ_HEARTBEAT_INTERVAL", "-1", "greater than 0"),
        ("XPERT_MQ_NODE_TIMEOUT", "nan", "finite"),
        ("XPERT_MQ_NODE_TIMEOUT", "5", "longer than XPERT_MQ_HEARTBEAT_INTERVAL"),
        ("XPERT_MQ_MAX_STALLED", "-1", "greater than or equal to 0"),
        ("XPERT_MQ_POOLS", "gpu:big", "'gpu:big'"),
        ("MANAGED_QUEUE_SANDBOX_BROWSER_CONCURRENCY", "0", "greater than or equal to 1"),
        ("XPERT_MQ_USER_LOADER", "acme.users", "module:function"),
        ("XPERT_MQ_CELERY_CONFIG", "celeryconfig:settings", "package.module"),
        ("XPERT_MQ_LOG_FORMAT", "yaml", "input should be 'text' or 'json', not 'yaml'"),
    ],
)
def test_settings_error_names_variable(monkeypatch: pytest.MonkeyPatch, variable: str, text: str, said: str) -> None:
    monkeypatch.setenv(variable, text)

    with pytest.raises(SettingsError) as caught:
        Settings()

    assert str(caught.value).startswith(variable)
    assert said in str(caught.value)


def test_settings_errors_all_named() -> None:
    with pytest.raises(SettingsError, match=r"^MANAGED_QUEUE_CONCURRENCY: .*\nXPERT_MQ_MAX_STALLED: .*$"):
        Settings(concurrency=0, max_stalled=-1)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:s3cret@host:6379/0",
        "redis://user:s3cret/x@host:6379/0",
        "redis://user:s3cret#x@host:6379/0",
        "redis://user:s3cret?x@host:6379/0",
        "redis://:12/s3cret@host:6379/0",
        "redis://:12?s3cret@host:6379/0",
        "redis://user:s3cret@host:s3cret/0",
        "redis://user:s3cret@host:6379/s3cret",
        "redis://user:s3cret@[host:6379/0",
        "user:s3cret@host",
    ],
)
@pytest.mark.parametrize(
    "variable", ["XPERT_MQ_REDIS_URL", "MANAGED_QUEUE_PREFIX", "XPERT_MQ_POOLS", "XPERT_MQ_MAX_STALLED"]
)
def test_settings_error_hides_password(monkeypatch: pytest.MonkeyPatch, variable: str, url: str) -> None:
    monkeypatch.setenv(variable, url)

    with pytest.raises(SettingsError) as caught:
        Settings()

    assert "s3cret" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://:s3cret@host:6379/1", "redis://host:6379/1"),
        ("redis://user:s3cret@[::1]:6379/1", "redis://user@[::1]:6379/1"),
        ("rediss://u:s%40cret@host?password=s3cret&ssl_password=s3cret&db=4", "rediss://u@host?db=4"),
        ("unix://:s3cret@/run/redis.sock?db=3&password=s3cret", "unix:///run/redis.sock?db=3"),
    ],
)
def test_settings_safe_url(url: str, safe: str) -> None:
    settings = Settings(redis_url=url)

    assert settings.safe_redis_url == safe
    assert "cret" not in repr(settings) + str(settings)


def test_settings_precedence_code_environment_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "MANAGED_QUEUE_PREFIX=from-file\nMANAGED_QUEUE_CONCURRENCY=3\nXPERT_MQ_MAX_STALLED=4\nUNRELATED=1\n"
    )
    monkeypatch.setenv("MANAGED_QUEUE_CONCURRENCY", "5")
    monkeypatch.setenv("XPERT_MQ_MAX_STALLED", "6")

    settings = Settings(max_stalled=7)

    assert (settings.prefix, settings.concurrency, settings.max_stalled) == ("from-file", 5, 7)


def test_settings_env_file_unreadable(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"MANAGED_QUEUE_PREFIX=\xff\n")

    with pytest.raises(SettingsError, match=r"^\.env: cannot be read"):
        Settings()


def test_settings_ignore_variables_of_field_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFIX", "/usr/local")
    monkeypatch.setenv("prefix", "/usr/local")
    monkeypatch.setenv("CONCURRENCY", "0")

    assert Settings() == Settings(prefix="xpert:managed-queue", concurrency=10)


def test_settings_unknown_name_suggests_closest() -> None:
    with pytest.raises(SettingsError, match="unknown setting 'concurency'; did you mean 'concurrency'"):
        Settings(concurency=1)  # type: ignore[call-arg]


def test_settings_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().prefix = "other"


def test_settings_collections_in_code() -> None:
    settings = Settings(pools=("gpu",), plugins=("acme.jobs", "acme.jobs"))

    assert settings.pools == ("default", "gpu")
    assert settings.plugins == ("acme.jobs",)


def test_settings_queue_names() -> None:
    settings = Settings(prefix="p")

    assert settings.queue_name() == settings.queue_name("default") == "p:plugin-jobs"
    assert settings.queue_name("sandbox-browser") == "p:plugin-jobs-sandbox-browser"


@pytest.mark.parametrize(
    ("pool", "hint"), [("sandbox_browser", "did you mean 'sandbox-browser'"), ("x", "default, sandbox-browser")]
)
def test_settings_queue_name_unknown_pool(pool: str, hint: str) -> None:
    with pytest.raises(InvalidJobError, match=hint) as caught:
        Settings().queue_name(pool)

    assert caught.value.field == "execution_pool"


def test_get_settings_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = get_settings()
    monkeypatch.setenv("MANAGED_QUEUE_PREFIX", "later")

    assert get_settings() is first
    get_settings.cache_clear()
    assert get_settings().prefix == "later"


def test_settings_as_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(redis_url="redis://elsewhere:1/2", plugins=("a", "b.c"), node_timeout=7.5, pools=("default",))

    for variable, text in settings.environment(Settings.model_fields).items():
        monkeypatch.setenv(variable, text)

    assert Settings() == settings
