"""The platform's settings: from the environment, a `.env` file in the working directory, or named in code."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .errors import InvalidJobError, SettingsError

DEFAULT_POOL = "default"
SANDBOX_BROWSER = "sandbox-browser"

_PREFIX = re.compile(r"[A-Za-z0-9:_-]{1,160}")
# A pool's name ends the name of its queue. A colon in it could make the queue's name the key of something else.
_POOL = re.compile(r"[A-Za-z0-9_-]{1,100}")
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_FUNCTION = re.compile(rf"{_MODULE.pattern}:{_MODULE.pattern}")
_ESCAPE_HINT = "a password with special characters must be percent-encoded"


def _check_url(url: str) -> str:
    """Refuse what redis-py would refuse later, in words that never repeat the URL: it may hold a password."""
    if not url.startswith(("redis://", "rediss://", "unix://")):
        raise ValueError("must start with redis://, rediss:// or unix://")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ValueError(f"has a host or port that cannot be read; {_ESCAPE_HINT}") from None
    if parts.fragment or url.endswith("#") or "@" in parts.path + parts.query:
        raise ValueError(f"has an @ or # in the wrong place; {_ESCAPE_HINT}")
    database = dict(parse_qsl(parts.query, keep_blank_values=True)).get("db", "0")
    if parts.scheme == "unix":
        if host or len(parts.path) < 2:
            raise ValueError("must name the socket by its full path, as in unix:///run/redis.sock?db=0")
    else:
        if not host:
            raise ValueError("names no host")
        database = parts.path.strip("/") or database
    if not (database.isascii() and database.isdigit()):
        raise ValueError("has a database that is not a whole number, as in redis://host:6379/0")
    _check_options(url)
    return url


def _check_options(url: str) -> None:
    # Not before there is a URL to check: the import takes a while.
    from redis import connection

    try:
        options: Any = connection.parse_url(url)
        for name in ("max_connections", "timeout"):  # of a pool of connections
            options.pop(name, None)
        options.pop("connection_class", connection.Connection)(**options)
    except (TypeError, ValueError):
        names = ", ".join(name for name, _ in parse_qsl(urlsplit(url).query))
        raise ValueError(f"has an option after its ? that redis-py does not know, or can't read: {names}") from None


def _check_prefix(prefix: str) -> str:
    if not _PREFIX.fullmatch(prefix):
        raise ValueError(f"must be 1 to 160 letters, digits, colons, underscores or hyphens, not {_shown(prefix)}")
    return prefix


def _split(value: object) -> object:
    """Comma-separated text, or a collection in code, as trimmed names without doubles."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)):
        return value
    stripped = (name.strip() if isinstance(name, str) else name for name in names)
    return tuple(dict.fromkeys(name for name in stripped if name != ""))


def _check_pools(pools: tuple[str, ...]) -> tuple[str, ...]:
    for pool in pools:
        if not _POOL.fullmatch(pool):
            raise ValueError(f"must hold names of 1 to 100 letters, digits, underscores or hyphens, not {_shown(pool)}")
    return pools if DEFAULT_POOL in pools else (DEFAULT_POOL, *pools)


def _check_modules(modules: tuple[str, ...]) -> tuple[str, ...]:
    for module in modules:
        _check_module(module)
    return modules


def _check_module(module: str) -> str:
    if not _MODULE.fullmatch(module):
        raise ValueError(f"must name modules, as in package.module, not {_shown(module)}")
    return module


