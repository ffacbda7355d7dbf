"""Celery's worker program, whose shutdown can have a limit.

Celery itself would stand still for the time of `worker_soft_shutdown_timeout`, and hold on to what its node is given
meanwhile. Here the limit is one of the warm shutdown: the node takes no more jobs, those that run may end, and those
that still do after the limit are ended as by a second signal.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from celery import signals
from celery.apps.worker import Worker, install_worker_term_hard_handler
from celery.exceptions import WorkerTerminate
from celery.platforms import EX_FAILURE, EX_OK
from celery.platforms import signals as signal_handlers
from celery.worker import state

#: That a shutdown may take which ends what runs.
ENDING_SECONDS = 10


class PlatformWorker(Worker):
    """The worker of the platform's app."""

    def install_platform_tweaks(self, worker: Any) -> None:
        """Celery's handlers of signals; with a limit, SIGTERM and SIGQUIT begin the same shutdown."""
        super().install_platform_tweaks(worker)
        if self.app.conf.worker_soft_shutdown_timeout > 0:
            signal_handlers.update(SIGTERM=self._end_in_time, SIGQUIT=self._end_in_time)

    def wait_for_soft_shutdown(self) -> None:
        """Does not wait: that is over when a shutdown begins that ends what runs. That one has a limit, too."""
        _alarm(ENDING_SECONDS, self._give_up)

    def _end_in_time(self, number: int, _: Any) -> None:
        limit = self.app.conf.worker_soft_shutdown_timeout
        name = signal.Signals(number).name
        # A further SIGTERM has nothing to add. A further SIGQUIT ends what runs, as the alarm does.
        signal_handlers.ignore("SIGTERM")
        install_worker_term_hard_handler(self)
        os.write(2, f"worker: {name}: running jobs have {limit:g} s to end\n".encode())
        signals.worker_shutting_down.send(sender=self.hostname, sig=name, how="Soft", exitcode=EX_OK)
        state.should_stop = EX_OK
        _alarm(limit, signal.getsignal(signal.SIGQUIT))

    def stop(self, in_sighandler: bool = False, exitcode: int | None = None) -> None:
        """Celery's; also when a signal that ends running jobs interrupts the wait for them."""
        try:
            super().stop(in_sighandler, exitcode)
        except WorkerTerminate:
            self.exitcode = EX_FAILURE
            self.consumer.shutdown()
        finally:
            _no_alarm()

    def terminate(self, in_sighandler: bool = False) -> None:
        """Celery's."""
        try:
            super().terminate(in_sighandler)
        finally:
            _no_alarm()

    def _give_up(self, *_: Any) -> None:
        """Celery waits for the rest of a result whose child was killed in the middle of it, and so for ever."""
        os.write(2, b"worker: the pool does not end, and is left\n")
        try:
            self.consumer.shutdown()
        finally:
            os._exit(EX_FAILURE)


def _alarm(seconds: float, handler: Any) -> None:
    signal_handlers["SIGALRM"] = handler
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _no_alarm() -> None:
    # Before the handler is taken away, as Python does at its end.
    signal.setitimer(signal.ITIMER_REAL, 0)
