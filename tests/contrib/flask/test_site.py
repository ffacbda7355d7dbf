"""The example site for Flask: over HTTP, and in a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contrib.site_visitor import Site, SiteTests, browser, running, visit_in_a_browser, within

pytestmark = within


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running("flask_site", tmp_path_factory.mktemp("site")) as one:
        yield one


class TestSite(SiteTests):
    """The pages, and the worker behind them."""


@pytest.mark.slow
def test_in_a_browser(site: Site) -> None:
    with browser() as chromium:
        visit_in_a_browser(chromium, site)