def _check_function(spec: str) -> str:
    if not _FUNCTION.fullmatch(spec):
        raise ValueError(f"must be module:function, not {_shown(spec)}")
    return spec


Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class Settings(BaseSettings):
    """What a deployment decides. Frozen; every value has a default; code uses the fields' names.

    Precedence: what code names, then the environment, then `.env`; an empty variable counts as not set.

    Raises:
        SettingsError: a value is wrong; names the variable, never a password.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        case_sensitive=True,
        # `.env` files are shared with other programs.
        extra="ignore",
        str_strip_whitespace=True,
        hide_input_in_errors=True,
    )

    redis_url: Annotated[str, AfterValidator(_check_url)] = Field(
        default="redis://127.0.0.1:6379/0", validation_alias="XPERT_MQ_REDIS_URL", repr=False
    )
    """Broker, job store and the plugins' Redis: `redis://`, `rediss://` or `unix://`."""
    prefix: Annotated[str, AfterValidator(_check_prefix)] = Field(
        default="xpert:managed-queue", validation_alias="MANAGED_QUEUE_PREFIX"
    )
    """Begins every key; environments that share a Redis take different ones."""
    concurrency: Count = Field(default=10, validation_alias="MANAGED_QUEUE_CONCURRENCY")
    """Jobs that one worker node runs at a time."""
    plugins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_modules)] = Field(
        default=(), validation_alias="XPERT_MQ_PLUGINS"
    )
    """Plugin modules to load, besides those that announce themselves by an entry point."""
    payload_limit: Count = Field(default=1024 * 1024, validation_alias="XPERT_MQ_PAYLOAD_LIMIT")
    """Bytes of a payload, encoded."""
    enqueue_timeout: Seconds = Field(default=3.0, validation_alias="XPERT_MQ_ENQUEUE_TIMEOUT")
    """Seconds until a call gives up with QueueUnavailableError."""
    heartbeat_interval: Seconds = Field(default=5.0, validation_alias="XPERT_MQ_HEARTBEAT_INTERVAL")
    """Seconds between a node's beats."""
    node_timeout: Seconds = Field(default=30.0, validation_alias="XPERT_MQ_NODE_TIMEOUT")
    """Seconds without a beat until a node counts as dead, and so the longest that a try is worth to be recorded for."""
    max_stalled: Annotated[int, Field(ge=0)] = Field(default=1, validation_alias="XPERT_MQ_MAX_STALLED")
    """Re-runs after a crash that spend no attempt."""
    pools: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_check_pools)] = Field(
        default=(DEFAULT_POOL, SANDBOX_BROWSER), validation_alias="XPERT_MQ_POOLS"
    )
    """The declared execution pools; `default` is always one of them."""
    sandbox_browser_concurrency: Count = Field(default=1, validation_alias="MANAGED_QUEUE_SANDBOX_BROWSER_CONCURRENCY")
    """Jobs of the pool `sandbox-browser` that one node runs at a time."""
    user_loader: Annotated[str, AfterValidator(_check_function)] | None = Field(
        default=None, validation_alias="XPERT_MQ_USER_LOADER"
    )
    """`module:function` that loads a job's user in the worker."""
    celery_config: Annotated[str, AfterValidator(_check_module)] | None = Field(
        default=None, validation_alias="XPERT_MQ_CELERY_CONFIG"
    )
    """Module with a deployment's Celery settings."""
    log_format: Literal["text", "json"] = Field(default="text", validation_alias="XPERT_MQ_LOG_FORMAT")
    """How workers write their logs."""

    if not TYPE_CHECKING:  # type checkers see the signature that pydantic declares: one keyword per field

        def __init__(self, **values: Any) -> None:
            # Translated here, since pydantic's `validate_by_name` would also read the environment by field name, and
            # many shells export a `PREFIX`.
            named = {self._variable(name): value for name, value in values.items()}
            try:
                super().__init__(**named)
                return
            except ValidationError as error:
                wrong = _describe(error)
            except (OSError, UnicodeDecodeError) as error:
                wrong = f".env: cannot be read as UTF-8 text ({type(error).__name__})"
            # Outside the handlers, so that no traceback or error reporter carries the inputs along as the context.
            raise SettingsError(wrong)

    @classmethod
    def _variable(cls, name: str) -> str:
        if name.startswith("_"):  # pydantic-settings' own arguments, such as _env_file
            return name
        if name not in cls.model_fields:
            raise SettingsError(f"unknown setting {name!r}{closest_hint(name, cls.model_fields)}")
        return str(cls.model_fields[name].validation_alias)

    @model_validator(mode="after")
    def _check_timeout(self) -> Self:
        if self.node_timeout <= self.heartbeat_interval:
            raise ValueError(
                "XPERT_MQ_NODE_TIMEOUT must be longer than XPERT_MQ_HEARTBEAT_INTERVAL, or every node would count as "
                f"dead between two beats; got {self.node_timeout:g} s and {self.heartbeat_interval:g} s"
            )
        return self

    def environment(self, names: Iterable[str]) -> dict[str, str]:
        """These fields as variables of the environment, for another process."""
        found = {}
        for name in names:
            value = getattr(self, name)
            text = ",".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
            found[self._variable(name)] = text
        return found

    @property
    def safe_redis_url(self) -> str:
        """The URL without its password and without options other than the database, for errors and logs."""
        parts = urlsplit(self.redis_url)
        login, _, place = parts.netloc.rpartition("@")
        user = login.partition(":")[0]
        database = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key == "db"])
        return f"{parts.scheme}://{user and user + '@'}{place}{parts.path}{database and '?' + database}"

    def queue_name(self, pool: str = DEFAULT_POOL) -> str:
        """The physical queue of an execution pool.

        Raises:
            InvalidJobError: the pool is not declared; the field is `execution_pool`.
        """
        if pool == DEFAULT_POOL:
            return f"{self.prefix}:plugin-jobs"
        if pool in self.pools:
            return f"{self.prefix}:plugin-jobs-{pool}"
        declared = ", ".join(self.pools)
        raise InvalidJobError(
            f"execution_pool {pool!r} is not declared; XPERT_MQ_POOLS declares {declared}"
            f"{closest_hint(pool, self.pools)}",
            field="execution_pool",
        )


@functools.cache
def get_settings() -> Settings:
    """The process-wide settings, read on first use; tests forget them with `get_settings.cache_clear()`."""
    return Settings()


def closest_hint(name: object, known: Any) -> str:
    """The end of a sentence that names the known one most like it; '' where none is."""
    matches = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {matches[0]!r}?" if matches else ""


def _shown(value: object) -> str:
    """The value as text, unless it is a URL put into the wrong variable: that may hold a password."""
    text = repr(value)
    return "what looks like a URL" if "://" in text or "@" in text else text


def _describe(error: ValidationError) -> str:
    """One line for each wrong value, naming its variable."""
    return "\n".join(map(_describe_one, error.errors(include_url=False)))


def _describe_one(detail: ErrorDetails) -> str:
    if detail["type"] == "value_error":  # one of our own checks, which say all there is to say
        return ": ".join([*map(str, detail["loc"][:1]), str(detail["ctx"]["error"])])
    variable = detail["loc"][0]
    given = "" if variable == "XPERT_MQ_REDIS_URL" else f", not {_shown(detail['input'])}"
    return f"{variable}: {detail['msg'][:1].lower()}{detail['msg'][1:]}{given}"
