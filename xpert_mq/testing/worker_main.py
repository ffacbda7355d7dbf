"""The program of a test's worker: `python -m xpert_mq.testing.worker_main worker …`, with the options of `celery`.

It is Celery's own, but for one thing: whatever a framework's configuration says, the worker is on the test's server.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys

from celery.__main__ import main as celery_main

from xpert_mq.testing.target import force

#: Holds the settings that go before all others, as JSON.
VARIABLE = "XPERT_MQ_TESTING_SETTINGS"

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Runs the command."""
    if sys.platform == "linux":
        # Python can't do it when pytest is killed.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    force(json.loads(os.environ[VARIABLE]))
    sys.argv = ["celery", "-A", "xpert_mq", *sys.argv[1:]]
    celery_main()


if __name__ == "__main__":
    main()
