"""What a newcomer does first: loads the plugin, tries it from a shell, and has it recover for all tenants."""

from __future__ import annotations

import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

import examples.wechat
from examples.wechat import keys
from examples.wechat.recover import recover
from examples.wechat.rows import Rows
from examples.wechat.server import ChatServer
from examples.wechat.settings import Integration
from tests.examples.site import Site, dispatched_texts, message, sent_ids
from xpert_mq import request_context


def test_loading_leaves_nothing_behind(site: Site, tmp_path: Path) -> None:
    done = site.deployment.python(
        "-m", "xpert_mq.cli", "plugins", "--json", WECHAT_DATABASE=str(tmp_path / "wechat.sqlite3")
    )

    assert done.returncode == 0, done.stderr
    assert "send-message" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_first_use_by_many_at_the_same_time(tmp_path: Path) -> None:
    """Again and again, since only some of such first uses meet."""

    def use(path: Path, gate: threading.Barrier) -> list[tuple[str, str | None]]:
        gate.wait(10)
        return Rows(path).owners()

    with ThreadPoolExecutor(8) as threads:
        for number in range(40):
            path, gate = tmp_path / f"{number}.sqlite3", threading.Barrier(8)
            uses = [threads.submit(use, path, gate) for _ in range(8)]
            assert [one.result(30) for one in uses] == [[]] * 8


def test_lines_for_a_shell(site: Site, chat: ChatServer) -> None:
    code = shell_lines()
    assert 10 <= len(code.splitlines()) <= 16
    url = "http://127.0.0.1:8600"
    assert code.count(url) == 1

    done = site.deployment.python("-c", code.replace(url, chat.url))

    assert done.returncode == 0, done.stderr
    site.wait(lambda: list(chat.taken()) and dispatched_texts(chat), "both ways to be taken")
    assert [entry.content["text"] for entry in chat.taken(token="acme-token")] == ["Hello Bob"]
    assert dispatched_texts(chat, "acme-token") == [["Hello Alice", "How are you?"]]


def shell_lines() -> str:
    """The Python of the package's docstring."""
    _, begin, rest = str(examples.wechat.__doc__).partition("    from examples.wechat.inbound")
    return textwrap.dedent(begin + rest.partition("\n\n`curl")[0])


def test_recover_for_all_tenants(site: Site, chat: ChatServer, tenant: str) -> None:
    """Rows without a job, as a crash leaves them; of tenants with the same ids, and one without an organization."""
    owners = [(f"first-{tenant}", "hq"), (f"first-{tenant}", "branch"), (f"second-{tenant}", None)]
    for owner, organization in owners:
        with request_context(tenant_id=owner, organization_id=organization):
            site.connect(chat, token=f"{owner}-{organization}")
            site.rows.add_outbound(message("m"), 0)
            site.rows.add_inbound(message("n"))

    done = site.deployment.python("-m", "examples.wechat.recover", "--older-than-ms", "0")

    assert done.returncode == 0, done.stderr
    assert {f"first-{tenant}: 4", f"second-{tenant}: 2"} <= set(done.stdout.splitlines())
    for owner, organization in owners:
        token = f"{owner}-{organization}"
        site.wait(partial(_both_taken, chat, token), f"both messages of {token}")
        assert sent_ids(chat.taken("/messages", token)) == ["m"]
        assert dispatched_texts(chat, token) == [["text of n"]]


def _both_taken(chat: ChatServer, token: str) -> bool:
    return bool(sent_ids(chat.taken("/messages", token)) and dispatched_texts(chat, token))


def test_recover_goes_on_where_one_tenant_has_an_error(site: Site, tmp_path: Path, tenant: str) -> None:
    rows = Rows(tmp_path / "own.sqlite3")
    for owner in ("first", "second"):
        with request_context(tenant_id=f"{owner}-{tenant}"):
            rows.save_integration(Integration(id="main", url="http://127.0.0.1:1", token="t"))
            rows.add_outbound(message("m"), 0)
    with request_context(tenant_id=f"first-{tenant}"):
        rows.run("UPDATE integration SET options = '{}' WHERE tenant = :tenant")

    with pytest.raises(ExceptionGroup) as caught:
        recover(site.queue, rows, older_than_ms=0)

    (error,) = caught.value.exceptions
    assert f"first-{tenant}" in error.__notes__[0]
    with request_context(tenant_id=f"second-{tenant}"):
        (row,) = rows.open_outbound(older_than_ms=0)
        assert site.queue.get_job(keys.send_id(row)) is not None


def test_recover_without_a_database_says_so(site: Site, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.sqlite3"

    done = site.deployment.python("-m", "examples.wechat.recover", WECHAT_DATABASE=str(nowhere))

    assert done.returncode == 2
    assert "WECHAT_DATABASE" in done.stderr
    assert not nowhere.exists()
