"""The process-wide queue on the shared server, as a Flask application uses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

# The testing kit's fixtures, too.
from tests.testing.conftest import pytest_configure as pytest_configure
from xpert_mq import ManagedQueueService, Settings, managed_queue, registry


@pytest.fixture
def queue(settings: Settings) -> Iterator[ManagedQueueService]:
    managed_queue.configure(settings)
    try:
        with registry.put_back():
            yield managed_queue
    finally:
        managed_queue.commit_hook = None
        managed_queue.configure(None)
