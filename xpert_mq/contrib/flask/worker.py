"""A plugin that is the Flask application of FLASK_APP: its handlers, and the context that they run in.

`flask managed-jobs worker` loads it. Workers that are started otherwise do where XPERT_MQ_PLUGINS names it. The
handlers are those of the modules of the application and of its blueprints; what is a plugin of its own stays one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from flask import Flask
from flask.cli import ScriptInfo

from xpert_mq.handlers import declared, registry
from xpert_mq.plugins import register_declared
from xpert_mq.service import managed_queue


def load_app() -> Flask:
    """The application that FLASK_APP names, or that `flask` would find here."""
    return ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()


def handlers_of(app: Flask) -> Iterator[Any]:
    """The decorated classes and functions of the application's modules that no other plugin brings."""
    modules = dict.fromkeys([app.import_name, *(blueprint.import_name for blueprint in app.blueprints.values())])
    found = {id(target): target for module in modules for target in declared(module)}
    for target in found.values():
        if not any(f"{target.__module__}.".startswith(f"{plugin}.") for plugin in managed_queue.settings.plugins):
            yield target


for target in handlers_of(load_app()):
    register_declared(target, registry)
