from __future__ import annotations

from typing import Any

import pytest

from examples.wechat.limits import Limits
from examples.wechat.messages import OutboundRow
from examples.wechat.outbound import BacklogError, PausedError
from examples.wechat.server import ChatServer, Entry
from examples.wechat.settings import Window
from tests.examples.site import Site, message, outcomes, sent_ids, shortest_gap_ms
from xpert_mq import request_context

#: Redis and the service have clocks of their own, and keys expire by the millisecond.
CLOCKS_MS = 2


def test_bursts_of_two_tenants_with_the_same_ids(site: Site, chat: ChatServer, tenant: str) -> None:
    """A throttled service, the same integration, accounts, contacts and message ids; all limits kept."""
    chat.behave(throttle=8, throttle_ms=250)
    ids = [f"m{number}" for number in range(16)]
    rows: dict[str, list[OutboundRow]] = {}
    for owner in ("first", "second"):
        with request_context(tenant_id=f"{owner}-{tenant}"):
            site.connect(chat, token=owner, account_interval_ms=15, contact_interval_ms=40)
            rows[owner] = [
                site.outbound.send(message(id_, f"a{number % 2}", f"c{number % 4}")) for number, id_ in enumerate(ids)
            ]

    for owner, own in rows.items():
        with request_context(tenant_id=f"{owner}-{tenant}"):
            site.all_are("sent", own)
            assert {site.finished(row).attempts_made for row in own} == {1}, "waiting costs no attempt"
        taken = list(chat.taken(token=owner))
        assert sorted(sent_ids(taken)) == sorted(ids)
        assert {entry.key for entry in taken} == {row.id for row in own}
        for account in ("a0", "a1"):
            assert shortest_gap_ms(of(taken, account=account)) >= 15 - CLOCKS_MS
        for contact in ("c0", "c1", "c2", "c3"):
            assert shortest_gap_ms(of(taken, contact=contact)) >= 40 - CLOCKS_MS
    assert outcomes(chat)["accepted"] == 32
    assert not outcomes(chat)["duplicate"]


def of(entries: list[Entry], **content: str) -> list[Entry]:
    return [entry for entry in entries if content.items() <= entry.content.items()]


def test_rows_of_another_tenant_or_organization_are_not_there(site: Site, chat: ChatServer, tenant: str) -> None:
    site.connect(chat)
    (row,) = site.send("m", delay_ms=60_000)

    for stranger in (("another", "hq"), (tenant, None), (tenant, "another")):
        with request_context(*stranger):
            assert site.rows.outbound(row.id) is None
            assert not site.outbound.cancel(row.id)
            assert site.outbound.pause("main", "a1") == 0
            with pytest.raises(LookupError, match="no integration"):
                site.send("m")
    with request_context(), pytest.raises(LookupError, match="none in the current context"):
        site.rows.outbound(row.id)
    assert site.sent(row).status == "queued"
    assert site.outbound.cancel(row.id)


def test_counters_hold_back_what_is_too_much(site: Site, chat: ChatServer) -> None:
    windows = (
        Window(name="minute", of="account", window_ms=60_000, limit=4),
        Window(name="hour", of="contact", window_ms=3_600_000, limit=3),
    )
    site.connect(chat, windows=windows)
    to_one = site.send(*"abcde")
    site.wait(lambda: site.statuses(to_one) == {"sent": 3, "deferred": 2}, "three of five to be sent")
    to_other = site.send(*"fgh", contact="c2")
    site.wait(lambda: site.statuses(to_other) == {"sent": 1, "deferred": 2}, "the fourth of the account to be sent")

    assert outcomes(chat) == {"accepted": 4}
    waiting = [row for row in (*to_one, *to_other) if site.sent(row).status == "deferred"]
    for row in waiting:
        site.wait_state(row, "delayed")
        assert site.sent(row).reason == "limit"
        assert site.outbound.cancel(row.id)


def test_failures_are_tried_again(site: Site, chat: ChatServer) -> None:
    site.connect(chat)
    chat.behave(fail=2)
    (row,) = site.send("m")

    site.all_are("sent", [row])
    assert site.finished(row).attempts_made == 3
    assert outcomes(chat) == {"failed": 2, "accepted": 1}


