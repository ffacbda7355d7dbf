from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from xpert_mq.cli import examine
from xpert_mq.cli.examine import Pool, Server
from xpert_mq.settings import Settings

GOOD = Server(
    url="redis://127.0.0.1:6379/0",
    kind="valkey",
    version="9.0.0",
    role="master",
    memory_used=50,
    memory_limit=100,
    maxmemory_policy="noeviction",
    append_only=True,
    append_fsync="everysec",
    snapshots="",
    ping_min_ms=0.1,
    ping_median_ms=0.2,
    clock_difference_ms=3.0,
)
INFO = {"redis_version": "7.2.4"}


def warnings(info: dict[str, Any] | None = None, **changes: Any) -> list[str]:
    server = replace(GOOD, **changes)
    asked = INFO if info is None else info
    return [*examine._server_warnings(server, asked), *examine._answer_warnings(server)]


def test_nothing_to_warn_of() -> None:
    assert warnings() == []
    assert warnings(maxmemory_policy=None, append_only=None, memory_limit=0) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"info": {"redis_version": "6.2.1"}}, "Redis 6.2.1"),
        ({"info": {**INFO, "cluster_enabled": 1}}, "Cluster"),
        ({"info": {**INFO, "aof_last_write_status": "err"}}, "append-only file"),
        ({"info": {**INFO, "rdb_last_bgsave_status": "err"}}, "snapshot"),
        ({"maxmemory_policy": "volatile-lru"}, "volatile-lru"),
        ({"memory_used": 95}, "95% of maxmemory"),
        ({"role": "slave"}, "replica"),
        ({"append_only": False}, "every job is lost"),
        ({"append_only": False, "snapshots": "3600 1"}, "since the last snapshot"),
        ({"ping_median_ms": 80.0}, "80 ms"),
        ({"clock_difference_ms": -2500.0}, "2.5 s behind"),
        ({"clock_difference_ms": 2500.0}, "2.5 s ahead of"),
        ({"info": {}}, "INFO"),
    ],
)
def test_each_thing_that_is_wrong_is_one_warning(changes: dict[str, Any], said: str) -> None:
    (warning,) = warnings(**changes)

    assert said in warning


def test_pool_that_cannot_be_read() -> None:
    pools = [Pool("a", "q", 0, 0, 0), Pool("b", "q-b", 0, None, 0)]

    (warning,) = examine._pool_warnings(pools)

    assert "pool b" in warning


def test_sources_agree_with_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for field in Settings.model_fields.values():
        monkeypatch.delenv(str(field.validation_alias), raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("XPERT_MQ_PLUGINS=a,b\nMANAGED_QUEUE_PREFIX=file\nXPERT_MQ_MAX_STALLED=\n")
    monkeypatch.setenv("MANAGED_QUEUE_PREFIX", "here")
    monkeypatch.setenv("XPERT_MQ_NODE_TIMEOUT", "")
    monkeypatch.setenv("XPERT_MQ_ENQUEUE_TIMEOUT", "2.5")
    monkeypatch.setenv("XPERT_MQ_REDIS_URL", "rediss://me:hunter2@host:1/2?ssl_keyfile=/k&password=hunter2&db=3")

    found = {one.name: one for one in examine.resolved(Settings())}

    assert list(found) == [str(field.validation_alias) for field in Settings.model_fields.values()]
    assert [(found[name].value, found[name].source) for name in ("MANAGED_QUEUE_PREFIX", "XPERT_MQ_PLUGINS")] == [
        ("here", "environment"),
        ("a,b", ".env"),
    ]
    assert (found["XPERT_MQ_ENQUEUE_TIMEOUT"].value, found["XPERT_MQ_NODE_TIMEOUT"].value) == ("2.5", "30")
    assert {found[name].source for name in ("XPERT_MQ_NODE_TIMEOUT", "XPERT_MQ_MAX_STALLED")} == {"default"}
    assert "hunter2" not in repr(found)
