"""The child processes of the pool `prefork` end with their main process.

One that went on without it would run a job that others take back from the dead node, and so run at the same time.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Any

from celery.signals import worker_process_init

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Has the kernel kill each child when this process dies, however it does. Only on Linux, which alone can."""
    if sys.platform != "linux":
        return
    parent = os.getpid()

    def prepare(**_: Any) -> None:
        # The pool `solo` sends the signal too, in the main process.
        if os.getpid() == parent:
            return
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            # It has died already.
            os.kill(os.getpid(), signal.SIGKILL)

    worker_process_init.connect(prepare, weak=False)
