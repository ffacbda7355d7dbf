"""The process between an embedded server and the program that started it (its owner); a script, never imported.

    python embedded_guard.py OWNER_PID FOLDER COMMAND...

It prints the server's pid, later the status with which the server ended, and then stays until its input says what
becomes of the folder: `k` keeps it, anything else removes it. An input that ends without a word means that the owner is
gone: the server is killed and the folder removed.

Why a process of its own: Linux can signal a child when its parent dies (PR_SET_PDEATHSIG), but "parent" there is the
*thread* that forked, so a server started from a worker thread would die with that thread; and setting it takes a
`preexec_fn`, which is unsafe in a program with threads. The guard has one thread, which lives as long as the guard. It
also removes the folder, which no signal does, and works where that signal does not exist (macOS).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys

KEEP_FOLDER = b"k"

_OWNER_CHECK_SECONDS = 0.2
_PR_SET_PDEATHSIG = 1


def main(owner: int, folder: str, command: list[str]) -> None:
    """Run the server until it ends or is to end, then care for its folder."""
    # The server inherits the writing end: reading sees the end of the file as soon as the server is gone.
    ended, held = os.pipe()
    with open(os.path.join(folder, "server.log"), "ab") as log:
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(held,), preexec_fn=_die_with_guard
        )
    os.close(held)
    _tell(server.pid)
    spoken = False
    while server.poll() is None and not spoken and os.getppid() == owner:
        spoken = _is_readable(0, ended)
    server.kill()
    _tell(server.wait())
    while not spoken and os.getppid() == owner:
        spoken = _is_readable(0)
    if not spoken or os.read(0, 1) != KEEP_FOLDER:
        shutil.rmtree(folder, ignore_errors=True)


def _is_readable(owner_input: int, *others: int) -> bool:
    """Wait a little for any of them; the owner's input ends with the owner, unless a fork of it holds the pipe open."""
    readable, _, _ = select.select([owner_input, *others], [], [], _OWNER_CHECK_SECONDS)
    return owner_input in readable


def _tell(number: int) -> None:
    with contextlib.suppress(OSError):  # the owner may be gone
        os.write(1, b"%d\n" % number)


def _die_with_guard() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
