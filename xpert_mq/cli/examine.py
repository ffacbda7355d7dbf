"""What `xpert-mq doctor` looks at: the server, the pools, the settings and the keys. It only reads."""

from __future__ import annotations

import difflib
import functools
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import redis
from pydantic_settings import DotEnvSettingsSource, EnvSettingsSource
from redis import exceptions

from xpert_mq.cli.orphans import KeyReport, find_orphans
from xpert_mq.cli.server_client import clock_difference
from xpert_mq.errors import QueueUnavailableError
from xpert_mq.service import ManagedQueueService
from xpert_mq.settings import Settings
from xpert_mq.store.connection import too_old
from xpert_mq.store.keys import pool_keys

_PREFIXES = ("XPERT_MQ_", "MANAGED_QUEUE_")
_PINGS = 20
_SLOW_MS = 50.0
_CLOCK_MS = 1000.0
_FULL = 0.9

Info = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as resolved; `source` is `environment`, `.env` or `default`. Never holds a password."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class Server:
    """The server as it describes itself, with None for what it doesn't tell; and how it answers."""

    url: str
    kind: str | None
    version: str | None
    role: str | None
    memory_used: int | None
    memory_limit: int | None
    maxmemory_policy: str | None
    append_only: bool | None
    append_fsync: str | None
    snapshots: str | None
    ping_min_ms: float
    ping_median_ms: float
    #: The server's clock minus this machine's.
    clock_difference_ms: float


@dataclass(frozen=True, slots=True)
class Pool:
    """An execution pool's sizes, and its live workers; None for what could not be read."""

    name: str
    queue: str
    messages: int | None
    waiting: int | None
    delayed: int | None
    workers: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All that was found."""

    server: Server
    pools: list[Pool]
    #: None where nobody wanted to know, or access rules forbid to look.
    keys: KeyReport | None
    warnings: list[str]


def resolved(settings: Settings) -> list[Setting]:
    """Every setting by its variable, and where its value came from."""
    sources = {"environment": EnvSettingsSource(Settings)(), ".env": DotEnvSettingsSource(Settings)()}
    found = []
    for name, field in Settings.model_fields.items():
        variable = str(field.validation_alias)
        source = next((source for source, values in sources.items() if variable in values), "default")
        value = settings.safe_redis_url if name == "redis_url" else _shown(getattr(settings, name))
        found.append(Setting(variable, value, source))
    return found


def unknown_variables() -> Iterator[str]:
    """A warning for each variable that has our prefix, and that nobody reads; never with its value."""
    known = [str(field.validation_alias) for field in Settings.model_fields.values()]
    sources = {"environment": EnvSettingsSource(Settings), ".env": DotEnvSettingsSource(Settings)}
    for source, reader in sources.items():
        for name in sorted(reader.env_vars):
            if name.upper().startswith(_PREFIXES) and name not in known:
                yield f"{name!r} in the {source} is no setting, so nobody reads it{_closest(name, known)}"


def _closest(variable: str, known: Sequence[str]) -> str:
    # Without the prefixes: all names are alike in them, and one may have been taken for the other.
    rests = {_rest(name): name for name in known}
    found = difflib.get_close_matches(_rest(variable.upper()), rests, n=1)
    return f"; did you mean {rests[found[0]]}?" if found else ""


def _rest(variable: str) -> str:
    return next(variable.removeprefix(prefix) for prefix in _PREFIXES if variable.startswith(prefix))


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def examine(client: redis.Redis, settings: Settings, *, with_keys: bool = True) -> Report:
    """Asks the server. Raises redis-py's errors for one that does not answer."""
    info: Info = _allowed(client.info) or {}
    server = _server(client, info, settings)
    pools = _pools(client, settings)
    keys: KeyReport | None = _allowed(lambda: find_orphans(client, settings)) if with_keys else None
    warnings = [*_server_warnings(server, info), *_answer_warnings(server), *_pool_warnings(pools)]
    warnings += keys.warnings if keys else []
    return Report(server, pools, keys, warnings)


def _allowed(ask: Callable[[], Any]) -> Any:
    """What the server says, or None where its access rules forbid the question."""
    try:
        return ask()
    except exceptions.AuthenticationError:
        raise
    except exceptions.ResponseError:
        return None


