"""A Django project in the test's own process, and the same one as processes."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

# Two files per process. Django has to be ready before the tests' modules, which import models.
_FOLDER = tempfile.mkdtemp(prefix="xpert-mq-django-")
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
_VARIABLES = {"DJANGO_SETTINGS_MODULE": "tests.contrib.django.site.settings", "SITE_FOLDER": _FOLDER}
os.environ.update(_VARIABLES)

import django  # noqa: E402
from django.apps import apps  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections  # noqa: E402
from django.test import override_settings  # noqa: E402
from django.test.utils import setup_test_environment, teardown_test_environment  # noqa: E402

django.setup()
for _name in _VARIABLES:
    # Not for the processes of other tests.
    del os.environ[_name]

from tests.acceptance.deployment import Deployment  # noqa: E402
from xpert_mq.contrib.django import databases  # noqa: E402
from xpert_mq.contrib.django.transactions import hook  # noqa: E402
from xpert_mq.embedded import EmbeddedServer  # noqa: E402
from xpert_mq.handlers import registry  # noqa: E402
from xpert_mq.service import ManagedQueueService, managed_queue  # noqa: E402
from xpert_mq.settings import Settings  # noqa: E402


def _leave() -> None:
    managed_queue.configure(None)
    managed_queue.commit_hook = None


_leave()
apps.get_app_config("xpert_mq").remove_wrapper()

Configure = Callable[..., None]


@pytest.fixture(scope="session")
def tables() -> Iterator[None]:
    """Both databases with their tables."""
    setup_test_environment()
    for alias in ("default", "other"):
        call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
    yield
    teardown_test_environment()
    connections.close_all()


@pytest.fixture
def wired(tables: None, settings: Settings) -> Iterator[ManagedQueueService]:
    """The process-wide service as the app sets it up, with a prefix of the test's own."""
    managed_queue.configure(settings)
    managed_queue.commit_hook = hook
    remove = registry.add_wrapper(databases.around, databases.aaround)
    yield managed_queue
    remove()
    _leave()


@pytest.fixture
def queue(wired: ManagedQueueService) -> Iterator[ManagedQueueService]:
    """The same; the databases are emptied after the test."""
    yield wired
    # Django's own flush makes the permissions anew, which takes long.
    for model in apps.get_models():
        if model._meta.managed and model._meta.app_label in ("shop", "xpert_mq", "sessions"):
            for alias in ("default", "other"):
                model._default_manager.using(alias).all().delete()
    connections.close_all()


@pytest.fixture
def configure() -> Iterator[Configure]:
    """Sets `XPERT_MQ` for the test."""
    overrides: list[Any] = []

    def set_all(**values: Any) -> None:
        override = override_settings(XPERT_MQ=values)
        override.enable()
        overrides.append(override)

    yield set_all
    for override in reversed(overrides):
        override.disable()


class Project(Deployment):
    """The project as processes: its own Redis prefix, and its own databases in the folder."""

    def __init__(self, server: EmbeddedServer, folder: Path, *, database: Any = None, **xpert_mq: Any) -> None:
        variables = {
            "DJANGO_SETTINGS_MODULE": "tests.contrib.django.site.settings",
            "SITE_FOLDER": str(folder),
            "SITE_XPERT_MQ": json.dumps(xpert_mq),
            # Nothing but the app's `managed_jobs`.
            "XPERT_MQ_PLUGINS": "",
        }
        if database is not None:
            variables["SITE_DATABASES"] = json.dumps({"default": database})
        super().__init__(server, folder, **variables)

    def manage(self, *words: str, **env: str) -> Any:
        """Runs `manage.py …` to its end, with warnings as errors."""
        return self.python("-W", "error", "-m", "django", *words, **env)

    def migrate(self) -> None:
        """Makes the tables."""
        done = self.manage("migrate", "--run-syncdb", "-v", "0")
        assert done.returncode == 0, done.stderr

    def shell(self, code: str) -> Any:
        """Runs code in the project, and gives the value that it prints last as JSON."""
        done = self.python("-W", "error", "-c", f"import django; django.setup()\n{code}")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def project_factory(server: EmbeddedServer, tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Makes projects with the given settings; their processes end with the test."""
    made: list[Project] = []

    def make(**options: Any) -> Project:
        project = Project(server, tmp_path, **options)
        made.append(project)
        project.migrate()
        return project

    yield make
    for project in made:
        with closing(project):
            pass
