"""Imports, queues, registration in modules, and injection."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migration.scan.trees import found, only

UNREAD = {"...": {"computed": "config"}}


@pytest.mark.parametrize(
    ("file", "code", "what", "by"),
    [
        ("a.ts", "import type { Queue as Q } from 'bullmq'", "import of bullmq: Queue as Q", "person"),
        ("a.ts", "import * as mq from 'bullmq'", "import of bullmq: mq", "person"),
        ("a.ts", "import Bull from 'bull'", "import of bull: Bull", "person"),
        ("a.ts", "import 'bull'", "import of bull", "person"),
        ("a.cjs", "const { Queue } = require('bullmq')", "import of bullmq", "person"),
        ("a.mjs", "const mq = await import('bullmq')", "import of bullmq", "person"),
        ("a.tsx", "import { BullModule } from '@nestjs/bull'", "import of @nestjs/bull: BullModule", "person"),
        ("a.py", "import bullmq.queue", "import of bullmq.queue: bullmq", "rewrite"),
        ("a.py", "from bullmq import Queue, Job as J", "import of bullmq: Queue, Job as J", "rewrite"),
    ],
)
def test_imports(tmp_path: Path, file: str, code: str, what: str, by: str) -> None:
    finding = only(tmp_path, {file: code}, "import")
    assert (finding.what, finding.by, finding.step) == (what, by, 1)


def test_a_queue_has_its_options_and_default_options_but_no_connection(tmp_path: Path) -> None:
    code = """
    import { Queue } from 'bullmq'
    const day = 24 * 60 * 60
    const keep = { removeOnComplete: { age: day } }
    const defaultJobOptions = { ...keep, attempts: -1 }
    const q = new Queue('n', { connection: { password: 'hunter2' }, prefix: 'p', defaultJobOptions })
    """
    queue = only(tmp_path, code, "queue")
    assert queue.options == {"prefix": "p"}
    assert queue.default_options == {"removeOnComplete": {"age": 86400}, "attempts": -1}
    old = found(tmp_path, code, "old-queue")
    assert [(one.hint, one.by) for one in old] == [("`migrate drain REDIS_URL --queue n --prefix p`", "drain")]


@pytest.mark.parametrize("prefix", ["process.env.PREFIX", "`x-${y}`"])
def test_a_prefix_that_is_computed_is_said_to_be(tmp_path: Path, prefix: str) -> None:
    code = f"import {{ Queue }} from 'bullmq'\nnew Queue('n', {{ prefix: {prefix} }})"
    assert "The prefix is computed" in only(tmp_path, code, "old-queue").hint


@pytest.mark.parametrize(("file", "by"), [("a.py", "person"), ("b.py", "rewrite")])
def test_a_queue_for_each_key_is_for_a_person(tmp_path: Path, file: str, by: str) -> None:
    name = "f'user:{u}'" if by == "person" else "'user'"
    queue = only(tmp_path, {file: f"from bullmq import Queue\nq = Queue({name})"}, "queue")
    assert queue.by == by
    assert ("One queue for each key" in queue.hint) is (by == "person")


@pytest.mark.parametrize(
    ("call", "what", "queue"),
    [
        ("forRoot({ connection: {} })", "BullModule.forRoot", None),
        ("registerQueue({ name: 'n' })", "BullModule.registerQueue: n", "n"),
        (
            "registerQueueAsync({ name: 'n', useFactory: () => ({ prefix: 'p' }) })",
            "BullModule.registerQueueAsync: n",
            "n",
        ),
        ("registerQueue(config)", "BullModule.registerQueue: not known here", None),
    ],
)
def test_registration_in_a_module(tmp_path: Path, call: str, what: str, queue: str | None) -> None:
    finding = only(tmp_path, f"import {{ BullModule }} from '@nestjs/bullmq'\nBullModule.{call}", "registration")
    assert (finding.what, finding.queue) == (what, queue)
    assert finding.options == ({"prefix": "p"} if "prefix" in call else UNREAD if "config" in call else {})


def test_producers_get_the_default_options_of_the_queue_that_a_module_registers(tmp_path: Path) -> None:
    files = {
        "module.ts": """
            import { BullModule } from '@nestjs/bullmq'
            BullModule.registerQueue({ name: 'n', defaultJobOptions: { attempts: 7 } })""",
        "service.ts": """
            import { InjectQueue } from '@nestjs/bullmq'
            import { Queue } from 'bullmq'
            class S { constructor(@InjectQueue('n') private readonly q: Queue) {}
              go() { return this.q.add('job', {}) } }""",
    }
    assert only(tmp_path, files, "producer").default_options == {"attempts": 7}


@pytest.mark.parametrize(
    "injected",
    [
        "class S { constructor(@InjectQueue('n') private readonly q: Queue) {} go() { this.q.add('job', {}) } }",
        "class S { constructor(@InjectQueue('n') q) { this.q = q } go() { this.q.add('job', {}) } }",
        "class S { @InjectQueue('n') private readonly q: Queue; go() { this.q.add('job', {}) } }",
        "class S { constructor(@Inject(getQueueToken('n')) private q: Queue) {} go() { this.q.add('job', {}) } }",
    ],
)
def test_injected_queues(tmp_path: Path, injected: str) -> None:
    head = "import { InjectQueue, getQueueToken } from '@nestjs/bullmq'; import { Inject } from '@nestjs/common'\n"
    head += "import { Queue } from 'bullmq'\n"
    findings = found(tmp_path, head + injected, "injection", "producer")
    assert [(one.kind, one.queue) for one in findings] == [("injection", "n"), ("producer", "n")]


def test_a_queue_that_a_module_reference_gives(tmp_path: Path) -> None:
    code = "import { getQueueToken } from '@nestjs/bull'\nconst q = app.get(getQueueToken('n')); q.add('job', {}, {})"
    assert only(tmp_path, code, "producer").queue == "n"


def test_a_queue_known_by_its_type_alone_has_no_name(tmp_path: Path) -> None:
    code = "from bullmq import Queue\nasync def f(q: 'Queue | None'):\n    await q.add('job', {})"
    producer = only(tmp_path, {"a.py": code}, "producer")
    assert (producer.queue, producer.what) == (None, "adds job to queue not known here")


@pytest.mark.parametrize(
    ("code", "by"),
    [("await q.close()", "rewrite"), ("await w.close()", "rewrite"), ("await e.close()", "person")],
)
def test_closing(tmp_path: Path, code: str, by: str) -> None:
    head = "from bullmq import Queue, QueueEvents, Worker\n"
    body = f"async def f(q: Queue, w: Worker, e: QueueEvents):\n    {code}"
    assert only(tmp_path, {"a.py": head + body}, "close").by == by


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("export const f = (req) => req.app.locals.mailQueue.add('a', {})", 1),
        ("export function f(queue) { queue.addBulk([]) }", 1),
        ("const queue = new Set(); queue.add(1)", 0),
        ("export function f(queue: Set<string>) { queue.add('a') }", 0),
        ("export const f = (mails) => mails.add('a', {})", 0),
    ],
)
def test_what_is_only_called_like_a_queue(tmp_path: Path, code: str, count: int) -> None:
    assert len(found(tmp_path, code, "unknown-queue")) == count
