"""The process-wide queue on the shared server, as a Flask application uses it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from xpert_mq import ManagedQueueService, Settings, managed_queue, registry
from xpert_mq.contrib.flask import handling


@pytest.fixture
def queue(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[ManagedQueueService]:
    monkeypatch.setattr(handling, "_app", None)
    monkeypatch.setattr(registry, "_wrappers", registry._wrappers)
    managed_queue.configure(settings)
    try:
        yield managed_queue
    finally:
        managed_queue.commit_hook = None
        managed_queue.configure(None)
