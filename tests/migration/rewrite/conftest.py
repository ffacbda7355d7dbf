"""The testing kit's fixtures, where the package is not installed."""

from __future__ import annotations

import pytest

from xpert_mq.testing import plugin


def pytest_configure(config: pytest.Config) -> None:
    if not config.pluginmanager.is_registered(plugin):
        config.pluginmanager.register(plugin, "xpert_mq")
