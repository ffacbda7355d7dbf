"""Writes a file whole or not at all: beside it first, and then in its place."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from .sources import Source


class ChangedError(Exception):
    """Somebody else has changed the file since it was read."""


def write(source: Source, text: str) -> None:
    """Puts the text into the file's place, with its encoding, line ends and mode.

    Raises:
        OSError, UnicodeEncodeError, ChangedError: and the file is as it was.
    """
    data = source.encoded(text)
    path = source.path.resolve()
    mode = path.stat().st_mode
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    beside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(mode & 0o7777)
        if path.read_bytes() != source.data:
            raise ChangedError("it has been changed meanwhile; run this again")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
