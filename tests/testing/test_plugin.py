"""The plugin in test sessions of its own."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.fixtures import FixtureFunctionDefinition

from tests.testing.documents import DOCS, blocks, broken_links, files
from xpert_mq import managed_queue as service

# The kit, so that it and Celery are not imported anew, and forgotten, in each session within this one.
from xpert_mq.testing import kit as kit
from xpert_mq.testing import plugin

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

DOCUMENT = "testing.md"
CODE, TEST = files(DOCUMENT)["mail"], files(DOCUMENT)["test_mail"]

ANYIO_TEST = """
    import mail
    import pytest

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    @pytest.mark.parametrize("number", range(6))
    async def test_order(managed_queue, arun_jobs, enqueued, number):
        enqueued.none()
        await managed_queue.aenqueue(**mail.MAIL, payload={"to": number}, attempts=2)
        assert [run.outcome for run in await arun_jobs()] == ["retry", "completed"]
        enqueued(state="completed", payload={"to": number})
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # Of all the plugins that are installed here only those that are named.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.Pytester]:
    """A plugin's own project, as its author has it: that of the documentation."""
    pytester.makepyfile(mail=CODE, test_mail=TEST)
    pytester.makeini("[pytest]\nfilterwarnings = error")
    pytester.syspathinsert()
    monkeypatch.setenv("XPERT_MQ_PLUGINS", "mail")
    # It must never be reached.
    monkeypatch.setenv("XPERT_MQ_REDIS_URL", "redis://127.0.0.1:1/0")
    yield pytester
    sys.modules.pop("mail", None)


def run_here(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    """Runs the project's tests in this process."""
    return project.runpytest_inprocess(*options, plugins=[plugin])


def test_project_tests_its_plugin(project: pytest.Pytester) -> None:
    before = dict(vars(service))
    project.makepyfile(test_next="def test_clean(enqueued): enqueued.none()")
    result = run_here(project)
    result.assert_outcomes(passed=2)
    assert vars(service) == before


def test_documentation_is_complete() -> None:
    assert len(blocks(DOCUMENT, "python")) == 2, "every block is a file of the project above"
    text = (DOCS / DOCUMENT).read_text()
    fixtures = {name for name, value in vars(plugin).items() if isinstance(value, FixtureFunctionDefinition)}
    named = set(re.findall(r"^\| `(\w+)", text, re.MULTILINE))
    assert named == {name for name in fixtures if not name.startswith("_")}
    assert set(re.findall(r"`(\w+)\(.*?\)`", text)) >= {"as_user", "as_api_client", "assert_scoped", "no_bytes"}
    assert broken_links(DOCUMENT) == []


def test_difference_is_shown_in_the_report(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_mail="""
        import mail

        def test_order(managed_queue, enqueued):
            mail.order("ada")
            enqueued(**mail.MAIL, payload={"to": "bob"})
        """
    )
    result = run_here(project)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E*closest is * of mail/out/send (waiting):", "E*payload.to: expected 'bob', got 'ada'"]
    )
    # Of the test, and not of the kit.
    result.stdout.no_fnmatch_line("*xpert_mq/testing/*")


@pytest.mark.slow
def test_service_is_the_projects_own_outside_of_the_fixtures(project: pytest.Pytester) -> None:
    project.makepyfile(
        test_mail="""
        import os
        import pytest
        from xpert_mq import Settings, managed_queue as service
        from xpert_mq.settings import get_settings

        @pytest.fixture(scope="session")
        def xpert_mq_settings():
            return {"payload_limit": 100, "pools": ("default", "slow")}

        def test_with(managed_queue, xpert_mq_server):
            assert managed_queue is service
            for settings in (service.settings, get_settings(), Settings()):
                assert settings.redis_url == xpert_mq_server.url
                assert settings.payload_limit == 100
                assert settings.pools == ("default", "slow")
            service.configure(Settings(redis_url="redis://127.0.0.1:1/0", prefix="framework"))
            assert (service.settings.redis_url, service.settings.prefix) == (xpert_mq_server.url, "framework")

        def test_without():
            assert service.settings.redis_url == os.environ["XPERT_MQ_REDIS_URL"] == "redis://127.0.0.1:1/0"
            assert service.settings.payload_limit == 1024 * 1024
        """
    )
    result = project.runpytest_subprocess("-p", "xpert_mq.testing.plugin")
    result.assert_outcomes(passed=2)


def test_plugin_imports_nothing_heavy(pytester: pytest.Pytester) -> None:
    script = "import sys, xpert_mq.testing.plugin; print({'celery', 'redis', 'pydantic'} & set(sys.modules))"
    assert pytester.run(sys.executable, "-c", script).outlines == ["set()"]


def test_anyio(project: pytest.Pytester) -> None:
    project.makepyfile(test_mail=ANYIO_TEST)
    run_here(project, "-p", "anyio").assert_outcomes(passed=6)


@pytest.mark.slow
def test_each_process_of_xdist_has_a_server(project: pytest.Pytester) -> None:
    project.makepyfile(test_mail=ANYIO_TEST)
    plugins = ("-p", "xpert_mq.testing.plugin", "-p", "anyio", "-p", "xdist")
    project.runpytest_subprocess(*plugins, "-n", "2").assert_outcomes(passed=6)
