"""What a worker of a Django project does besides: it sends what is left in the outbox."""

from __future__ import annotations

import logging
import os
import threading
from typing import Any

import django
from celery import Celery, bootsteps, signals
from django.apps import apps
from django.db import DatabaseError

from xpert_mq.errors import QueueUnavailableError

logger = logging.getLogger(__name__)

#: Seconds between two looks at the outbox.
INTERVAL_SECONDS = 1.0

#: Held while the thread uses a database. A fork waits for it, so that no child inherits a half-done call.
_at_work = threading.Lock()
os.register_at_fork(before=_at_work.acquire, after_in_parent=_at_work.release, after_in_child=_at_work.release)


def set_up(app: Celery) -> None:
    """Sets Django up, and what the project's settings want of a worker."""
    django.setup()
    if not apps.is_installed("xpert_mq.contrib.django"):
        return
    from xpert_mq.contrib.django import databases
    from xpert_mq.contrib.django.conf import configuration

    databases.check_before_use()
    signals.worker_init.connect(databases.close_before_fork)
    signals.worker_process_init.connect(databases.forget_after_fork)
    if configuration().outbox:
        app.steps["consumer"].add(OutboxStep)


class OutboxStep(bootsteps.StartStopStep):
    """Runs the thread as long as the worker takes jobs."""

    requires = ("celery.worker.consumer.connection:Connection",)

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, consumer: Any) -> None:
        """Starts the thread, once: a consumer that has lost its connection starts again."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="xpert-mq-outbox", daemon=True)
            self._thread.start()

    def stop(self, consumer: Any) -> None:
        """The consumer may only be connecting again."""

    def shutdown(self, consumer: Any) -> None:
        """Ends the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        from xpert_mq.contrib.django.conf import configuration

        failing: set[str] = set()
        while not self._stopping.wait(INTERVAL_SECONDS):
            for alias in configuration().outbox:
                with _at_work:
                    error = _drained(alias)
                if error is None:
                    failing.discard(alias)
                elif alias not in failing:
                    failing.add(alias)
                    logger.warning("the outbox of %s waits: %s", alias, error, extra={"action": "outbox_failing"})


def _drained(alias: str) -> Exception | None:
    """Sends all that is due; gives what went wrong."""
    from django.db import connections

    from xpert_mq.contrib.django import outbox
    from xpert_mq.contrib.django.conf import configuration

    try:
        while outbox.drain(alias, older_than=configuration().outbox_after) >= outbox.BATCH:
            pass
    except (DatabaseError, QueueUnavailableError) as error:
        return error
    except Exception as error:
        logger.exception("the outbox of %s failed, and goes on", alias, extra={"action": "outbox_error"})
        return error
    finally:
        connections[alias].close()
    return None
