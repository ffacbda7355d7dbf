"""The judge of `bench.soak` finds each kind of wrong, and takes none for it that is none: made-up evidence."""

from __future__ import annotations

from typing import Any

import pytest

from bench.soak.evidence import Ended, History, Incident, Run, Story, Told, told_by
from bench.soak.judge import STALLED, Verdict, judge, recoveries
from bench.soak.plan import JobPlan, make_faults, make_jobs

TIMEOUT = 10.0
NODE = "prefork-0.1"


def run(number: int = 1, start: float = 1.0, end: float | None = 2.0, **fields: Any) -> Run:
    """By default one that returned, and whose outcome was recorded at its end."""
    usual: dict[str, Any] = {
        "made": 0,
        "node": NODE,
        "pid": 7,
        "name": "work",
        "how": "returned" if end else None,
        "settled": end,
    }
    return Run(id=f"run-{number}", generation=number, start=start, end=end, **(usual | fields))


def cut(number: int = 1, start: float = 1.0, **fields: Any) -> Run:
    """One that never came to its end."""
    return run(number, start, None, **fields)


def completed(by: int = 1, attempts_made: int = 1) -> Ended:
    return Ended("completed", attempts_made, {"run": f"run-{by}"})


def failed(reason: str, attempts_made: int = 1) -> Ended:
    return Ended("failed", attempts_made, None, reason)


def story(*runs: Run, ended: Ended | None = None, asked: float = 0.0, **fields: Any) -> Story:
    """By default of a job that is completed by its last run."""
    told = {name: fields.pop(name) for name in ("cancelled", "missed", "denied") if name in fields}
    plan = JobPlan(key=("acme", "job"), name="work", at=0, **fields)
    if runs and ended is None and "cancelled" not in told:
        ended = completed(runs[-1].generation, runs[-1].made + 1)
    return Story(plan, asked, ended=ended, runs=list(runs), **told)


def history(*incidents: Incident, renewed: float | None = None) -> History:
    return History(incidents, TIMEOUT, {} if renewed is None else {NODE: [renewed]})


def judged(one: Story, of: History | None = None) -> Verdict:
    return judge([one], of or history())


def kinds(one: Story, of: History | None = None) -> list[str]:
    return [wrong.kind for wrong in judged(one, of).wrongs]


CHILD_KILLED = Incident("child killed", 1.5, NODE, 7)
NODE_KILLED = Incident("node killed", 1.5, NODE)
FROZEN = Incident("frozen", 1.2, NODE, until=1.2 + TIMEOUT)
FROZEN_SHORTLY = Incident("frozen", 1.2, NODE, until=1.2 + TIMEOUT / 2)
COLD = Incident("cold", 1.5, NODE)
FAILS: dict[str, Any] = {"attempts": 2, "fails": 1}


@pytest.mark.parametrize(
    ("one", "of"),
    [
        pytest.param(story(run()), history(), id="one try"),
        pytest.param(story(run(how="raised"), run(2, 2, 3, made=1), **FAILS), history(), id="retried"),
        pytest.param(story(run(how="deferred"), run(2, 2, 3), defers=1), history(), id="deferred"),
        pytest.param(
            story(run(how="raised"), ended=failed("run-1"), attempts=1, fails=1), history(), id="failed for good"
        ),
        pytest.param(story(cut(), run(2, 3, 4)), history(CHILD_KILLED), id="child killed"),
        pytest.param(story(cut(), run(2, 3, 4)), history(NODE_KILLED), id="node killed"),
        pytest.param(story(cut(), run(2, 3, 4)), history(COLD), id="cold shutdown"),
        pytest.param(
            story(run(settled=None), run(2, 6, 7)),
            history(Incident("cold", 5, NODE)),
            id="cold shutdown while its outcome could not be told",
        ),
        pytest.param(story(run(end=13, refused=True), run(2, 11, 12)), history(FROZEN), id="frozen for long"),
        pytest.param(story(run(end=5, refused=True), run(2, 4, 6)), history(renewed=5), id="heard that it is dead"),
        pytest.param(
            story(run(how="raised", settled=None), run(2, 3, 4, made=1), **FAILS),
            history(Incident("node killed", 2.1, NODE)),
            id="killed between outcome and its note",
        ),
        pytest.param(
            story(cut(), cut(2, 3), ended=failed(STALLED)),
            history(CHILD_KILLED, Incident("child killed", 3.5, NODE, 7)),
            id="crashed too often",
        ),
        pytest.param(story(cancelled=(1, 1.1)), history(), id="cancelled"),
        pytest.param(
            story(run(how="raised"), cancelled=(2.5, 2.6), **FAILS), history(), id="cancelled between two tries"
        ),
        pytest.param(story(run(1, 11.3, 12, refused=True), cancelled=(11, 11.1)), history(FROZEN), id="late code"),
    ],
)
def test_nothing_is_wrong(one: Story, of: History) -> None:
    assert kinds(one, of) == []


