"""A plugin that is the Flask application of FLASK_APP: its handlers, and the context that they run in.

`flask managed-jobs worker` loads it. Workers that are started otherwise do where XPERT_MQ_PLUGINS names it.
"""

from __future__ import annotations

import os

from flask.cli import ScriptInfo

from xpert_mq.contrib.flask.discovery import handlers_of
from xpert_mq.handlers import registry
from xpert_mq.plugins import register_declared

for target in handlers_of(ScriptInfo(app_import_path=os.environ.get("FLASK_APP")).load_app()):
    register_declared(target, registry)
