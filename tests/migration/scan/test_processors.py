"""What processes jobs, which job names it tells apart, and what listens to events."""

from __future__ import annotations

from pathlib import Path

import pytest

from migration.scan.texts import Json
from tests.migration.scan.trees import found, only

WORKER = "import { Worker } from 'bullmq'\nconst A = 'a'\n"


@pytest.mark.parametrize(
    ("processor", "jobs"),
    [
        ("async (job) => { switch (job.name) { case A: break; case 'b': return 1; default: } }", ["a", "b"]),
        ("async (job) => { if (job.name === 'b') {} else if (A == job.name) {} }", ["b", "a"]),
        ("async (job) => ({ a: one, [A + 1]: two })[job.name](job)", ["a", "a1"]),
        ("async ({ name, data }) => { if (name !== 'b') throw data }", ["b"]),
        ("async (job) => { const { name: n } = job; if (n === 'b') return }", ["b"]),
        ("async (job) => ['x', 'y'].includes(job.id)", []),
        ("async (job) => inner(job)", ["deep"]),
        ("inner", ["deep"]),
        ("inner.bind(null)", ["deep"]),
        ("async (other) => { if (unrelated.name === 'b') return }", []),
    ],
)
def test_job_names_that_a_worker_tells_apart(tmp_path: Path, processor: str, jobs: list[Json]) -> None:
    inner = "async function inner(one) { if (one.name === 'deep') return }\n"
    finding = only(tmp_path, f"{WORKER}{inner}new Worker('n', {processor}, {{ concurrency: 2 + 2 }})", "processor")
    assert (finding.queue, finding.jobs, finding.options) == ("n", jobs, {"concurrency": 4})
    assert ("does not tell job names apart" in finding.hint) is (jobs == [])


@pytest.mark.parametrize(
    ("body", "jobs"),
    [
        ("    match job.name:\n        case 'a' | 'b': pass\n        case _: pass", ["a", "b"]),
        ("    if job.name in ('a', 'b'): pass", ["a", "b"]),
        ("    if job.name == 'a': pass\n    elif job.name == 'b': pass", ["a", "b"]),
        ("    await {'a': 1, 'b': 2}.get(job.name)(job)", ["a", "b"]),
        ("    await inner(1, job)", ["c"]),
    ],
)
def test_job_names_that_a_python_worker_tells_apart(tmp_path: Path, body: str, jobs: list[Json]) -> None:
    code = f"""from bullmq import Worker
async def inner(x, one):
    if one.name == "c": pass
class Service:
    async def process(self, job, token):
{body.replace("    ", "        ", 1)}
    def start(self):
        return Worker("n", self.process, {{"concurrency": 3}})
"""
    code = code.replace("\n        case", "\n            case").replace("\n    elif", "\n        elif")
    finding = only(tmp_path, {"a.py": code}, "processor")
    assert (finding.queue, finding.jobs, finding.options, finding.by) == ("n", jobs, {"concurrency": 3}, "rewrite")


@pytest.mark.parametrize(
    ("arguments", "jobs", "options"),
    [
        ("fn", [], {}),
        ("5, fn", [], {"concurrency": 5}),
        ("'a', fn", ["a"], {}),
        ("'a', 5, fn", ["a"], {"concurrency": 5}),
        ("name, 5, fn", [{"computed": "name"}], {"concurrency": 5}),
        ("'*', limit, fn", ["*"], {"concurrency": {"computed": "limit"}}),
        ("either, fn", [], {"name or concurrency": {"computed": "either"}}),
    ],
)
def test_process_of_bull(tmp_path: Path, arguments: str, jobs: list[Json], options: dict[str, Json]) -> None:
    code = f"import Bull from 'bull'\nconst fn = async (job) => job\nnew Bull('n').process({arguments})"
    finding = only(tmp_path, code, "processor")
    assert (finding.queue, finding.jobs, finding.options) == ("n", jobs, options)


def test_a_processor_in_a_file_is_read_there(tmp_path: Path) -> None:
    files = {
        "a.ts": f"{WORKER}new Worker('n', './work.js')\nnew Worker('m', makeProcessor())",
        "work.ts": "export default async (job) => { if (job.name === 'a') await job.updateProgress(1) }",
    }
    first, second = found(tmp_path, files, "processor")
    assert (first.jobs, first.what) == (["a"], "processes a of queue n, in the file ./work.js")
    assert second.what.endswith("processor: computed (makeProcessor())")
    assert only(tmp_path, files, "job-method").file.endswith("work.ts")


@pytest.mark.parametrize("option", ["limiter: { max: 1, duration: 1 }", "useWorkerThreads: true"])
def test_worker_options_without_equivalent(tmp_path: Path, option: str) -> None:
    finding = only(tmp_path, f"{WORKER}new Worker('n', async () => 1, {{ {option} }})", "processor")
    assert option.split(":")[0] in finding.hint


NEST = """
import { Process, Processor, WorkerHost, OnWorkerEvent } from '@nestjs/bullmq'
import { Process as P4, Processor as Processor4, OnQueueActive } from '@nestjs/bull'
"""


@pytest.mark.parametrize(
    ("code", "jobs", "options"),
    [
        ("@Processor('n', { concurrency: 8 }) class H extends WorkerHost { process(job) {} }", [], {"concurrency": 8}),
        ("@Processor({ name: 'n' }) class H { process(job) { if (job.name === 'a') return } }", ["a"], {}),
        ("@Processor4('n') class H { @P4('a') one() {} @P4({ name: 'b' }) two() {} }", ["a", "b"], {}),
        ("@Processor4('n') class H { @P4({ name: 'a', concurrency: 3 }) x() {} }", ["a"], {"concurrency of a": 3}),
        ("@Processor4('n') export class H { @P4() all(job) {} }", [None], {}),
    ],
)
def test_processors_of_nest(tmp_path: Path, code: str, jobs: list[Json], options: dict[str, Json]) -> None:
    finding = only(tmp_path, NEST + code, "processor")
    assert (finding.queue, finding.jobs, finding.options, finding.by) == ("n", jobs, options, "person")


def test_a_processor_of_another_library_is_none(tmp_path: Path) -> None:
    assert found(tmp_path, "import { Processor } from './mine'\n@Processor('queue') class H {}", "processor") == []


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("new Worker('n', f).on('failed', g)", "listens to failed of queue n"),
        ("const e = new QueueEvents('n'); e.once('completed', g)", "listens to completed of queue n"),
        ("class H { @OnWorkerEvent('failed') oops() {} }", "@OnWorkerEvent failed of oops"),
        ("class H { @OnQueueActive() now() {} }", "@OnQueueActive of now"),
    ],
)
def test_listeners(tmp_path: Path, code: str, what: str) -> None:
    head = f"{NEST}import {{ QueueEvents, Worker }} from 'bullmq'\n"
    assert what in [one.what for one in found(tmp_path, head + code, "listener")]
