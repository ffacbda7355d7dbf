"""How commands end otherwise than by having done their work."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from xpert_mq.errors import ManagedQueueError

#: What a shell says of a program that SIGINT ended, and of one that SIGPIPE ended. We can't let SIGPIPE end us, as Unix
#: tools do: it comes for connections too.
_INTERRUPTED = 128 + signal.SIGINT
_CLOSED_PIPE = 128 + signal.SIGPIPE


class Failure(click.ClickException):
    """What ends a command with exit code 2, as one sentence and no traceback."""

    exit_code = 2


class Interrupted(click.ClickException):
    """Ctrl-C, with one line that says so."""

    exit_code = _INTERRUPTED

    def __init__(self, message: str = "Interrupted.") -> None:
        super().__init__(message)

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the line."""
        click.echo(self.message, file=file, err=file is None)


@contextmanager
def in_order() -> Iterator[None]:
    """Makes of each error that is to be expected the ending that it stands for."""
    try:
        yield
    except ManagedQueueError as error:
        raise Failure(str(error)) from error
    except KeyboardInterrupt:
        if sys.stderr.isatty():  # which has shown ^C
            click.echo(err=True)
        raise Interrupted from None
    except BrokenPipeError:  # of the output: a server's is an error of the platform
        _drop_output()
        raise click.exceptions.Exit(_CLOSED_PIPE) from None


def _drop_output() -> None:
    """Else Python would try once more to write what is left, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


@contextmanager
def interrupt_noted() -> Iterator[threading.Event]:
    """Within it the first Ctrl-C only sets the event, so that what was done is known; the second one interrupts."""
    noted = threading.Event()

    def note(*_: object) -> None:
        noted.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield noted
    finally:
        signal.signal(signal.SIGINT, before)