def _server(client: redis.Redis, info: Info, settings: Settings) -> Server:
    pings = _pings(client)
    kind = info.get("server_name", "redis") if info else None
    append_only = bool(info["aof_enabled"]) if "aof_enabled" in info else None
    return Server(
        url=settings.safe_redis_url,
        kind=kind,
        version=info.get(f"{kind}_version") or info.get("redis_version"),
        role=info.get("role"),
        memory_used=info.get("used_memory"),
        memory_limit=info.get("maxmemory"),
        maxmemory_policy=info.get("maxmemory_policy"),
        append_only=append_only,
        append_fsync=_configured(client, "appendfsync") if append_only else None,
        snapshots=_configured(client, "save"),
        ping_min_ms=round(min(pings), 3),
        ping_median_ms=round(statistics.median(pings), 3),
        clock_difference_ms=round(clock_difference(client), 1) + 0.0,  # never -0.0
    )


def _configured(client: redis.Redis, name: str) -> str | None:
    found = (_allowed(functools.partial(client.config_get, name)) or {}).get(name)
    return found.decode() if isinstance(found, bytes) else found


def _pings(client: redis.Redis) -> list[float]:
    times = []
    for _ in range(_PINGS):
        started = time.perf_counter()
        client.ping()
        times.append((time.perf_counter() - started) * 1000)
    return times


def _pools(client: redis.Redis, settings: Settings) -> list[Pool]:
    queues = [settings.queue_name(pool) for pool in settings.pools]
    pipe = client.pipeline(transaction=False)
    for queue in queues:
        pool = pool_keys(queue)
        pipe.llen(pool.queue)
        for index in (pool.waiting, pool.delayed):
            pipe.zcard(index)
    sizes = [None if isinstance(size, Exception) else int(size) for size in pipe.execute(raise_on_error=False)]
    workers = [_workers(settings, pool) for pool in settings.pools]
    messages, waiting, delayed = (sizes[i::3] for i in range(3))
    rows = zip(settings.pools, queues, messages, waiting, delayed, workers, strict=True)
    return [Pool(*row) for row in rows]


def _workers(settings: Settings, pool: str) -> int | None:
    with closing(ManagedQueueService(settings)) as service:
        try:
            return service.get_execution_pool_health(pool).worker_count
        except QueueUnavailableError:  # access rules may forbid scripts
            return None


def _server_warnings(server: Server, info: Info) -> Iterator[str]:
    if not info:
        yield "the server does not let this user ask INFO, so its version, memory and persistence are not known"
        return
    if reason := too_old(info.get("redis_version", "7.0")):
        yield reason
    if server.maxmemory_policy not in (None, "noeviction"):
        yield f"maxmemory-policy is {server.maxmemory_policy}: jobs may be dropped when memory is short; set noeviction"
    if server.memory_limit and server.memory_used and server.memory_used > _FULL * server.memory_limit:
        part = server.memory_used / server.memory_limit
        yield f"{part:.0%} of maxmemory is used; when it is full, nothing is enqueued"
    if server.role in ("slave", "replica"):
        yield "the server is a replica, which takes no writes; name its primary in XPERT_MQ_REDIS_URL"
    if info.get("cluster_enabled"):
        yield "the server is part of a Redis Cluster, which does not serve: the scripts touch keys in several slots"
    yield from _persistence_warnings(server, info)


def _persistence_warnings(server: Server, info: Info) -> Iterator[str]:
    if server.append_only is False:
        lost = "what came since the last snapshot" if server.snapshots else "every job"
        yield f"appendonly is off: if the server crashes, {lost} is lost; set `appendonly yes`"
    for name, what in (("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot")):
        if info.get(name, "ok") != "ok":
            yield f"the server could not write its latest {what}; its log says why"


def _answer_warnings(server: Server) -> Iterator[str]:
    if server.ping_median_ms > _SLOW_MS:
        yield f"a round trip takes {server.ping_median_ms:.0f} ms, and every enqueue at least as long"
    if abs(server.clock_difference_ms) > _CLOCK_MS:
        seconds = server.clock_difference_ms / 1000
        way = "ahead of" if seconds > 0 else "behind"
        yield f"the server's clock is {abs(seconds):.1f} s {way} this machine's; delays go by the server's"


def _pool_warnings(pools: list[Pool]) -> Iterator[str]:
    for pool in pools:
        if None in (pool.messages, pool.waiting, pool.delayed):
            yield f"the pool {pool.name} can't be read in full: access rules, or other keys under {pool.queue}"
