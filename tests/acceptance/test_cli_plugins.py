"""`xpert-mq plugins`: what is loaded and what is not, as tables and as JSON."""

from __future__ import annotations

import re

import pytest

from tests.acceptance.conftest import DeploymentFactory
from tests.acceptance.deployment import Deployment
from tests.acceptance.test_cli import WIDTHS, cli, document, lines, seen

BROKEN = "raise RuntimeError('this \\x1b[2J plugin is broken')\n"
TIDY = """
import sys
from xpert_mq import JobContext, ManagedQueueJob, plugin_job_processor
print("loaded!")

P = "@acme/plugin-community-wechat"

@plugin_job_processor(plugin_name=P, queue_name="wechat.outbound", job_name="send-message", concurrency=2)
def send(job: ManagedQueueJob) -> None: ...

@plugin_job_processor(plugin_name=P, queue_name="wechat.outbound", job_name="flush", scope_key="org-1")
async def flush(job: ManagedQueueJob) -> None: ...
"""


@pytest.fixture
def plugged(deploy: DeploymentFactory) -> Deployment:
    deployment = deploy(XPERT_MQ_PLUGINS="tidy_plugin,broken_plugin,silent_plugin")
    (deployment.folder / "tidy_plugin.py").write_text(TIDY)
    (deployment.folder / "broken_plugin.py").write_text(BROKEN)
    (deployment.folder / "silent_plugin.py").write_text("")
    return deployment


@pytest.mark.parametrize("width", WIDTHS)
def test_tables(plugged: Deployment, width: int) -> None:
    text = seen(plugged, "plugins", width=width, code=1)
    shown = lines(text)

    assert max(map(len, shown[: shown.index("broken_plugin failed")])) <= width
    assert "\x1b[2J" not in text
    assert [line.split() for line in shown[shown.index("Plugins") + 3 :][:3]] == [
        ["tidy_plugin", "tidy_plugin", "2"],
        ["broken_plugin", "broken_plugin", "failed"],
        ["silent_plugin", "silent_plugin", "0"],
    ]
    assert re.search(r"^module or entry point +loaded from +handlers$", "\n".join(shown), re.MULTILINE)
    assert re.search(r"^plugin name +queue +job +scope +at a time +async$", "\n".join(shown), re.MULTILINE)
    handlers = [line.split()[-4:] for line in shown[shown.index("Handlers") :]]
    assert ["flush", "org-1", "-", "yes"] in handlers
    assert ["send-message", "any", "2"] in handlers
    assert "broken_plugin failed" in shown
    assert "  RuntimeError: this \\u001b[2J plugin is broken" in shown
    assert any("silent_plugin" in line and "declares no handler" in line for line in shown)
    assert "Traceback" not in text


def test_verbose_has_the_traceback(plugged: Deployment) -> None:
    done = cli(plugged, "plugins", "-v")

    assert done.returncode == 1
    assert 'broken_plugin.py", line 1, in <module>' in done.stdout
    assert done.stderr == "loaded!\n"


def test_json(plugged: Deployment) -> None:
    done = cli(plugged, "plugins", "--json")
    said = document(done)
    tidy, broken, silent = said["plugins"]

    assert done.returncode == 1
    assert tidy["error"] is None
    assert tidy["handlers"][0] == {
        "plugin_name": "@acme/plugin-community-wechat",
        "queue_name": "wechat.outbound",
        "job_name": "send-message",
        "scope_key": None,
        "concurrency": 2,
        "is_async": False,
    }
    assert broken["error"]["message"] == "RuntimeError: this \x1b[2J plugin is broken"
    assert broken["error"]["traceback"].startswith("Traceback")
    assert silent == {"name": "silent_plugin", "target": "silent_plugin", "error": None, "handlers": []}
    assert ["silent_plugin" in warning for warning in said["warnings"]] == [True]


def test_all_well_and_none_at_all(plugged: Deployment) -> None:
    well = cli(plugged, "plugins", XPERT_MQ_PLUGINS="tidy_plugin")
    none = cli(plugged, "plugins", XPERT_MQ_PLUGINS="")

    assert well.returncode == none.returncode == 0
    assert "XPERT_MQ_PLUGINS" in none.stdout
    assert document(cli(plugged, "plugins", "--json", XPERT_MQ_PLUGINS=""))["plugins"] == []