@pytest.mark.parametrize(
    ("one", "of", "kind"),
    [
        pytest.param(story(), history(), "lost", id="no record"),
        pytest.param(story(run(), missed=True), history(), "lost", id="a cancel does not know it"),
        pytest.param(story(ended=completed()), history(), "lost", id="completed without a try"),
        pytest.param(story(cut(), ended=completed()), history(), "lost", id="completed without an end"),
        pytest.param(
            story(run(how="raised"), ended=completed(1), **FAILS), history(), "lost", id="completed by a failed try"
        ),
        pytest.param(story(run(), ended=failed(STALLED)), history(), "lost", id="stalled for nothing"),
        pytest.param(story(run(), ended=Ended("active", 0)), history(), "stuck", id="active"),
        pytest.param(story(ended=Ended("delayed", 0)), history(), "stuck", id="delayed"),
        pytest.param(story(run(), run(1, 3, 4)), history(), "two owners", id="one hand-out twice"),
        pytest.param(story(run(end=5, refused=True), run(2, 3, 4)), history(), "two owners", id="one beside the other"),
        pytest.param(
            story(run(end=5, refused=True), run(2, 3, 4)),
            history(FROZEN_SHORTLY),
            "two owners",
            id="frozen for less than the timeout",
        ),
        pytest.param(story(run(), delay_ms=1100), history(), "started early", id="delay"),
        pytest.param(
            story(run(how="raised"), run(2, 2.4, 3, made=1), backoff={"type": "fixed", "delay": 500}, **FAILS),
            history(),
            "started early",
            id="backoff",
        ),
        pytest.param(
            story(run(how="deferred"), run(2, 2.4, 3), defers=1, defer_ms=500), history(), "started early", id="Defer"
        ),
        pytest.param(story(run(made=1)), history(), "tries beyond the rule", id="more than attempts"),
        pytest.param(story(run(), run(2, 3, 4)), history(), "tries beyond the rule", id="after it had ended"),
        pytest.param(story(cut(), run(2, 3, 4)), history(), "tries beyond the rule", id="again for nothing"),
        pytest.param(
            story(run(how="raised"), run(2, 3, 4), **FAILS), history(), "tries beyond the rule", id="attempt not spent"
        ),
        pytest.param(
            story(cut(), run(2, 3, 4, made=1), attempts=2),
            history(CHILD_KILLED),
            "tries beyond the rule",
            id="attempt spent by a crash",
        ),
        pytest.param(
            story(cut(), cut(2, 3), run(3, 5, 6)),
            history(CHILD_KILLED, Incident("child killed", 3.5, NODE, 7)),
            "tries beyond the rule",
            id="two free tries",
        ),
        pytest.param(
            story(run(how="raised"), ended=failed("run-1"), **FAILS), history(), "tries beyond the rule", id="given up"
        ),
        pytest.param(
            story(run(end=13), run(2, 11, 14), ended=completed(1)),
            history(FROZEN),
            "refused result recorded",
            id="of an earlier hand-out",
        ),
        pytest.param(
            story(run(end=13, refused=True)), history(FROZEN), "refused result recorded", id="of a refused try"
        ),
        pytest.param(
            story(run(how="raised", keeps=2), run(2, 3, 4, made=1, kept=1), **FAILS),
            history(),
            "checkpoint lost",
            id="kept",
        ),
        pytest.param(story(run(), cancelled=(0.5, 0.6)), history(), "cancelled and run", id="began after it"),
        pytest.param(story(run(), cancelled=(0.9, 1.1)), history(), "cancelled and run", id="was running"),
        pytest.param(story(cut(), cancelled=(0.9, 1.1)), history(), "cancelled and run", id="never ended"),
        pytest.param(
            story(cancelled=(1, 2), ended=Ended("waiting", 0)), history(), "cancelled and run", id="still there"
        ),
        pytest.param(story(run(), denied=True), history(), "answered wrongly", id="added all the same"),
    ],
)
def test_wrong(one: Story, of: History, kind: str) -> None:
    assert kind in kinds(one, of)


def limited(number: int, start: float, end: float | None, node: str = NODE) -> Story:
    return story(run(number, start, end, name="limited-async", node=node))


def test_limit_exceeded() -> None:
    at_once = [limited(number, 1, 2) for number in (1, 2, 3)]

    assert [wrong.kind for wrong in judge(at_once, history()).wrongs] == ["limit exceeded"]


