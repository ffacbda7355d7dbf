"""For the tests of a Django project, run by `manage.py test` or by pytest: the platform on a private server.

The fixtures of `xpert_mq.testing` are for pytest alone; a Django TestCase has the same by this mixin.
"""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, ClassVar

from xpert_mq.contrib.django.databases import shared_connections
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.testing.kit import KitMaker, QueueKit

if TYPE_CHECKING:
    from unittest import TestCase
else:
    # Beside the project's own, or Django's.
    TestCase = object

__all__ = ["ManagedQueueMixin", "shared_connections"]


class ManagedQueueMixin(TestCase):
    """`class OrderTests(ManagedQueueMixin, TestCase)`: each test finds the server empty, and jobs run when it says so.

    Handlers, sync and async, see what the test has not committed. A `setUp` of a test's own must call `super().setUp()`
    first.

    Attributes:
        queue: the kit: `self.queue.run_jobs()`, `advance(ms)`, `enqueued(…)`, and what else it has. In an async test:
            `await sync_to_async(self.queue.run_jobs)()`.
        xpert_mq_settings: to override: settings by their fields' names.
    """

    xpert_mq_settings: ClassVar[Mapping[str, Any]] = {}
    queue: QueueKit

    def setUp(self) -> None:
        """Makes the kit, which ends with the test."""
        super().setUp()
        self.queue = self.enterContext(_kits(os.getpid()).kit(self.xpert_mq_settings))
        self.enterContext(shared_connections())


@functools.cache
def _kits(pid: int) -> KitMaker:
    """Of this process: `manage.py test --parallel` forks."""
    undo = ExitStack()
    atexit.register(undo.close)
    server = undo.enter_context(EmbeddedServer())
    kits = KitMaker(server.url)
    undo.callback(kits.close)
    return kits
