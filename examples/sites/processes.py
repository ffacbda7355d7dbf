"""Starts an example site with all that it needs: a Redis, a chat service, a worker; all of it ends with Ctrl-C."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from xpert_mq import request_context
from xpert_mq.embedded import EmbeddedServer

from ..demo.processes import DemoError, Process, Processes
from ..wechat.rows import Rows
from ..wechat.server import ChatServer
from ..wechat.settings import Integration
from .letters import INTEGRATION

_ROOT = Path(__file__).resolve().parents[2]
#: By these a deployment's settings would reach the site.
_FOREIGN = ("XPERT_MQ_", "MANAGED_QUEUE_", "CELERY", "WECHAT_", "FLASK_", "DJANGO_")
#: What the service refuses at first: something to retry.
_FAULTS = {"refuse this": ["refused"], "refuse this twice": ["refused", "refused"]}

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """What is special about a site. Words are `python`'s.

    Attributes:
        owners: tenants and organizations.
        variables: of the environment of all its processes.
        prepare: makes what the others find: tables, users.
        serve: serves the pages; the port is added.
        ready: stands in the line of the log that ends with the site's address.
    """

    package: str
    owners: Iterable[tuple[str, str]]
    variables: Mapping[str, str]
    prepare: Words
    worker: Words
    serve: Words
    ready: str


def main(site: Site) -> int:
    """Runs it until Ctrl-C or SIGTERM. Gives the exit status."""
    parser = argparse.ArgumentParser(prog=f"python -m {site.package}", description="Two tenants write messages.")
    parser.add_argument("--port", type=int, default=8000, help="0: a free one")
    port = parser.parse_args().port
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="xpert-mq-site-") as folder,
            EmbeddedServer() as redis,
            ChatServer() as chat,
        ):
            chat.behave(faults=_FAULTS)
            database = Path(folder) / "wechat.sqlite3"
            _connect(site.owners, database, chat.url)
            _run(site, port, Path(folder), _environment(site, Path(folder), redis.url, database))
    except DemoError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _connect(owners: Iterable[tuple[str, str]], database: Path, chat_url: str) -> None:
    """Gives each tenant its connection to the chat service."""
    for tenant_id, organization_id in owners:
        with request_context(tenant_id, organization_id):
            Rows(database).save_integration(Integration(id=INTEGRATION, url=chat_url, token=f"{tenant_id}-token"))


def _environment(site: Site, folder: Path, redis_url: str, database: Path) -> dict[str, str]:
    """Of all its processes."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {
        **own,
        "PYTHONPATH": str(_ROOT),
        # What they say is waited for.
        "PYTHONUNBUFFERED": "1",
        "XPERT_MQ_REDIS_URL": redis_url,
        "WECHAT_DATABASE": str(database),
        "SITE_DATABASE": str(folder / "site.sqlite3"),
        "SITE_SECRET": secrets.token_hex(),
        **site.variables,
    }


def _run(site: Site, port: int, folder: Path, env: Mapping[str, str]) -> None:
    _prepare(site, folder, env)
    with Processes(folder, env) as processes:
        worker = processes.start("worker", *site.worker)
        pages = processes.start("site", *site.serve, str(port))
        _wait(worker, " ready.")
        url = _wait(pages, site.ready).split()[-1].rstrip("/")
        print(f"The site: {url}\nIts Redis: {env['XPERT_MQ_REDIS_URL']}\nCtrl-C ends both.", flush=True)
        while True:
            processes.check()
            time.sleep(0.5)


def _prepare(site: Site, folder: Path, env: Mapping[str, str]) -> None:
    command = [sys.executable, *site.prepare]
    done = subprocess.run(command, env=env, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise DemoError(f"{' '.join(site.prepare)} failed\n{done.stderr.decode(errors='replace')}")


def _wait(process: Process, text: str) -> str:
    """The line that has the text. However long it takes: who is tired of waiting presses Ctrl-C."""
    while True:
        try:
            return process.wait_for(text)
        except DemoError as error:
            process.check()
            print(error, file=sys.stderr, flush=True)
