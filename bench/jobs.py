"""The job that both systems carry, and the stamp by which a handler says when it started."""

from __future__ import annotations

import functools
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Names, ids and payload are of the kind and length that a real plugin has (outbound messages); the envelope that the
#: managed queue keeps of them is about 350 bytes.
PLUGIN = "@xpert-ai/plugin-community-wechat"
QUEUE = "plugin_wechat_outbound"
NOOP = "plugin_wechat_send_text"
STAMP = "plugin_wechat_send_file"
HELD = "plugin_wechat_send_voice"
SLOW = "plugin_wechat_send_video"
TENANT = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
ORGANIZATION = "0b5d7c1e-91a4-4d1c-8f5e-2a6b9c3d4e5f"

STAMPS_VARIABLE = "XPERT_BENCH_STAMPS"

_STAMP = "{number:08d} {started:017.6f} {pid:08d}\n"
_STAMP_BYTES = len(_STAMP.format(number=0, started=0.0, pid=0))


def payload(number: int) -> dict[str, Any]:
    """What the handler gets, in both systems."""
    return {
        "integrationId": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
        "outboundLogId": f"9b2d3c4e-5f6a-4b7c-8d9e-{number:012d}",
        "tenantId": TENANT,
        "organizationId": ORGANIZATION,
        "number": number,
    }


def stamp(number: int) -> None:
    """Notes that the job's handler started, now. Costs a few microseconds, in any pool."""
    line = _STAMP.format(number=number, started=time.time(), pid=os.getpid())
    os.write(_stamp_file(), line.encode())


@functools.cache
def _stamp_file() -> int:
    # Lines are short and the file is opened for appending, so threads and processes don't cut each other's.
    return os.open(os.environ[STAMPS_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


@dataclass(frozen=True, slots=True)
class Stamp:
    """The start of one job's handler."""

    number: int
    started: float
    pid: int


class Stamps:
    """The stamps of one system's handlers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def clear(self) -> None:
        """Forgets all; the handlers go on writing to the same file."""
        os.truncate(self.path, 0)

    def count(self) -> int:
        """How many there are; cheap, for waiting."""
        return self.path.stat().st_size // _STAMP_BYTES

    def wait_for(self, count: int, timeout: float = 60) -> None:
        """Returns when there are `count`. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while self.count() < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.path.stem}: {self.count()} of {count} jobs started within {timeout:g} s")
            time.sleep(0.0005)

    def read(self) -> list[Stamp]:
        """All of them, in the order of their writing."""
        lines = (line.split() for line in self.path.read_text().splitlines())
        return [Stamp(int(number), float(started), int(pid)) for number, started, pid in lines]
