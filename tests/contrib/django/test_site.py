"""The example site for Django, with its admin: over HTTP, and in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.error import HTTPError

import pytest

from tests.acceptance.nodes import wait_for
from tests.contrib.site_visitor import (
    Site,
    SiteTests,
    Visitor,
    browser,
    running,
    signed_in,
    visit_in_a_browser,
    within,
    write,
)
from xpert_mq.contrib.django.admin import key_of

LIST = "/admin/xpert_mq/job/"

pytestmark = within


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with running("django_site", tmp_path_factory.mktemp("site")) as one:
        yield one


class TestSite(SiteTests):
    """The pages, and the worker behind them."""


def letter_s_job(visitor: Visitor, text: str) -> str:
    """The id of the job that hands the letter over, which waits."""
    return "letter:" + visitor.button(text, "cancel").split("/")[2]


def page(tenant: str, job_id: str, verb: str = "") -> str:
    return f"{LIST}{key_of(tenant, job_id)}/{verb and verb + '/'}"


def test_admin_is_for_staff_of_the_tenant(site: Site) -> None:
    alice, bob, carol = (Visitor(site, name) for name in ("alice", "bob", "carol"))
    alice.send("for acme alone", seconds=3600)
    job_id = letter_s_job(alice, "for acme alone")
    its_page = page("acme", job_id)

    assert job_id in alice.get(LIST)
    assert job_id not in bob.get(LIST)
    assert "choose who you are" in carol.get(LIST)
    assert "Cancel" in alice.get(its_page)
    with pytest.raises(HTTPError, match="404") as refused:
        bob.get(its_page)
    refused.value.close()
    for verb in ("cancel", "retry"):
        assert bob.refused(page("acme", job_id, verb)) == 404
    assert "choose who you are" in carol.post(page("acme", job_id, "cancel"))
    assert '"state delayed"' in alice.line("for acme alone")


def test_admin_cancels(site: Site) -> None:
    alice = Visitor(site, "alice")
    alice.send("taken back", seconds=3600)

    assert "The job was cancelled." in alice.post(page("acme", letter_s_job(alice, "taken back"), "cancel"))

    assert '"state cancelled"' in alice.line("taken back")


def test_admin_retries_what_failed(site: Site) -> None:
    bob = Visitor(site, "bob")
    bob.send("refuse this twice")
    bob.wait_status("refuse this twice", "failed")
    # The newest comes first.
    found = re.search(rf'href="({LIST}\w+/)"', bob.get(f"{LIST}?state=failed"))
    assert found

    assert "RefusedError" in bob.get(found[1])
    assert "The job runs again." in bob.post(f"{found[1]}retry/")

    # Whether the message is sent is up to the plugin, which has given this one up: the job ends well.
    wait_for(lambda: "nothing to do" in bob.get(found[1]), "the end of the job")


def test_in_a_browser(site: Site) -> None:
    with browser() as chromium:
        visit_in_a_browser(chromium, site)


@pytest.mark.slow
def test_admin_in_a_browser(site: Site) -> None:
    with browser() as chromium:
        alice, bob = (signed_in(chromium, site, user) for user in ("Alice of acme", "Bob of globex"))
        write(alice, "in the admin", seconds=3600)
        job_id = letter_s_job(Visitor(site, "alice"), "in the admin")
        for page in (alice, bob):
            page.get_by_role("link", name="Jobs").click()
            page.get_by_label("State").select_option("delayed")
            page.get_by_role("button", name="Filter").click()
        assert alice.get_by_role("link", name=job_id).count() == 1
        assert bob.get_by_role("link", name=job_id).count() == 0

        alice.get_by_role("link", name=job_id).click()
        alice.get_by_role("button", name="Cancel").click()

        assert alice.get_by_text("The job was cancelled.").count() == 1
        assert alice.get_by_role("link", name=job_id).count() == 0
