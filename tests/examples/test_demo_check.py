"""The demo's checks find what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from examples.demo import turns
from examples.demo.figures import Times, job_figures, service_figures
from examples.demo.script import Paused
from examples.demo.seen import Seen
from examples.demo.tries import Try
from examples.wechat.settings import Window
from tests.examples.demo_report import Report, said, snapshot
from xpert_mq.models import JobOptions


def test_check_finds_nothing_when_all_is_well() -> None:
    assert Report().faults() == []


def test_check_accepts_a_cancel_that_came_too_late() -> None:
    report = Report()
    report.told["acme"].cancelled[said("acme", "maybe")] = False
    report.set_status("acme: maybe", "sent")
    report.send("acme: maybe", key="acme-maybe")

    assert report.faults() == []


Spoil = Callable[[Report], object]


def changed(text: str, **fields: Any) -> Spoil:
    return lambda report: report.change(text, **fields)


def shifted(text: str, to: str, by: float) -> Spoil:
    """The message was sent so many seconds after another."""
    return lambda report: report.change(text, at=report.entry(to).at + by)


def lost(text: str) -> Spoil:
    return lambda report: report.log.remove(report.entry(text))


def doubled(text: str) -> Spoil:
    return lambda report: report.log.append(replace(report.entry(text), at=200.0))


def sent(text: str, **fields: Any) -> Spoil:
    return lambda report: report.send(text, **fields)


def untried(outcome: str) -> Spoil:
    """The first request with this outcome was never made."""
    return lambda report: report.log.remove(next(entry for entry in report.log if entry.outcome == outcome))


def status(text: str, now: str) -> Spoil:
    return lambda report: report.set_status(text, now)


def paused(report: Report) -> None:
    at = report.entry("acme: m1").at
    report.told["acme"].pauses.append(Paused("main", "a1", at - 0.1, frozenset(), at + 0.1))


def due_later(report: Report) -> None:
    report.told["acme"].due[said("acme", "m1")] += 1


def not_cancelled(report: Report) -> None:
    report.told["acme"].cancelled[said("acme", "never")] = False


def kept(report: Report) -> None:
    report.told["acme"].refused.clear()


def dispatched(text: str, texts: list[str]) -> Spoil:
    def spoil(report: Report) -> None:
        report.change(text, content={**report.entry(text).content, "texts": texts})

    return spoil


def noisy(report: Report) -> None:
    """A message came shortly before the dispatch that has it."""
    report.told["acme"].received[said("acme", "i1")] = report.entry("acme: i1").at - 0.1


def gathered_before(report: Report) -> None:
    report.move_try("aggregate:acme-i2:1", report.entry("acme: i0").at - 0.1)


def job(job_id: str, **fields: Any) -> Spoil:
    def spoil(report: Report) -> None:
        found = report.seen.jobs["acme", job_id]
        assert found is not None
        report.seen.jobs["acme", job_id] = replace(found, **fields)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (doubled("acme: m0"), "m0 of a1 was to be sent, and the service took it 2 times"),
        (lost("acme: m0"), "m0 of a1 is lost"),
        (changed("acme: m0", token="globex-main-token"), "was sent with the token 'globex-main-token'"),
        (changed("acme: m0", token="acme-other-token"), "was sent with the token 'acme-other-token'"),
        (changed("acme: m0", key="globex-m0"), "was sent with the key 'globex-m0'"),
        (changed("acme: m0", content={"account": "a1", "contact": "c9", "text": "acme: m0"}), "was sent as"),
        (sent("acme: unheard of"), "which nobody has planned"),
        (sent("acme: never", key="acme-never"), "was to be cancelled, and the service took it 1 times"),
        (sent("acme: maybe", key="acme-maybe"), "was to be cancelled, and the service took it 1 times"),
        (sent("acme: no"), "was to be refused, and the service took it 1 times"),
        (sent("acme: bad", key="acme-bad"), "was to be failed, and the service took it 1 times"),
        (untried("failed"), "was to be ['failed', 'accepted', 'duplicate'] at the service"),
        (untried("duplicate"), "was to be ['failed', 'accepted', 'duplicate'] at the service"),
        (status("acme: m0", "sending"), "is sending in the plugin's rows, not sent"),
        (due_later, "ms too early"),
        (not_cancelled, "could not be cancelled"),
        (kept, "was kept"),
        (paused, "'acme: m1' was sent while a1 was paused"),
        (shifted("acme: m3", "acme: m1", 0.005), "main: itself sent twice in 5 ms, not 10"),
        (shifted("acme: m2", "acme: m1", 0.05), "main: a1 sent twice in 50 ms, not 80"),
        (shifted("acme: m0", "acme: m1", 0.1), "main: a1's contact c1 sent twice in 100 ms, not 150"),
        (lost("acme: i0"), "was dispatched without 'acme: i0'"),
        (doubled("acme: i2"), "was dispatched with 'acme: i2' 2 times"),
        (dispatched("acme: i0", ["acme: i0", "acme: i1", "globex: i0"]), "has 'globex: i0' of another"),
        (dispatched("acme: i0", ["acme: i1", "acme: i0"]), "out of order"),
        (shifted("acme: i2", "acme: i0", -0.1), "out of order"),
        (changed("acme: i0", token="globex-main-token"), "was dispatched without 'acme: i0'"),
        (changed("acme: i0", token="no-token"), "which nobody has planned"),
        (noisy, "was dispatched 100 ms after its last message, not 500"),
        (gathered_before, "was dispatched without 'acme: i2', which had been gathered"),
        (status("acme: i0", "received"), "inbound 'acme: i0' is received"),
        (job("send:acme-m0:1", state="active"), "has not ended: it is active"),
        (job("send:acme-m0:1", state="failed", failed_reason="oh"), "failed: oh"),
        (job("send:acme-m0:1", tenant_id="globex"), "belongs to globex"),
    ],
)
def test_check_finds(spoil: Spoil, said: str) -> None:
    report = Report()
    spoil(report)

    found = report.faults()

    assert any(said in fault for fault in found), found


def test_check_lets_what_was_being_sent_end_in_a_pause() -> None:
    report = Report()
    paused(report)
    report.told["acme"].pauses[0].sending = frozenset(["acme-m1"])

    assert report.faults() == []


@pytest.mark.parametrize(
    ("ends", "is_well"),
    [
        # At most 13 of an account in 1500 ms.
        ([0.11 * number for number in range(13)], True),
        ([0.11 * number for number in range(14)], False),
        ([0.11 * number for number in range(40)], False),
        ([0.125 * number for number in range(40)], True),
        # Two windows that meet: 25 in little more than one.
        ([0.0, *(0.54 + 0.08 * number for number in range(12)), *(1.51 + 0.08 * number for number in range(13))], True),
        (
            [0.0, *(0.54 + 0.08 * number for number in range(12)), *(1.47 + 0.08 * number for number in range(13))],
            False,
        ),
    ],
)
def test_check_of_a_counter(ends: list[float], is_well: bool) -> None:
    found = turns.window_faults(WINDOW, [turn(end) for end in ends], "a1")

    assert (list(found) == []) == is_well


def test_check_of_a_counter_knows_turns_that_were_taken_for_nothing() -> None:
    """A message that was cancelled in the last moment may have begun a window."""
    full = [turn(0.9 + 0.04 * number) for number in range(12)] + [turn(1.52 + 0.04 * number) for number in range(13)]

    assert list(turns.window_faults(WINDOW, full, "a1")) != []
    assert list(turns.window_faults(WINDOW, [turn(0.01, certain=False), *full], "a1")) == []


WINDOW = Window(name="burst", of="account", window_ms=1500, limit=13)


def turn(end: float, certain: bool = True) -> turns.Turn:
    return turns.Turn(Report().row("acme: m0"), end - 0.005, end, certain)


def test_figures_say_what_was_reported() -> None:
    report = Report()
    report.faults()
    figures = {(one.tenant, one.logical): one for one in job_figures(report.seen)}
    sends = figures["acme", "p/q/send-message"]

    assert (sends.jobs, sends.completed, sends.failed, sends.cancelled) == (8, 5, 1, 2)
    assert (sends.tries, sends.deferred) == (11, 0)
    assert sends.run.p50 == pytest.approx(20)
    (acme, globex) = service_figures(report.plan, report.log)
    assert (acme.messages, acme.dispatches, acme.texts, acme.failed, acme.duplicate) == (5, 3, 4, 5, 1)
    assert replace(acme, tenant="globex") == globex


def test_figures_of_waits_count_from_when_a_try_was_due() -> None:
    """From the enqueueing and its delay; later from the end of the try before, and what it asked for."""
    job = replace(snapshot("t", "send:m:1"), timestamp=1_000, opts=JobOptions(delay_ms=500))
    tries = [
        Try("t", "send:m:1", "p/q/send", 1_507, 1_520, 0, 0, again_ms=100, deferred=True),
        Try("t", "send:m:1", "p/q/send", 1_631, 1_640, 0, 0, again_ms=None, deferred=False),
    ]
    (figures,) = job_figures(Seen(jobs={("t", "send:m:1"): job}, tries=tries))

    assert (figures.wait, figures.run) == (Times(7, 11), Times(9, 13))
    assert (figures.tries, figures.deferred) == (2, 1)
