"""What the example sites have in common: each started by its one command, with its real worker; and their visitors."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
import redis

from tests.acceptance.nodes import LocalProcess, environment, wait_for

#: Seconds that a busy machine may take to start a site: seven processes, four of which are whole frameworks.
STARTED_WITHIN = 90

#: The start counts as part of the first test. For the modules' `pytestmark`.
within = pytest.mark.timeout(STARTED_WITHIN + 60)


class Site:
    """An example of that name, as a process with all that it starts."""

    def __init__(self, name: str, folder: Path) -> None:
        command = [sys.executable, "-m", f"examples.{name}", "--port", "0"]
        self.process = LocalProcess(command, environment(), folder, "site")
        self.process.start()

    def wait_until_ready(self) -> None:
        try:
            said = wait_for(self._ready, "the site", STARTED_WITHIN)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.process.logs().decode()}") from None
        self.url, self.redis_url = re.findall(r"^(?:The site|Its Redis): (\S+)$", said, re.MULTILINE)

    def _ready(self) -> str:
        said = self.process.logs().decode()
        self.process.reload()
        assert self.process.status == "running", "the site has ended"
        return said if "Ctrl-C" in said else ""

    def job_keys(self) -> set[bytes]:
        with redis.Redis.from_url(self.redis_url) as client:
            return set(client.scan_iter("xpert:managed-queue:job:*"))


@contextmanager
def running(name: str, folder: Path) -> Iterator[Site]:
    """The example, until the end of the block."""
    one = Site(name, folder)
    try:
        one.wait_until_ready()
        yield one
    finally:
        # Killed, it could not end what it has started.
        one.process.stop(STARTED_WITHIN)


class Visitor:
    """A user with cookies, and no browser."""

    def __init__(self, site: Site, user: str) -> None:
        self._url = site.url
        self._cookies = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self._cookies))
        self.get("/sign-in")
        self.post("/sign-in", user=user)

    def get(self, path: str = "/") -> str:
        with self._opener.open(f"{self._url}{path}", timeout=15) as answer:
            return str(answer.read().decode())

    def post(self, path: str, **form: str) -> str:
        data = urlencode({**form, "csrfmiddlewaretoken": self._csrf_token()}).encode()
        with self._opener.open(f"{self._url}{path}", data, timeout=15) as answer:
            return str(answer.read().decode())

    def _csrf_token(self) -> str:
        """Django's, which Flask ignores."""
        return next((one.value or "" for one in self._cookies if one.name == "csrftoken"), "")

    def refused(self, path: str, **form: str) -> int:
        """The status of a POST that fails."""
        with pytest.raises(HTTPError) as refused:
            self.post(path, **form)
        refused.value.close()
        return refused.value.code

    def send(self, text: str, contact: str = "carl", seconds: int = 0) -> str:
        return self.post("/letters", contact=contact, text=text, seconds=str(seconds))

    def line(self, text: str) -> str:
        """The line of the table that has the text."""
        return next((line for line in self.get().split("<tr>") if f">{text}<" in line), "")

    def wait_line(self, text: str, said: str) -> str:
        """The line when it says that."""
        line = ""

        def says_it() -> bool:
            nonlocal line
            line = self.line(text)
            return said in line

        try:
            wait_for(says_it, f"{said!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}; the page says {line!r}") from None
        return line

    def wait_status(self, text: str, status: str) -> str:
        return self.wait_line(text, f'"state {status}"')

    def button(self, text: str, verb: str) -> str:
        """The address that the button posts to."""
        line = self.line(text)
        found = re.search(rf'action="(/letters/\w+/{verb})"', line)
        assert found, f"no {verb} for {text}: {line}"
        return found[1]


class SiteTests:
    """What holds for each of the sites; a subclass has a fixture `site`."""

    def test_message_is_sent_by_the_worker(self, site: Site) -> None:
        alice = Visitor(site, "alice")
        alice.send("good morning")

        alice.wait_status("good morning", "sent")
        # The message is sent a moment before its job has ended.
        alice.wait_line("good morning", "send-message: completed, 1 of 4 tries")

    def test_retry_after_a_failure(self, site: Site) -> None:
        bob = Visitor(site, "bob")
        bob.send("refuse this")
        assert "the service refuses it" in bob.wait_status("refuse this", "failed")

        assert "It is sent again." in bob.post(bob.button("refuse this", "retry"))

        bob.wait_status("refuse this", "sent")

    def test_cancelled_message_is_gone(self, site: Site) -> None:
        alice = Visitor(site, "alice")
        alice.send("much later", seconds=3600)
        assert "Cancelled." in alice.post(alice.button("much later", "cancel"))

        assert '"state cancelled"' in alice.line("much later")

    def test_other_tenant_sees_and_changes_nothing(self, site: Site) -> None:
        alice, bob = Visitor(site, "alice"), Visitor(site, "bob")
        alice.send("a secret", seconds=3600)
        address = alice.button("a secret", "cancel")

        assert "a secret" not in bob.get()
        for verb in ("cancel", "retry"):
            assert bob.refused(address.replace("cancel", verb)) == 404
        assert '"state delayed"' in alice.line("a secret")

    def test_letter_that_is_rolled_back_enqueues_nothing(self, site: Site) -> None:
        alice = Visitor(site, "alice")
        before = site.job_keys()

        assert "Nothing was sent" in alice.send("no contact", contact=" ", seconds=3600)

        assert "no contact" not in alice.get()
        assert site.job_keys() == before

    def test_nobody_is_let_in_unsigned(self, site: Site) -> None:
        assert "choose who you are" in Visitor(site, "nobody").get()


@contextmanager
def browser() -> Iterator[Any]:
    """A headless one; skips where there is none."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not on the PATH")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        running.close()


def signed_in(browser: Any, site: Site, user: str) -> Any:
    """A page of the user, such as "Alice of acme"."""
    page = browser.new_context().new_page()
    page.goto(site.url)
    page.get_by_role("button", name=user).click()
    return page


def write(page: Any, text: str, seconds: int = 0) -> None:
    page.get_by_label("To").fill("carl")
    page.get_by_label("Text").fill(text)
    page.get_by_label("In seconds").fill(str(seconds))
    page.get_by_role("button", name="Send").click()


def refreshed(page: Any, text: str) -> Any:
    page.get_by_role("link", name="Refresh").click()
    return page.get_by_role("row", name=text)


def visit_in_a_browser(browser: Any, site: Site) -> None:
    """What users do on either site, as they do it."""
    from playwright.sync_api import expect

    alice, bob = signed_in(browser, site, "Alice of acme"), signed_in(browser, site, "Bob of globex")
    write(alice, "from a browser")
    write(alice, "in an hour", seconds=3600)
    wait_for(lambda: refreshed(alice, "from a browser").locator(".sent").count(), "it to be sent")
    expect(refreshed(bob, "in an hour")).to_have_count(0)

    alice.get_by_role("row", name="in an hour").get_by_role("button", name="Cancel").click()
    expect(alice.get_by_role("status")).to_have_text("Cancelled.")
    expect(alice.get_by_role("row", name="in an hour").locator(".cancelled")).to_be_visible()