def test_answer_lost_is_sent_again_under_its_key(site: Site, chat: ChatServer) -> None:
    site.connect(chat)
    chat.behave(lose=1)
    (row,) = site.send("m")

    site.all_are("sent", [row])
    assert [(entry.outcome, entry.key) for entry in chat.service.log()] == [
        ("accepted", row.id),
        ("duplicate", row.id),
    ]


def test_intervals_count_from_the_end_of_a_request_without_an_answer(site: Site, chat: ChatServer) -> None:
    """The service has taken it late, when the turn was long over."""
    site.connect(chat, contact_interval_ms=300)
    chat.behave(lose=1)
    chat.service.before.clear()
    rows = site.send("first", "second")
    site.wait(lambda: chat.service.arrived, "one to be at the service")
    limits = Limits(site.queue, site.rows.integration("main"), "a1", "c1")
    site.wait(lambda: limits.wait_ms() == 0, "its turn to end")
    chat.service.before.set()

    site.all_are("sent", rows)
    assert outcomes(chat) == {"accepted": 2, "duplicate": 1}
    assert shortest_gap_ms(chat.service.log()) >= 300 - CLOCKS_MS


def test_service_away_then_back(site: Site) -> None:
    with ChatServer() as chat:
        site.connect(chat, attempts=2)
    (row,) = site.send("m")
    site.all_are("failed", [row])
    assert "can't be reached" in str(site.sent(row).reason)

    with ChatServer() as chat:
        site.connect(chat)
        assert site.outbound.retry(row.id)
        site.all_are("sent", [row])
        assert sent_ids(chat.taken()) == ["m"]


def test_refused_fails_at_once_and_is_retried_by_hand(site: Site, chat: ChatServer) -> None:
    site.connect(chat)
    chat.behave(refuse=["text of m"])
    (row,) = site.send("m")
    site.all_are("failed", [row])
    job = site.finished(row)
    assert (job.state, job.attempts_made) == ("failed", 1)
    assert "refuses it" in str(site.sent(row).reason)

    chat.behave()
    assert site.outbound.retry(row.id)
    site.all_are("sent", [row])
    assert not site.outbound.retry(row.id), "sent already"


def test_failure_guard_pauses_the_account_until_it_is_resumed(site: Site, chat: ChatServer) -> None:
    site.connect(chat, attempts=1, failures_until_pause=2)
    waiting = site.send("later", delay_ms=60_000)
    chat.behave(fail=2)
    failed = site.send("f1") + site.send("f2", contact="c2")
    site.all_are("failed", failed)
    site.all_are("paused", waiting)
    assert site.job(waiting[0]) is None
    with pytest.raises(PausedError, match="failure_guard"):
        site.send("refused")
    other_account = site.send("other", account="a2")
    site.all_are("sent", other_account)

    assert site.outbound.resume("main", "a1") == 1
    assert all(site.outbound.retry(row.id) for row in failed)
    site.all_are("sent", failed)
    assert site.outbound.cancel(waiting[0].id)
    assert outcomes(chat) == {"failed": 2, "accepted": 3}


def test_pause_keeps_what_waits_and_lets_what_is_being_sent_end(site: Site, chat: ChatServer) -> None:
    site.connect(chat)
    chat.service.after.clear()
    rows = site.send(*"abcdef")
    site.wait(lambda: site.statuses(rows)["sending"], "one to be at the service")

    assert site.outbound.pause("main", "a1") == 5
    chat.service.after.set()
    site.wait(lambda: site.statuses(rows) == {"sent": 1, "paused": 5}, "one sent, five paused")
    with pytest.raises(PausedError, match="manual"):
        site.send("g")
    for row in rows:
        site.wait_state(row, "completed", None)
    assert outcomes(chat) == {"accepted": 1}

    assert site.outbound.resume("main", "a1") == 5
    site.all_are("sent", rows)
    assert sorted(sent_ids(chat.taken())) == list("abcdef")
    assert not outcomes(chat)["duplicate"]


