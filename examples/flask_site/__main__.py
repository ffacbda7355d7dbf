"""`python -m examples.flask_site`: a Redis, a chat service, a worker and the site, until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from xpert_mq import request_context
from xpert_mq.embedded import EmbeddedServer

from ..demo.processes import DemoError, Processes
from ..wechat.rows import Rows
from ..wechat.server import ChatServer
from ..wechat.settings import Integration
from .users import USERS

_PACKAGE = str(__package__)
_ROOT = Path(__file__).resolve().parents[_PACKAGE.count(".") + 1]
#: By these a deployment's settings would reach the site.
_FOREIGN = ("XPERT_MQ_", "MANAGED_QUEUE_", "CELERY", "WECHAT_", "FLASK_")
#: The service refuses it once: something to retry.
_REFUSED = "refuse this"


def main() -> int:
    """Gives the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {_PACKAGE}", description="Two tenants write messages.")
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    port = parser.parse_args().port
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="xpert-mq-site-") as folder,
            EmbeddedServer() as redis,
            ChatServer() as chat,
        ):
            chat.behave(faults={_REFUSED: ["refused"]})
            database = Path(folder) / "wechat.sqlite3"
            _connect(database, chat.url)
            _run(port, Path(folder), _environment(Path(folder), redis.url, database))
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _connect(database: Path, chat_url: str) -> None:
    """Gives each tenant its connection to the chat service."""
    for user in USERS.values():
        with request_context(user.tenant_id, user.organization_id):
            one = Integration(id="main", url=chat_url, token=f"{user.tenant_id}-token")
            Rows(database).save_integration(one)


def _environment(folder: Path, redis_url: str, database: Path) -> dict[str, str]:
    """Of the site and its worker."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {
        **own,
        "PYTHONPATH": str(_ROOT),
        "FLASK_APP": _PACKAGE,
        "XPERT_MQ_REDIS_URL": redis_url,
        "WECHAT_DATABASE": str(database),
        "SITE_DATABASE": f"sqlite:///{folder / 'site.sqlite3'}",
        "SITE_SECRET": secrets.token_hex(),
    }


def _run(port: int, folder: Path, env: Mapping[str, str]) -> None:
    with Processes(folder, env) as processes:
        worker = processes.start("worker", "-m", "flask", "managed-jobs", "worker", "--pool", "threads", "-l", "INFO")
        # One after the other: the first makes the tables.
        worker.wait_for(" ready.")
        site = processes.start("site", "-m", "flask", "run", "--port", str(port))
        url = site.wait_for("Running on").split()[-1]
        print(f"The site: {url}\nIts Redis: {env['XPERT_MQ_REDIS_URL']}\nCtrl-C ends both.", flush=True)
        while True:
            processes.check()
            time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
