"""The testing kit on itself."""

from __future__ import annotations

import pytest

from tests.testing import plugin as handlers_of_tests
from xpert_mq import registry
from xpert_mq.testing import QueueKit, plugin


def pytest_configure(config: pytest.Config) -> None:
    # Where the package is not installed, its entry point is not there.
    if not config.pluginmanager.is_registered(plugin):
        config.pluginmanager.register(plugin, "xpert_mq")


@pytest.fixture
def handlers(queue_kit: QueueKit) -> None:
    """Those of `tests.testing.plugin`; they end with the test, as all that it registers."""
    registry.register_processor(handlers_of_tests.send)
    registry.register_processor(handlers_of_tests.send_async)
