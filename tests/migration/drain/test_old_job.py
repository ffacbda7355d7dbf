"""What of an old job the managed queue can have."""

from __future__ import annotations

from typing import Any

import pytest

from migration.drain.old_job import OldJob, UnfitError, lost_options, managed_options

NOW_MS = 1_800_000_000_000


def old_job(place: str = "wait", score: str = "", job_id: bytes = b"1", **given: Any) -> OldJob:
    stored = {"name": b"send", "data": b"{}", "opts": b"{}", "timestamp": b"1"}
    stored.update(given.pop("fields", {}))
    return OldJob(
        **{
            "id": job_id,
            "place": place,
            "score": score.encode(),
            "size": 2,
            "hash": stored,
            "locked": False,
            "in_flow": False,
            "now_ms": NOW_MS,
            **given,
        }
    )


FIXED = {"type": "fixed", "delay": 500}


@pytest.mark.parametrize(
    ("opts", "expected"),
    [
        ({}, {}),
        ({"attempts": 0}, {}),
        ({"attempts": 3.0}, {"attempts": 3}),
        ({"backoff": 500}, {"backoff_ms": FIXED}),
        ({"backoff": {"delay": 5e2}}, {"backoff_ms": FIXED}),
        ({"backoff": {"type": "exponential", "delay": 1e3}}, {"backoff_ms": {"type": "exponential", "delay": 1000}}),
        ({"backoff": {"type": "fixed", "delay": 0}}, {}),
        ({"backoff": 0}, {}),
        ({"removeOnComplete": True, "removeOnFail": False}, {"remove_on_complete": True, "remove_on_fail": False}),
        ({"removeOnComplete": 0, "removeOnFail": 5}, {"remove_on_complete": True, "remove_on_fail": 5}),
        ({"removeOnComplete": -1, "removeOnFail": None}, {"remove_on_complete": False, "remove_on_fail": False}),
        ({"removeOnComplete": {}}, {"remove_on_complete": False}),
        ({"removeOnComplete": {"age": 5, "limit": 9}}, {"remove_on_complete": {"age": 5}}),
        ({"removeOnFail": {"age": 1.5, "count": 2}}, {"remove_on_fail": {"age": 1.5, "count": 2}}),
    ],
)
def test_options(opts: dict[str, Any], expected: dict[str, Any]) -> None:
    assert managed_options(opts) == {"attempts": 1, **expected}


@pytest.mark.parametrize(
    ("opts", "said"),
    [
        ({"backoff": {"type": "jumping", "delay": 1}}, "of the type 'jumping'"),
        ({"backoff": {"type": ["fixed"], "delay": 1}}, "of the type"),
        ({"backoff": -1}, "forbids retries"),
        ({"backoff": "soon"}, "'soon' where a number belongs"),
        ({"attempts": "three"}, "'three' where a number belongs"),
        ({"attempts": float("nan")}, "nan where a number belongs"),
        ({"attempts": 3, "backoff": float("inf")}, "inf where a number belongs"),
        ({"removeOnFail": {"age": "a day"}}, "'a day' where a number belongs"),
    ],
)
def test_options_without_an_equivalent(opts: dict[str, Any], said: str) -> None:
    with pytest.raises(UnfitError, match=said):
        managed_options(opts)


def test_options_that_get_lost() -> None:
    opts = {"priority": 3, "lifo": False, "timeout": 5, "backoff": {"delay": 1, "jitter": 0.5}, "de": {"id": "x"}}

    assert lost_options(opts) == {"priority", "timeout", "backoff.jitter", "deduplication"}
    assert lost_options({"attempts": 3, "backoff": 5, "priority": 0}) == set()


def test_delay_is_what_is_left_by_the_servers_clock() -> None:
    due = (NOW_MS + 1234) * 4096 + 17

    assert old_job("delayed", str(due)).due_in_ms == 1234
    assert old_job("delayed", f"{due:.16e}").due_in_ms == 1234
    assert old_job("delayed", str((NOW_MS - 5) * 4096)).due_in_ms == 0
    assert old_job("wait").due_in_ms == 0


@pytest.mark.parametrize("score", ["inf", "-inf"])
def test_delay_that_is_none(score: str) -> None:
    with pytest.raises(UnfitError, match="inf where a number belongs"):
        assert old_job("delayed", score).due_in_ms


@pytest.mark.parametrize(
    ("fields", "place", "made"),
    [({"atm": b"2"}, "wait", 2), ({"attemptsMade": b"3"}, "delayed", 3), ({"atm": b"2"}, "failed", 0), ({}, "wait", 0)],
)
def test_tries_that_were_made(fields: dict[str, bytes], place: str, made: int) -> None:
    assert old_job(place, "0", fields=fields).attempts_made == made


@pytest.mark.parametrize("made", [b"two", b"-1", b"9" * 16, b"\xff"])
def test_tries_that_are_no_count(made: bytes) -> None:
    with pytest.raises(UnfitError, match="as its number of tries"):
        assert old_job(fields={"atm": made}).attempts_made


@pytest.mark.parametrize(
    ("job", "said"),
    [
        (old_job(hash=None), "does not hold a job"),
        (old_job(hash={"name": b"n"}, size=20_000_000), "too large: 20000000 bytes"),
        (old_job(hash={"name": b"n"}, size=0), "has no data"),
        (old_job(locked=True), "lock"),
        (old_job(in_flow=True), "flow"),
        (old_job(fields={"parentKey": b"bull:q:1"}), "flow"),
        (old_job(fields={"rjk": b"nightly"}), "job scheduler"),
        (old_job(job_id=b"repeat:abc:123"), "job scheduler"),
        (old_job(fields={"defa": b"stalled"}), "is to fail"),
    ],
)
def test_jobs_that_are_not_taken(job: OldJob, said: str) -> None:
    with pytest.raises(UnfitError, match=said):
        job.check()


@pytest.mark.parametrize(
    "fields", [{"data": b"{"}, {"data": b"\xff"}, {"opts": b"[]"}, {"opts": b"{"}, {"data": b"[" * 100_000}]
)
def test_broken_json(fields: dict[str, bytes]) -> None:
    job = old_job(fields=fields)
    job.check()

    with pytest.raises(UnfitError, match="JSON"):
        job.data() if "data" in fields else job.opts()


def test_source_id_and_fingerprint_tell_jobs_apart() -> None:
    job = old_job()

    for field in ("name", "data", "opts", "timestamp", "atm"):
        assert old_job(fields={field: b"3"}).fingerprint != job.fingerprint
    assert old_job(fields={"progress": b"3"}).fingerprint == job.fingerprint
    assert old_job(fields={"timestamp": b"2"}).source_id != job.source_id
    assert old_job(fields={"data": b"[]"}).source_id != job.source_id
    assert old_job(fields={"atm": b"1"}).source_id == job.source_id
    assert old_job(fields={"timestamp": b"\xff"}).source_id != job.source_id
