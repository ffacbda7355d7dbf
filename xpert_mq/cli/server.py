"""`xpert-mq server`: the embedded server, for development."""

from __future__ import annotations

import fcntl
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from xpert_mq.embedded import EmbeddedServer

_LOOK_SECONDS = 0.2
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOCK = "xpert-mq.lock"


@click.command(short_help="Run a private server for development.")
@click.option("--port", type=click.IntRange(1, 65535), help="Default: a free one.")
@click.option("--appendonly", is_flag=True, help="Write an append-only file, as a server in production does.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep that file here, and find the jobs again at the next start. Without it all is gone at the end.",
)
def server(port: int | None, appendonly: bool, folder: Path | None) -> None:
    """Run a private Redis (Valkey) for development, until Ctrl-C or SIGTERM.

    It listens on 127.0.0.1 only, without a password.
    """
    from xpert_mq.embedded import EmbeddedServer

    ending = _ending_signal()
    with (
        _held(folder) as place,
        EmbeddedServer(port=port, appendonly=appendonly or place is not None, data_folder=place) as running,
    ):
        _introduce(running, place)
        _wait(running, ending)
    click.echo("The server has ended.")


def _ending_signal() -> threading.Event:
    """Set when a signal asks for the end."""
    ending = threading.Event()
    for number in _SIGNALS:
        signal.signal(number, lambda *_: ending.set())
    return ending


@contextmanager
def _held(folder: Path | None) -> Iterator[Path | None]:
    """The folder, there and locked: two servers would ruin each other's file."""
    if folder is None:
        yield None
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / _LOCK).open("w")
    except OSError as error:
        raise click.UsageError(f"--dir {folder}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise click.UsageError(f"--dir {folder}: another xpert-mq server keeps its data there") from error
        yield folder.resolve()


def _introduce(running: EmbeddedServer, folder: Path | None) -> None:
    data = f"It keeps its data in {folder}." if folder else "Its data is gone when it ends."
    click.echo(f"A server runs on {running.url}. {data}\n\nUse it from another terminal:\n")
    click.echo(f"  export XPERT_MQ_REDIS_URL={running.url}\n\nCtrl-C ends it.")


def _wait(running: EmbeddedServer, ending: threading.Event) -> None:
    while not ending.wait(_LOOK_SECONDS):
        if not running.is_running:
            log = (running.folder / "server.log").read_text(errors="replace").splitlines()
            raise click.ClickException("\n".join(["the server has ended by itself; its last words:", *log[-5:]]))
