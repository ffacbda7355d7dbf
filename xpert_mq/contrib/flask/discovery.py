"""Which handlers are a Flask application's own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from flask import Flask

from xpert_mq.handlers import declared
from xpert_mq.plugins import GROUP
from xpert_mq.service import managed_queue


def handlers_of(app: Flask) -> Iterator[Any]:
    """The decorated classes and functions in the folders of the application and of its blueprints, as far as their
    modules are imported, that no other plugin brings.
    """
    found = {id(target): target for module in _modules_of(app) for target in declared(module)}
    plugins = [*managed_queue.settings.plugins, *(point.module for point in entry_points(group=GROUP))]
    for target in found.values():
        if not any(f"{target.__module__}.".startswith(f"{plugin}.") for plugin in plugins):
            yield target


def _modules_of(app: Flask) -> Iterator[str]:
    homes = (app, *app.blueprints.values())
    names = {home.import_name for home in homes}
    folders = {Path(home.root_path) for home in homes}
    for name, module in list(sys.modules.items()):
        if name in names or any(_lies_in(folder, module) for folder in folders):
            yield name


def _lies_in(folder: Path, module: Any) -> bool:
    """Whether the module is the project's own there, and not of an environment in the same folder."""
    # By type, and without asking for attributes: a module may hold a proxy's place.
    file = vars(module).get("__file__") if issubclass(type(module), ModuleType) else None
    if not isinstance(file, str) or not Path(file).is_relative_to(folder):
        return False
    return not {"site-packages", "dist-packages"}.intersection(Path(file).relative_to(folder).parts)
