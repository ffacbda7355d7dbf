"""What handlers write down of themselves: a file per process, one line per event, each appended by a single write.

A process that is killed so leaves all that it has written, and no line is cut by another.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xpert_mq.logs import JobFilter

#: The environment of a node: where its notes go, and what it is called.
FOLDER_VARIABLE, NODE_VARIABLE = "XPERT_SOAK_NOTES", "XPERT_SOAK_NODE"

#: Upon this a node writes the stacks of its threads to its log.
STACKS_SIGNAL = signal.SIGUSR2

_job_filter = JobFilter()


def note(kind: str, **fields: Any) -> None:
    """Writes a line, with the node, the process and the time (of time.monotonic, which all processes share)."""
    node, pid = os.environ[NODE_VARIABLE], os.getpid()
    line = {"kind": kind, "at": time.monotonic(), "node": node, "pid": pid, **fields}
    os.write(_file_of(node, pid), json.dumps(line).encode() + b"\n")


def task_id_here() -> str:
    """Of the try that the caller belongs to."""
    record = logging.makeLogRecord({})
    _job_filter.filter(record)
    task_id: str = record.__dict__["task_id"]
    return task_id


@functools.cache
def _file_of(node: str, pid: int) -> int:
    return os.open(Path(os.environ[FOLDER_VARIABLE], f"{node}-{pid}"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


class ActionNotes(logging.Handler):
    """Notes what the platform logs as an `action`."""

    def createLock(self) -> None:  # noqa: N802 - logging's name
        # One write needs none, and gevent's would not do for threads of the system.
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        self.emit(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        action = getattr(record, "action", None)
        if action is not None and record.levelno >= logging.WARNING:
            _job_filter.filter(record)
            note("action", action=action, task_id=record.__dict__["task_id"], said=record.getMessage())


def read_notes(folder: Path) -> Iterator[dict[str, Any]]:
    """All lines of all processes, by their time."""
    lines = (json.loads(line) for path in folder.iterdir() for line in path.read_bytes().splitlines())
    yield from sorted(lines, key=lambda line: line["at"])
