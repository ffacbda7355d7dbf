"""Removals, and other methods of jobs and queues."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migration.scan.trees import found, only

HEAD = "import { Job, Queue } from 'bullmq'\nconst q = new Queue('n')\n"


@pytest.mark.parametrize(
    "code",
    [
        "const j = await q.getJob(id); await j.remove()",
        "await (await q.getJob(id))?.remove()",
        "const j = await Job.fromId(q, id); j.remove()",
        "const j = await q.add('a', {}); j.remove()",
        "q.remove(id)",
        "for (const j of await q.getDelayed()) await j.remove()",
        "const all = await q.getJobs(['delayed']); await Promise.all(all.map((j) => j.remove()))",
        "const all = await q.getWaiting(); all.filter((x) => x.id).forEach((j) => j.remove())",
        "function f(j: Job<{ a: 1 }>) { j.remove() }",
        "const [j] = await q.addBulk([]); j.remove()",
    ],
)
def test_removals(tmp_path: Path, code: str) -> None:
    removal = only(tmp_path, HEAD + code, "removal")
    assert (removal.step, removal.by) == (3, "person")


@pytest.mark.parametrize(
    "code",
    [
        "    job = await q.getJob('x')\n    await job.remove()",
        "    for job in await q.getDelayed():\n        await job.remove()",
    ],
)
def test_removals_in_python(tmp_path: Path, code: str) -> None:
    head = "from bullmq import Queue\nq = Queue('n')\nasync def f():\n"
    assert only(tmp_path, {"a.py": head + code}, "removal").by == "rewrite"


@pytest.mark.parametrize("method", ["obliterate", "drain", "clean", "removeJobs", "removeRepeatable", "empty"])
def test_removals_of_many(tmp_path: Path, method: str) -> None:
    assert only(tmp_path, f"{HEAD}q.{method}()", "bulk-removal").queue == "n"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("q.pause()", "No pausing"),
        ("q.getJobCounts()", "xpert-mq queues"),
        ("q.upsertJobScheduler('x', {})", "No repeatable jobs"),
        ("q.getJob('x')", "get_job(job_id)"),
        ("q.somethingNew()", "what the managed queue offers"),
    ],
)
def test_methods_of_queues(tmp_path: Path, call: str, said: str) -> None:
    assert said in only(tmp_path, HEAD + call, "queue-method").hint


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("job.updateProgress(1)", "No progress"),
        ("job.discard()", "UnrecoverableError"),
        ("job.moveToDelayed(1, token)", "raise Defer(ms)"),
        ("job.moveToFailed(error)", "UnrecoverableError"),
        ("job.waitUntilFinished(events)", "Nothing waits"),
        ("job.finished()", "Nothing waits"),
        ("job.retry()", "managed_queue.retry"),
    ],
)
def test_methods_of_jobs(tmp_path: Path, call: str, said: str) -> None:
    assert said in only(tmp_path, f"{HEAD}async function f(job: Job) {{ await {call} }}", "job-method").hint


def test_an_update_of_the_data_is_rewritten_in_python(tmp_path: Path) -> None:
    code = "from bullmq import Job\nasync def f(job: Job):\n    await job.updateData({})\n    await job.log('x')"
    assert [one.by for one in found(tmp_path, {"a.py": code}, "job-method")] == ["rewrite", "person"]


def test_methods_of_what_is_no_job_are_none_of_ours(tmp_path: Path) -> None:
    code = f"{HEAD}function f(job) {{ job.remove(); job.progress(1) }}\nelement.remove()"
    assert found(tmp_path, code, "removal", "job-method") == []
