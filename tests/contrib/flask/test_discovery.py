"""Which handlers a worker takes from an application."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from xpert_mq import ManagedQueueService, Settings
from xpert_mq.contrib.flask.discovery import handlers_of

HANDLER = """
from xpert_mq import plugin_job_processor

@plugin_job_processor(plugin_name="p", queue_name="q", job_name=__name__)
def handle(job): ...
"""

APP = """
from flask import Blueprint, Flask
import discovered_jobs, discovered_other, discovered_plugin, discovered_shop.jobs

app = Flask(__name__)
app.register_blueprint(discovered_shop.jobs.shop)
"""

BLUEPRINT = """
from flask import Blueprint
import discovered_shop.more.jobs

shop = Blueprint("shop", __name__)
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """A module with others beside it; a blueprint's package elsewhere; an environment in the same folder."""
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    packages = home / ".venv" / "site-packages"
    texts = {
        home / "discovered_app.py": HANDLER + APP,
        home / "discovered_jobs.py": HANDLER,
        home / "discovered_plugin.py": HANDLER,
        packages / "discovered_other.py": HANDLER,
        elsewhere / "discovered_shop" / "jobs.py": HANDLER + BLUEPRINT,
        elsewhere / "discovered_shop" / "more" / "jobs.py": HANDLER,
    }
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for folder in (home, packages, elsewhere):
        monkeypatch.syspath_prepend(folder)
    yield importlib.import_module("discovered_app").app
    for name in [name for name in sys.modules if name.startswith("discovered_")]:
        del sys.modules[name]


def test_handlers_are_those_of_the_modules_in_its_folders(app: Flask, queue: ManagedQueueService) -> None:
    queue.configure(Settings(plugins=("discovered_plugin",)))

    found = {target.__module__ for target in handlers_of(app)}

    assert found == {"discovered_app", "discovered_jobs", "discovered_shop.jobs", "discovered_shop.more.jobs"}
