"""A worker finds its plugins, and goes on without those that can't be loaded."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tests.acceptance.conftest import DeploymentFactory
from tests.acceptance.nodes import ROOT

PLUGIN = """
    from xpert_mq import PluginContext, MANAGED_QUEUE_SERVICE_TOKEN, managed_queue, plugin_job_processor

    @plugin_job_processor(plugin_name="{name}", queue_name="q", job_name="who")
    class Who:
        def __init__(self, context: PluginContext) -> None:
            self.context = context

        def handle(self, job):
            same = self.context.resolve(MANAGED_QUEUE_SERVICE_TOKEN) is managed_queue
            return [self.context.plugin_name, self.context.scope_key, same]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder on the workers' path."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def write(path: Path, name: str, text: str = PLUGIN) -> None:
    (path / f"{name}.py").write_text(dedent(text.format(name=name)))


def install(path: Path, name: str, target: str) -> None:
    """What pip leaves of a distribution with an entry point."""
    info = path / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[xpert_mq.plugins]\n{name} = {target}\n")


def test_plugins_of_setting_and_entry_points(deploy: DeploymentFactory, path: Path) -> None:
    for name in ("installed", "object_of", "listed"):
        write(path, name)
    install(path, "installed", "installed")
    install(path, "object-of", "object_of:Who")
    deployment = deploy(XPERT_MQ_PLUGINS=" listed, tests.acceptance.plugin", PYTHONPATH=f"{ROOT}:{path}")
    deployment.worker()

    for name in ("installed", "object_of", "listed"):
        job = deployment.service.enqueue(plugin_name=name, queue_name="q", job_name="who")
        assert deployment.finished(job.job_id).return_value == [name, None, True]
    assert deployment.run("echo", 1).return_value["data"] == 1


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def (:\n", "SyntaxError: "),
        ("import sys\nsys.exit('not today')\n", "SystemExit: not today"),
    ],
    ids=["import", "syntax", "exit"],
)
def test_broken_plugin_is_named_and_the_others_load(
    deploy: DeploymentFactory, path: Path, broken: str, said: str
) -> None:
    (path / "broken.py").write_text(broken)
    install(path, "broken-one", "broken")
    write(path, "whole")
    deployment = deploy(XPERT_MQ_PLUGINS="missing,whole", PYTHONPATH=f"{ROOT}:{path}")
    worker = deployment.worker()

    job = deployment.service.enqueue(plugin_name="whole", queue_name="q", job_name="who")

    assert deployment.finished(job.job_id).return_value == ["whole", None, True]
    logs = worker.logs()
    assert "plugin broken-one (broken) could not be loaded" in logs
    assert said in logs
    assert "plugin missing (missing) could not be loaded" in logs
    assert "Traceback" in logs


def test_scoped_handler_comes_before_the_one_without_a_scope(deploy: DeploymentFactory, path: Path) -> None:
    text = """
        from xpert_mq import registry

        def handler(scope):
            return lambda job: scope or "any"

        for scope in (None, "org-1"):
            registry.register(
                plugin_name="{name}", queue_name="q", job_name="scope", scope_key=scope, handler=handler(scope)
            )
    """
    write(path, "scoped", text)
    deployment = deploy(XPERT_MQ_PLUGINS="scoped", PYTHONPATH=f"{ROOT}:{path}")
    deployment.worker()

    given = []
    for scope in ("org-1", "org-2", None):
        job = deployment.service.enqueue(plugin_name="scoped", queue_name="q", job_name="scope", scope_key=scope)
        given.append(deployment.finished(job.job_id).return_value)

    assert given == ["org-1", "any", "any"]
