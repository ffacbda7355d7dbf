"""Failures of the shared checks show how texts differ."""

from __future__ import annotations

import pytest

pytest.register_assert_rewrite("tests.migration.codemods.checking")
