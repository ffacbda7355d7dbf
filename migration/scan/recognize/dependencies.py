"""Dependencies that a plugin does not need any more."""

from __future__ import annotations

from ..findings import KINDS, Finding
from ..packages import Dependency
from ..scanner import Scanner

_CLIENTS = frozenset({"ioredis", "redis", "aioredis", "valkey", "iovalkey", "@types/ioredis", "types-redis"})
_NODE = frozenset(
    {
        "bullmq",
        "bull",
        "@nestjs/bullmq",
        "@nestjs/bull",
        "@nestjs/bull-shared",
        "@types/bull",
        "@taskforcesh/bullmq-pro",
    }
)
_DASHBOARDS = ("@bull-board/", "bull-board", "bull-arena", "bull-repl", "bull-monitor", "@bull-monitor/")
_KEEP = "Remove it when the plugin has no client of its own any more."
_DASHBOARD = "Remove it: `xpert-mq queues` and Flower show the platform's jobs."


def dropped(scanner: Scanner) -> None:
    """Notes the dependencies of all manifests that go with the queue."""
    for package in scanner.project.packages:
        for one in package.dependencies:
            hint = _hint(one)
            if hint is not None:
                what = f"{one.name} in {one.group}"
                made = Finding("dependency", one.file.shown, one.line, one.column, what, "person", hint)
                scanner.note_in(one.file, made)


def _hint(one: Dependency) -> str | None:
    if one.name in _CLIENTS:
        return _KEEP
    if one.node and one.name.startswith(_DASHBOARDS):
        return _DASHBOARD
    gone = one.name in _NODE if one.node else one.name == "bullmq"
    return KINDS["dependency"].hint if gone else None