def test_pause_that_has_ended_pauses_no_row_any_more(site: Site, chat: ChatServer) -> None:
    """As a handler tries that looked at the pause just before it ended."""
    site.connect(chat)
    (row,) = site.send("m", delay_ms=60_000)
    site.outbound.pause("main", "a1")
    late = site.rows.add_outbound(message("late"), 0)
    assert site.rows.pause_with_others(late)
    assert site.sent(late).reason == "manual"

    assert site.outbound.resume("main", "a1") == 2
    site.outbound.pause("main", "a1", "another contact")
    assert not site.rows.pause_with_others(site.sent(row))
    assert site.sent(row).status == "queued"
    assert site.outbound.cancel(row.id)


def test_pause_of_a_contact(site: Site, chat: ChatServer) -> None:
    site.connect(chat)
    site.outbound.pause("main", "a1", "c1")
    with pytest.raises(PausedError):
        site.send("m")
    site.all_are("sent", site.send("n", contact="c2"))
    site.outbound.pause("main", "a1")
    site.outbound.resume("main", "a1")
    with pytest.raises(PausedError):
        site.send("m")
    site.outbound.resume("main", "a1", "c1")
    site.all_are("sent", site.send("m"))


@pytest.mark.parametrize(("options", "kept"), [({"account_backlog": 3}, 3), ({"contact_backlog": 2}, 2)])
def test_backlog_refuses_and_pauses(site: Site, chat: ChatServer, options: dict[str, Any], kept: int) -> None:
    site.connect(chat, **options)
    rows = site.send(*[f"m{number}" for number in range(kept)], delay_ms=60_000)
    assert site.send("m0")[0].id == rows[0].id, "known already"
    with pytest.raises(BacklogError):
        site.send("one more")
    site.all_are("paused", rows)
    with pytest.raises(PausedError, match="backlog"):
        site.send("one more")


def test_cancel_before_and_too_late(site: Site, chat: ChatServer) -> None:
    site.connect(chat)
    (waiting,) = site.send("waiting", delay_ms=60_000)
    assert site.outbound.cancel(waiting.id)
    assert site.job(waiting) is None
    assert not site.outbound.cancel(waiting.id)

    chat.service.after.clear()
    sending, behind = site.send("sending", "behind")
    site.wait(lambda: site.statuses([sending, behind])["sending"], "one to be at the service")
    if site.sent(behind).status == "sending":
        sending, behind = behind, sending
    assert not site.outbound.cancel(sending.id)
    assert site.outbound.cancel(behind.id)
    chat.service.after.set()
    site.all_are("sent", [sending])
    assert outcomes(chat) == {"accepted": 1}
    assert site.outbound.retry(waiting.id)
    site.all_are("sent", [waiting])


def test_row_without_a_job_is_recovered(site: Site, chat: ChatServer) -> None:
    """As a crash between the two leaves it."""
    site.connect(chat)
    rows = [site.rows.add_outbound(message(id_), 0) for id_ in "ab"]
    assert site.send("a") == rows[:1], "the caller may as well send it again"
    assert site.outbound.recover(older_than_ms=60_000) == 0
    site.outbound.recover(older_than_ms=0)
    site.all_are("sent", rows)
    assert sorted(sent_ids(chat.taken())) == ["a", "b"]
    assert not outcomes(chat)["duplicate"]


def test_recover_does_no_harm_to_what_is_being_sent(site: Site, chat: ChatServer) -> None:
    site.connect(chat, lock_retry_ms=100)
    chat.service.after.clear()
    (row,) = site.send("m")
    site.wait(lambda: site.statuses([row])["sending"] and outcomes(chat)["accepted"], "it to be at the service")

    assert site.outbound.recover(older_than_ms=0) == 1
    assert site.sent(row).round == 2
    site.wait_state(row, "delayed")
    assert site.sent(row).status == "sending"
    assert not site.outbound.cancel(row.id)
    chat.service.after.set()
    site.all_are("sent", [row])
    assert site.finished(row).return_value == "nothing to do"
    assert outcomes(chat) == {"accepted": 1}
