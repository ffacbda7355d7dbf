"""Limits: what the service saw of an integration, an account and a contact must be possible within them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..wechat.messages import OutboundRow
from ..wechat.server import Entry
from ..wechat.settings import Integration, Window
from .case import CLOCKS, Case, by
from .tries import Try


@dataclass(frozen=True)
class Turn:
    """A try's turn: taken between the two moments. Not `certain`: if it was taken at all, since nothing was sent."""

    row: OutboundRow
    begin: float
    end: float
    certain: bool


def limit_faults(case: Case) -> Iterator[str]:
    """What the service saw of an integration, an account and a contact must be possible within their limits."""
    entries = by(case.requests("/messages"), lambda entry: entry.key)
    tries = by(case.seen.tries, lambda one: (one.tenant, one.job_id.split(":")[1]))
    for plan in case.plan:
        turns = [
            turn
            for row in case.seen.outbound[plan.tenant]
            for turn in _turns(row, entries.get(row.id, []), tries.get((plan.tenant, row.id), []))
        ]
        turns.sort(key=lambda turn: turn.end)
        for id_ in plan.integrations:
            own = [turn for turn in turns if turn.row.integration == id_]
            for fault in _faults_of(plan.integration(id_), own):
                yield f"{plan.tenant}'s integration {id_}: {fault}"


def _turns(row: OutboundRow, entries: Sequence[Entry], tries: Sequence[Try]) -> Iterator[Turn]:
    for entry in entries:
        begin = max((one.began for one in tries if one.began <= entry.at), default=entry.at)
        yield Turn(row, begin, entry.at, certain=True)
    for one in tries:
        if not one.deferred and not any(one.began <= entry.at <= one.ended for entry in entries):
            yield Turn(row, one.began, one.ended, certain=False)


def _faults_of(limits: Integration, turns: Sequence[Turn]) -> Iterator[str]:
    by_account = by(turns, lambda turn: turn.row.account)
    by_contact = by(turns, lambda turn: f"{turn.row.account}'s contact {turn.row.contact}")
    yield from _interval(limits.interval_ms, turns, "itself")
    for interval, of, groups in (
        (limits.account_interval_ms, "account", by_account),
        (limits.contact_interval_ms, "contact", by_contact),
    ):
        for name, own in groups.items():
            yield from _interval(interval, own, name)
            for window in limits.windows:
                if window.of == of:
                    yield from window_faults(window, own, name)


def _interval(interval_ms: int, turns: Sequence[Turn], name: str) -> Iterator[str]:
    requests = [turn.end for turn in turns if turn.certain]
    for before, after in pairwise(requests):
        if after - before < interval_ms / 1000 - CLOCKS:
            yield f"{name} sent twice in {(after - before) * 1000:.0f} ms, not {interval_ms}"


def window_faults(window: Window, turns: Sequence[Turn], name: str) -> Iterator[str]:
    """A window begins with its first turn, whose moment is known only within bounds. So this follows all that may be:
    begin of the present window, earliest and latest, and the turns in it. The limit is broken where nothing may be.
    """
    length, none = window.window_ms / 1000, (float("-inf"), float("-inf"), 0)
    possible = {none}
    for turn in turns:
        following = set() if turn.certain else set(possible)
        for earliest, latest, number in possible:
            if turn.begin < latest + length and number < window.limit:
                following.add((earliest, latest, number + 1))
            if turn.end >= earliest + length - CLOCKS:
                following.add((turn.begin, turn.end, 1))
        if not following:
            yield f"{name} sent more than {window.limit} in {window.window_ms} ms"
            following = {(turn.begin, turn.end, 1)}
        possible = following
