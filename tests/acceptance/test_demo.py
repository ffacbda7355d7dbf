from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from examples.demo import check
from examples.demo.plan import Key, Planned, make_plan, organization_of
from xpert_mq import JobSnapshot
from xpert_mq.models import JobOptions

ROOT = Path(__file__).parents[2]


def demo() -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "examples.demo"]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def pids(output: str) -> list[int]:
    return [int(pid) for pid in re.findall(r"\(pid (\d+)\)", output)]


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.timeout(90)
def test_demo_adds_up_and_leaves_nothing() -> None:
    started = time.monotonic()
    process = demo()
    output, errors = process.communicate(timeout=80)

    assert process.returncode == 0, output + errors
    assert errors == ""
    assert time.monotonic() - started < 60
    for said in (*{job.tenant for job in make_plan()}, "transcribe-media", "wait", "All as planned"):
        assert said in output
    assert "\x1b" not in output, "no escape codes where there is no terminal"
    assert len(pids(output)) == 2
    assert all(map(has_ended, pids(output)))


@pytest.mark.timeout(90)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_interrupted_ends_worker_and_server(number: signal.Signals) -> None:
    process = demo()
    assert process.stdout is not None
    output = ""
    while "Producer" not in output:
        line = process.stdout.readline()
        assert line, output
        output += line
    process.send_signal(number)
    rest, errors = process.communicate(timeout=60)

    assert process.returncode == 130, output + rest + errors
    assert "Traceback" not in errors
    assert len(pids(output)) == 2
    assert all(map(has_ended, pids(output)))


# --- The check itself, on made-up reports -----------------------------------------------------------------------------

PLAN = make_plan()


def as_planned() -> tuple[dict[Key, check.Told], check.Seen]:
    """What producer and system say when all is well."""
    told = {
        job.key: check.Told(1, "cancelled" if job.outcome in ("cancelled", "any") else None)
        for job in PLAN
        if job.copies
    }
    seen = check.Seen()
    for job in PLAN:
        cancelled = job.key in told and told[job.key].cancel == "cancelled"
        seen.snapshots[job.key] = None if cancelled else snapshot_of(job)
        if not cancelled:
            seen.starts[job.key] = job.starts or 1
            seen.submissions[job.key] = 1
    return told, seen


def snapshot_of(job: Planned) -> JobSnapshot:
    completed = job.outcome != "failed"
    plugin_name, queue_name, name = job.logical
    return JobSnapshot(
        id=job.job_id,
        name=name,
        data={"tenant": job.tenant, **job.payload, **({"phase": "succeeded"} if job.kind == "checkpointed" else {})},
        attempts_made=job.tries,
        opts=JobOptions(),
        state="completed" if completed else "failed",
        stacktrace=["..."] * (job.tries - completed),
        return_value={"tenant": job.tenant} if completed else None,
        timestamp=1_000,
        processed_on=1_000 + job.not_before_ms,
        finished_on=9_000,
        plugin_name=plugin_name,
        queue_name=queue_name,
        tenant_id=job.tenant,
        organization_id=organization_of(job.tenant),
    )


def first(kind: str) -> Planned:
    return next(job for job in PLAN if job.kind == kind)


def test_check_finds_nothing_when_all_is_well() -> None:
    told, seen = as_planned()

    assert check.faults(PLAN, told, seen) == []
    assert sum(row.planned for row in check.rows(PLAN, seen)) == len(PLAN)


def test_check_accepts_a_cancel_that_came_too_late() -> None:
    told, seen = as_planned()
    job = first("cancelled in time")
    told[job.key] = check.Told(1, "active")
    seen.snapshots[job.key] = snapshot_of(job)
    seen.starts[job.key] = 1

    assert check.faults(PLAN, told, seen) == []


Spoil = Callable[[Planned, dict[Key, check.Told], check.Seen], None]


def changed(**fields: object) -> Spoil:
    def spoil(job: Planned, told: dict[Key, check.Told], seen: check.Seen) -> None:
        snapshot = seen.snapshots[job.key]
        assert snapshot is not None
        seen.snapshots[job.key] = replace(snapshot, **fields)  # type: ignore[arg-type] # by name, as the cases say

    return spoil


def lost(job: Planned, told: dict[Key, check.Told], seen: check.Seen) -> None:
    seen.snapshots[job.key] = None


def back(job: Planned, told: dict[Key, check.Told], seen: check.Seen) -> None:
    seen.snapshots[job.key] = snapshot_of(job)


def started(times: int) -> Spoil:
    def spoil(job: Planned, told: dict[Key, check.Told], seen: check.Seen) -> None:
        seen.starts[job.key] = times

    return spoil


def made_twice(job: Planned, told: dict[Key, check.Told], seen: check.Seen) -> None:
    told[job.key] = check.Told(2, None)


def not_cancelled(job: Planned, told: dict[Key, check.Told], seen: check.Seen) -> None:
    told[job.key] = check.Told(1, "not_found")


def submitted_twice(job: Planned, told: dict[Key, check.Told], seen: check.Seen) -> None:
    seen.submissions[job.key] = 2


def seen_by_others(job: Planned, told: dict[Key, check.Told], seen: check.Seen) -> None:
    seen.strangers["initech", job.job_id] = snapshot_of(job)


def from_nowhere(job: Planned, told: dict[Key, check.Told], seen: check.Seen) -> None:
    seen.starts["acme", "unheard of"] = 1


@pytest.mark.parametrize(
    ("kind", "spoil", "said"),
    [
        ("plain", lost, "is lost"),
        ("plain", changed(state="active"), "is active"),
        ("plain", changed(attempts_made=2), "took 2 tries"),
        ("plain", changed(return_value={"tenant": "globex"}), "mixed up"),
        ("plain", changed(organization_id=None), "mixed up"),
        ("plain", started(2), "was to start 1 times, not 2"),
        ("plain", seen_by_others, "sees the job"),
        ("plain", from_nowhere, "not in the plan"),
        ("delayed", changed(processed_on=1_001), "too early"),
        ("retried", changed(processed_on=1_599), "1 ms too early"),
        ("failed", changed(state="completed"), "is completed"),
        ("deferred", started(0), "never started"),
        ("duplicated", made_twice, "made once in 3 enqueueings, not 2"),
        ("duplicated", started(3), "was to start 1 times"),
        ("cancelled", started(1), "its handler ran 1 times"),
        ("cancelled", back, "is still there"),
        ("cancelled", not_cancelled, "could not be cancelled: not_found"),
        ("checkpointed", submitted_twice, "submitted to the provider 2 times"),
        ("checkpointed", changed(data={"tenant": "acme", "phase": "submitted"}), "lost its checkpoint"),
    ],
)
def test_check_finds(kind: str, spoil: Spoil, said: str) -> None:
    told, seen = as_planned()
    spoil(first(kind), told, seen)

    found = check.faults(PLAN, told, seen)

    assert any(said in fault for fault in found), found


def test_plan_is_what_the_demo_promises() -> None:
    kinds = Counter(job.kind for job in PLAN)
    ids = {tenant: {job.job_id for job in PLAN if job.tenant == tenant} for tenant in ("acme", "globex", "initech")}

    assert len(PLAN) > 300
    assert min(kinds.values()) >= 12
    assert ids["acme"] == ids["globex"]
    assert ids["acme"].isdisjoint(ids["initech"])
    assert make_plan() == PLAN
