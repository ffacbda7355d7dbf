"""Whole plugins do the same when they have been rewritten: played on real BullMQ, and on the managed queue."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migration.rewrite.running import run
from tests.migration.rewrite.stages import PLUGINS, ManagedStage, names, scenario_of
from xpert_mq import Settings, registry
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.handlers import HandlerRegistry
from xpert_mq.plugins import load_plugins
from xpert_mq.testing import QueueKit

ROOT = Path(__file__).parents[3]
MAX_BYTES = 1_000_000


@pytest.fixture(scope="session")
def before(server: EmbeddedServer) -> dict[str, Any]:
    """What each plugin did on BullMQ."""
    url = server.url.rpartition("/")[0] + "/9"
    command = [sys.executable, "-m", "tests.migration.rewrite.play_before", url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    outcomes: dict[str, Any] = json.loads(done.stdout)
    return outcomes


@pytest.fixture
def after(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The plugin, rewritten, and importable for the time of the test."""
    shutil.copytree(PLUGINS / request.param / "before", tmp_path, dirs_exist_ok=True)
    report = run([tmp_path], write=True, plugin_name=None, max_bytes=MAX_BYTES)
    assert not report.skipped
    assert report.diffs
    assert not run([tmp_path], write=True, plugin_name=None, max_bytes=MAX_BYTES).diffs
    monkeypatch.syspath_prepend(tmp_path)
    # A plugin that still opened a connection of its own would fail at once.
    for name in ("REDIS_URL", "REDIS_HOST", "REDIS_PORT"):
        monkeypatch.setitem(os.environ, name, "redis://127.0.0.1:1/0" if name == "REDIS_URL" else "1")
    yield tmp_path
    for module in [one for one in sys.modules if one.partition(".")[0] == request.param]:
        del sys.modules[module]


@pytest.mark.parametrize("after", names(), indirect=True)
async def test_plugin_does_what_it_did(
    before: dict[str, Any], after: Path, queue_kit: QueueKit, request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.params["after"]
    scenario = scenario_of(name)
    loaded = HandlerRegistry()
    plugins = load_plugins(Settings(plugins=scenario.MODULES), loaded)
    assert [one.error for one in plugins if one.target in scenario.MODULES] == [None] * len(scenario.MODULES)
    registry._add(loaded.handlers())
    outcome = json.loads(json.dumps(await scenario.play(ManagedStage(queue_kit))))
    expected = before[name]
    for place, (was, is_now) in getattr(scenario, "DIFFERENT", {}).items():
        assert expected[place] == was
        expected = [*expected[:place], is_now, *expected[place:][1:]]
    assert outcome == expected
