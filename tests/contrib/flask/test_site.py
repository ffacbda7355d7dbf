"""The example site, started by its one command, with its real worker: over HTTP, and in a browser."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
import redis

from tests.acceptance.nodes import LocalProcess, environment, wait_for


class Site:
    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "examples.flask_site", "--port", "0"]
        self.process = LocalProcess(command, environment(), folder, "site")
        self.process.start()

    def wait_until_ready(self) -> None:
        said = wait_for(lambda: "Ctrl-C" in (text := self.process.logs().decode()) and text, "the site", 40)
        self.url, self.redis_url = re.findall(r"(?:site|Redis): (\S+)", said)

    def job_keys(self) -> set[bytes]:
        with redis.Redis.from_url(self.redis_url) as client:
            return set(client.scan_iter("xpert:managed-queue:job:*"))


class Visitor:
    """A user with cookies, and no browser."""

    def __init__(self, site: Site, user: str) -> None:
        self._url = site.url
        self._opener = build_opener(HTTPCookieProcessor(CookieJar()))
        self.post("/sign-in", user=user)

    def get(self, path: str = "/") -> str:
        with self._opener.open(f"{self._url}{path}", timeout=15) as answer:
            return str(answer.read().decode())

    def post(self, path: str, **form: str) -> str:
        with self._opener.open(f"{self._url}{path}", urlencode(form).encode(), timeout=15) as answer:
            return str(answer.read().decode())

    def send(self, text: str, contact: str = "carl", seconds: int = 0) -> str:
        return self.post("/letters", contact=contact, text=text, seconds=str(seconds))

    def line(self, text: str) -> str:
        """The line of the table that has the text."""
        return next((line for line in self.get().split("<tr>") if f">{text}<" in line), "")

    def wait_status(self, text: str, status: str) -> str:
        return str(wait_for(lambda: f'"state {status}"' in (now := self.line(text)) and now, f"{text} to be {status}"))

    def button(self, text: str, verb: str) -> str:
        """The address that the button posts to."""
        found = re.search(rf'action="(/letters/\w+/{verb})"', self.line(text))
        assert found, f"no {verb} for {text}"
        return found[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    one = Site(tmp_path_factory.mktemp("site"))
    try:
        one.wait_until_ready()
        yield one
    finally:
        one.process.stop()


def test_message_is_sent_by_the_worker(site: Site) -> None:
    alice = Visitor(site, "alice")
    alice.send("good morning")

    alice.wait_status("good morning", "sent")
    # The message is sent a moment before its job has ended.
    wait_for(lambda: "send-message: completed, 1 of 4 tries" in alice.line("good morning"), "the end of its job")


def test_retry_after_a_failure(site: Site) -> None:
    bob = Visitor(site, "bob")
    bob.send("refuse this")
    assert "the service refuses it" in bob.wait_status("refuse this", "failed")

    assert "It is sent again." in bob.post(bob.button("refuse this", "retry"))

    bob.wait_status("refuse this", "sent")


def test_cancelled_message_is_gone(site: Site) -> None:
    alice = Visitor(site, "alice")
    alice.send("much later", seconds=3600)
    assert "Cancelled." in alice.post(alice.button("much later", "cancel"))

    assert '"state cancelled"' in alice.line("much later")


def test_other_tenant_sees_and_cancels_nothing(site: Site) -> None:
    alice, bob = Visitor(site, "alice"), Visitor(site, "bob")
    alice.send("a secret", seconds=3600)
    address = alice.button("a secret", "cancel")

    assert "a secret" not in bob.get()
    for verb in ("cancel", "retry"):
        with pytest.raises(HTTPError, match="404") as refused:
            bob.post(address.replace("cancel", verb))
        refused.value.close()
    assert '"state delayed"' in alice.line("a secret")


def test_letter_that_is_rolled_back_enqueues_nothing(site: Site) -> None:
    alice = Visitor(site, "alice")
    before = site.job_keys()

    assert "Nothing was sent" in alice.send("no contact", contact=" ", seconds=3600)

    assert "no contact" not in alice.get()
    assert site.job_keys() == before


def test_nobody_is_let_in_unsigned(site: Site) -> None:
    assert "choose who you are" in Visitor(site, "nobody").get()


@pytest.mark.slow
def test_in_a_browser(site: Site, tmp_path: Path) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not on the PATH")
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        pages = {}
        for user in ("Alice of acme", "Bob of globex"):
            pages[user] = page = browser.new_context().new_page()
            page.goto(site.url)
            page.get_by_role("button", name=user).click()
        alice, bob = pages.values()

        write(alice, "from a browser")
        write(alice, "in an hour", seconds=3600)
        wait_for(lambda: refreshed(alice, "from a browser").locator(".sent").count(), "it to be sent")
        alice.screenshot(path=tmp_path / "site.png")
        expect(refreshed(bob, "in an hour")).to_have_count(0)

        alice.get_by_role("row", name="in an hour").get_by_role("button", name="Cancel").click()
        expect(alice.get_by_role("status")).to_have_text("Cancelled.")
        expect(alice.get_by_role("row", name="in an hour").locator(".cancelled")).to_be_visible()
        browser.close()


def write(page: Any, text: str, seconds: int = 0) -> None:
    page.get_by_label("To").fill("carl")
    page.get_by_label("Text").fill(text)
    page.get_by_label("In seconds").fill(str(seconds))
    page.get_by_role("button", name="Send").click()


def refreshed(page: Any, text: str) -> Any:
    page.get_by_role("link", name="Refresh").click()
    return page.get_by_role("row", name=text)