def test_limit_kept() -> None:
    in_turn = [limited(1, 1, 2), limited(2, 1, 2), limited(3, 2, 3), limited(4, 1, 2, "threads-1.1")]

    assert judge(in_turn, history()).wrongs == []


def test_slots_of_a_node_declared_dead_are_free() -> None:
    across = [limited(1, 1, 13), limited(2, 1, 13), limited(3, 12, 14)]

    assert judge(across, history(FROZEN)).wrongs == []
    assert judge(across, history(FROZEN_SHORTLY)).wrongs != []


def test_slot_of_a_killed_child_is_free() -> None:
    assert history().owned_until(run(end=4)) == 4
    assert history(CHILD_KILLED).owned_until(run(end=4)) == history(CHILD_KILLED).owned_until(cut()) == 1.5
    assert history(CHILD_KILLED).owned_until(run(end=4, pid=8)) == 4


def test_what_is_counted_apart() -> None:
    overlapping = judged(story(run(end=13, refused=True), run(2, 11, 12)), history(FROZEN))
    late = judged(story(run(1, 11.3, 12, refused=True), cancelled=(11, 11.1)), history(FROZEN))
    again = judged(story(cut(), run(2, 3, 4)), history(NODE_KILLED))
    stalled = judged(story(cut(), ended=failed(STALLED)), history(NODE_KILLED))

    assert [(one.overlaps, one.late_code, one.reruns, one.stalled) for one in (overlapping, late, again, stalled)] == [
        (1, 0, 1, 0),
        (0, 1, 0, 0),
        (0, 0, 1, 0),
        (0, 0, 0, 1),
    ]


def test_recoveries() -> None:
    stories = [story(cut(), run(2, 3, 4)), story(cut(pid=8), run(2, 4, 5)), story(cut(pid=9, start=2), run(2, 3, 4))]
    of = history(CHILD_KILLED, Incident("node killed", 1.9, NODE))

    assert recoveries(stories, of) == {"child": [1.5], "node": [pytest.approx(2.1)]}


def test_recoveries_leave_out_what_had_to_wait_for_redis() -> None:
    of = history(NODE_KILLED, Incident("redis away", 2, until=2.5))

    assert recoveries([story(cut(), run(2, 3, 4))], of) == {"child": [], "node": []}


def told(*lines: dict[str, Any]) -> Told:
    return told_by({"node": NODE, "pid": 7, "task_id": "4:acme:job:3", **line} for line in lines)


START = {"kind": "start", "run": "a", "at": 1.0, "made": 1, "kept": 2, "name": "work"}


def test_notes_make_a_run() -> None:
    notes = told(
        START,
        {"kind": "kept", "run": "a", "kept": 3, "at": 1.1},
        {"kind": "end", "run": "a", "how": "returned", "at": 2.0},
        {"kind": "action", "action": "outcome_delayed", "said": "", "at": 2.1},
        {"kind": "action", "action": "outcome_refused", "said": "", "at": 2.2},
        {"kind": "settled", "at": 2.3},
    )

    assert notes.runs == {
        ("acme", "job"): [
            Run("a", "work", 3, 1, NODE, 7, 1.0, 2, 3, 2.0, "returned", 2.3, refused=True, unrecorded=True)
        ]
    }
    assert notes.actions == {"outcome_delayed": 1, "outcome_refused": 1}


def test_notes_are_put_in_the_order_of_hand_outs() -> None:
    first = {**START, "task_id": "4:acme:job:2", "run": "b", "at": 5.0}

    assert [one.id for one in told(START, first).runs["acme", "job"]] == ["b", "a"]


def test_notes_of_a_node_that_was_declared_dead() -> None:
    notes = told({"kind": "action", "action": "node_renewed", "task_id": "-", "said": "", "at": 3.0})

    assert notes.renewals == {NODE: [3.0]}


def test_seed_repeats_the_plan() -> None:
    assert make_jobs(3, 200, 60, TIMEOUT) == make_jobs(3, 200, 60, TIMEOUT) != make_jobs(4, 200, 60, TIMEOUT)
    assert make_faults(3, 60, 1, TIMEOUT) == make_faults(3, 60, 1, TIMEOUT) != make_faults(4, 60, 1, TIMEOUT)


def test_short_plan_has_all_kinds_of_faults() -> None:
    first, twice = make_faults(3, 18, 1, TIMEOUT), make_faults(3, 34, 1, TIMEOUT)

    assert len({fault.kind for fault in first}) == 16
    assert {fault.kind for fault in first} == {fault.kind for fault in twice}
    assert [fault.at for fault in twice] == sorted(fault.at for fault in twice)
