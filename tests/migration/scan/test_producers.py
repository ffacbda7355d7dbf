"""What adds jobs, and which of its options have no equivalent."""

from __future__ import annotations

from pathlib import Path

import pytest

from migration.scan.texts import Json
from tests.migration.scan.trees import found, only

BULLMQ = "import { Queue } from 'bullmq'\nconst q = new Queue('n')\n"
BULL = "import Bull from 'bull'\nconst q = new Bull('n')\n"
PYTHON = "from bullmq import Queue\nq = Queue('n')\nasync def f(data, options, jobs):\n    "


@pytest.mark.parametrize(
    ("call", "jobs", "options"),
    [
        ("q.add('a', data)", ["a"], {}),
        ("q.add('a', data, { delay: 60 * 1000, attempts: 3 })", ["a"], {"delay": 60_000, "attempts": 3}),
        ("q.add(`a-${b}`, data, { delay })", [{"pattern": "a-{b}"}], {"delay": {"computed": "delay"}}),
        ("q.add(name, data, options)", [{"computed": "name"}], {"...": {"computed": "options"}}),
        ("q.add('a', data, { jobId: `x-${id}-${due.ms}` })", ["a"], {"jobId": {"pattern": "x-{id}-{due.ms}"}}),
        ("q.add('a', data, { removeOnFail: false })", ["a"], {"removeOnFail": False}),
        ("q.add(...args)", [{"computed": "q.add(...args)"}], {}),
        ("q.add()", [{"computed": "?"}], {}),
    ],
)
def test_add_of_bullmq(tmp_path: Path, call: str, jobs: list[Json], options: dict[str, Json]) -> None:
    producer = only(tmp_path, BULLMQ + call, "producer")
    assert (producer.queue, producer.jobs, producer.options) == ("n", jobs, options)


@pytest.mark.parametrize(
    ("call", "jobs", "options", "hint"),
    [
        ("q.add(data)", [None], {}, "invent one"),
        ("q.add(data, { delay: 5 })", [None], {"delay": 5}, "invent one"),
        ("q.add({ a: 1 }, options)", [None], {"...": {"computed": "options"}}, "invent one"),
        ("q.add('a', data)", ["a"], {}, "Enqueue"),
        ("q.add(NAME, data, {})", [{"computed": "NAME"}], {}, "Enqueue"),
        ("q.add(either, other)", [{"computed": "either"}], {}, "job name or data"),
    ],
)
def test_add_of_bull(tmp_path: Path, call: str, jobs: list[Json], options: dict[str, Json], hint: str) -> None:
    producer = only(tmp_path, BULL + call, "producer")
    assert (producer.jobs, producer.options) == (jobs, options)
    assert hint in producer.hint


@pytest.mark.parametrize(
    ("call", "jobs", "options"),
    [
        ("q.add('a', data, {'delay': 5 * 2})", ["a"], {"delay": 10}),
        ("q.add(name='a', data=data, opts={'attempts': 2})", ["a"], {"attempts": 2}),
        ("q.add('a', data, opts={**options, 'jobId': f'x-{data}'})", ["a"], {"jobId": {"pattern": "x-{data}"}}),
    ],
)
def test_add_of_python(tmp_path: Path, call: str, jobs: list[Json], options: dict[str, Json]) -> None:
    producer = only(tmp_path, {"a.py": f"{PYTHON}await {call}"}, "producer")
    assert producer.jobs == jobs
    assert producer.options.items() >= options.items()
    assert producer.by == ("person" if "**" in call else "rewrite")


@pytest.mark.parametrize(
    ("file", "code", "jobs", "by"),
    [
        ("a.ts", "q.addBulk([{ name: 'a', data: 1 }, { name: 'b', data: 2 }])", ["a", "b"], "person"),
        ("a.ts", "q.addBulk(rows.map((row) => ({ name: 'a', data: row })))", ["a"], "person"),
        ("a.ts", "q.addBulk(jobs)", [{"computed": "?"}], "person"),
        ("a.py", "await q.addBulk([{'name': 'a', 'data': one} for one in jobs])", ["a"], "rewrite"),
        ("a.py", "await q.addBulk([{'name': 'a', 'data': 1, 'opts': {'lifo': True}}])", ["a"], "person"),
    ],
)
def test_bulks(tmp_path: Path, file: str, code: str, jobs: list[Json], by: str) -> None:
    head = PYTHON if file == "a.py" else BULLMQ
    bulk = only(tmp_path, {file: head + code}, "bulk-producer")
    assert (bulk.jobs, bulk.by) == (jobs, by)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("'priority': 1", "no priorities"),
        ("'repeat': {'every': 1000}", "no repeatable jobs"),
        ("'lifo': True", "first in, first out"),
        ("'parent': {}", "no flows"),
        ("'deduplication': {'id': 'x'}", "stable `job_id`"),
        ("'backoff': {'type': 'mine', 'delay': 1}", "no type 'mine'"),
        ("'backoff': {'type': 'fixed', 'delay': 1, 'jitter': 0.5}", "no jitter"),
    ],
)
def test_options_without_equivalent_are_for_a_person(tmp_path: Path, option: str, said: str) -> None:
    producer = only(tmp_path, {"a.py": f"{PYTHON}await q.add('a', data, {{{option}}})"}, "producer")
    assert producer.by == "person"
    assert said in producer.hint


def test_so_are_default_options_without_equivalent(tmp_path: Path) -> None:
    code = "from bullmq import Queue\nq = Queue('n', {'defaultJobOptions': {'priority': 3}})\nq.add('a', {})"
    assert only(tmp_path, {"a.py": code}, "producer").by == "person"


def test_flows(tmp_path: Path) -> None:
    code = "import { FlowProducer } from 'bullmq'\nconst f = new FlowProducer()\nf.add({}); f.addBulk([])"
    assert [one.line for one in found(tmp_path, code, "flow")] == [2, 3, 3]
