from __future__ import annotations

from typing import Any

import pytest

from xpert_mq.cli.health import Health, _line, examined
from xpert_mq.store.store import NodeState

MAX_AGE_MS = 1000


def node(beat_ms: int = 10, tick_ms: int | None = 10, **info: Any) -> NodeState:
    return NodeState("host:1:ab", beat_ms, tick_ms, {"queues": ["q"], "ticks": True, "consuming": True, **info})


LIVE = node()
SILENT = node(beat_ms=1001, tick_ms=1001)
HANGING = node(tick_ms=1001)
LEAVING = node(consuming=False)


@pytest.mark.parametrize(
    ("nodes", "workers", "warning"),
    [
        ([], 0, "no live worker"),
        ([node(queues=["q2"])], 0, "no live worker"),
        ([NodeState("host:1:ab", 0, None, None)], 0, "no live worker"),
        ([LIVE], 1, None),
        ([node(beat_ms=1000, tick_ms=1000)], 1, None),
        ([node(tick_ms=90_000, ticks=False)], 1, None),
        ([LIVE, LEAVING], 1, None),
        ([LIVE, LIVE, SILENT], 2, "1 silent"),
        ([LIVE, HANGING, SILENT, SILENT, LEAVING], 1, "2 silent, 1 hanging"),
        ([SILENT], 0, "no live worker, 1 silent"),
        ([HANGING], 0, "no live worker, 1 hanging"),
        ([LEAVING], 0, "no live worker, 1 taking no jobs"),
        ([node(beat_ms=1001, tick_ms=1001, consuming=False)], 0, "no live worker, 1 silent"),
    ],
)
def test_what_nodes_tell(nodes: list[NodeState], workers: int, warning: str | None) -> None:
    found = examined("p", "q", nodes, MAX_AGE_MS)

    assert (found.healthy, found.worker_count, found.warning) == (workers > 0, workers, warning)


def test_oldest_beat_is_of_all_that_consume_the_pool() -> None:
    nodes = [LIVE, node(beat_ms=5000), node(beat_ms=9000, queues=["q2"])]

    assert examined("p", "q", nodes, MAX_AGE_MS).oldest_beat_ms == 5000


@pytest.mark.parametrize(
    ("health", "line"),
    [
        (Health("default", True, 1, 3100, None), "default: 1 worker, oldest beat 3 s ago"),
        (Health("p", True, 2, 61_000, "1 silent"), "p: 2 workers, oldest beat 1 min ago; warning: 1 silent"),
        (Health("p", False, 0, None, "no live worker"), "p: 0 workers; warning: no live worker"),
    ],
)
def test_line(health: Health, line: str) -> None:
    assert _line(health) == line
