"""What names, constants and calls lead to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migration.scan.trees import found, only, scanned

CONSTANTS_TS = """
export const NAME = 'constant'
export enum Queues { Mail = 'enum' }
export class Names { static readonly MAIL = 'static' }
export const names = Object.freeze({ mail: { out: 'nested' } } as const)
export const prefixed = (rest: string) => `made-${rest}`
export default 'default'
"""


@pytest.mark.parametrize(
    ("line", "name", "queue"),
    [
        ("import { NAME } from './constants'", "NAME", "constant"),
        ("import { NAME as N } from './constants'", "N", "constant"),
        ("import { Queues } from './constants.js'", "Queues.Mail", "enum"),
        ("import { Names } from './constants'", "Names.MAIL", "static"),
        ("import * as all from './constants'", "all.names.mail['out']", "nested"),
        ("import D from './constants'", "D", "default"),
        ("import { prefixed } from './constants'", "prefixed('text')", "made-text"),
        ("import { names as n } from './index'", "n.mail.out", "nested"),
        ("const { NAME: M } = require('./constants')", "M", "constant"),
        ("const { NAME } = await import('./constants')", "NAME", "constant"),
        ("const a = 'x' + '-'; const b = a + 1", "b", "x-1"),
        ("const a = 'x'", "`${a}:${'y'}`", "x:y"),
        ('const a = "it\\u0027s\\n\\x41"', "a", "it's\nA"),
        ("", "process.env.NAME", {"computed": "process.env.NAME"}),
        ("", "process.env.NAME ?? 'orders'", {"computed": "process.env.NAME ?? 'orders'"}),
        ("", "`user:${id}`", {"pattern": "user:{id}"}),
        ("let a = 'x'; a = 'y'", "a", {"computed": "a"}),
        ("import { NAME } from './gone'", "NAME", {"computed": "NAME"}),
        ("const f = (n) => f(n - 1) || f(n - 2)", "f(1)", {"computed": "f(1)"}),
        ("const a = b, b = a", "a", {"computed": "a"}),
    ],
)
def test_the_name_of_a_typescript_queue(tmp_path: Path, line: str, name: str, queue: object) -> None:
    code = f"import {{ Queue }} from 'bullmq'\n{line}\nconst q = new Queue({name})"
    index = "export { names } from './constants'\nexport * from './more'"
    files = {"a.ts": code, "constants.ts": CONSTANTS_TS, "index.ts": index, "more.ts": "export * from './index'"}
    assert only(tmp_path, files, "queue").queue == queue


NAMES_PY = """
from enum import Enum
NAME: str = "constant"
class Queues(str, Enum):
    MAIL = "enum"
class Config:
    MAIL = "static"
NAMES = {"mail": {"out": "nested"}}
def prefixed(rest):
    return f"made-{rest}"
"""


@pytest.mark.parametrize(
    ("line", "name", "queue"),
    [
        ("from .names import NAME", "NAME", "constant"),
        ("from app.names import NAME as N", "N", "constant"),
        ("from app import names", "names.NAME", "constant"),
        ("import app.names", "app.names.NAME", "constant"),
        ("from .names import *", "NAME", "constant"),
        ("from .names import Queues", "Queues.MAIL", "enum"),
        ("from .names import Queues", "Queues.MAIL.value", "enum"),
        ("from .names import Config", "Config.MAIL", "static"),
        ("from .names import NAMES", "NAMES['mail']['out']", "nested"),
        ("from .names import prefixed", "prefixed('text')", "made-text"),
        ("from .names import prefixed", "name=prefixed(rest='text')", "made-text"),
        ("from . import NAME", "NAME", "constant"),
        ("", "f'user:{user_id}'", {"pattern": "user:{user_id}"}),
        ("import os", "os.environ['NAME']", {"computed": "os.environ['NAME']"}),
        ("", "'a' 'b'", "ab"),
    ],
)
def test_the_name_of_a_python_queue(tmp_path: Path, line: str, name: str, queue: object) -> None:
    code = f"{line}\nfrom bullmq import Queue\nq = Queue({name})"
    files = {"app/__init__.py": "from .names import NAME", "app/names.py": NAMES_PY, "app/a.py": code}
    assert only(tmp_path, files, "queue").queue == queue


@pytest.mark.parametrize(
    "made",
    [
        "import { Queue } from 'bullmq'; const q = new Queue('n')",
        "import { Queue as Q } from 'bullmq'; const q = new Q('n')",
        "import * as mq from 'bullmq'; const q = new mq.Queue('n')",
        "import mq = require('bullmq'); const q = new mq.Queue('n')",
        "const { Queue: Q } = require('bullmq'); const q = new Q('n')",
        "const q = new (require('bullmq').Queue)('n')",
        "const { Queue } = await import('bullmq'); const q = new Queue('n')",
        "import { Queue } from 'bullmq'; class M extends Queue { constructor() { super('n') } }; const q = new M()",
        "import { Queue } from 'bullmq'; class Mine<T> extends Queue<T> {}; const q = new Mine('n')",
        "import { Queue } from 'bullmq'; function make() { return new Queue('n') }; const q = make()",
        "import { Queue } from 'bullmq'; const make = (n: string) => new Queue(n); const q = make('n')",
        "import { Queue } from 'bullmq'; let q: Queue | null = null; q ??= new Queue('n')",
        "import { Queue } from 'bullmq'; const all = { q: new Queue('n') }; const { q } = all",
        "import { Queue } from 'bullmq'; const all = new Map(); all.set('a', new Queue('n')); const q = all.get('a')",
        "import { Queue } from 'bullmq'; const all: any = {}; all[x] = new Queue('n'); const q = all[y]",
        "import { Queue } from 'bullmq'; const q = (cond ? new Queue('n') : null)!",
        "import { Queue } from 'bullmq'; class S { q = new Queue('n') }; const s = new S(); const q = s.q",
        "import Bull from 'bull'; const q = new Bull('n')",
        "const Bull = require('bull'); const q = Bull('n')",
    ],
)
def test_what_is_a_queue_in_typescript(tmp_path: Path, made: str) -> None:
    producer = only(tmp_path, f"{made}\nawait q.add('job', {{}}, {{}})", "producer")
    assert (producer.queue, producer.jobs, producer.line) == ("n", ["job"], 2)


@pytest.mark.parametrize(
    "made",
    [
        "from bullmq import Queue\nq = Queue('n')",
        "import bullmq\nq = bullmq.Queue('n')",
        "from bullmq import *\nq = Queue('n')",
        "import bullmq as mq\nq = mq.Queue(name='n')",
        "import importlib\nq = importlib.import_module('bullmq').Queue('n')",
        "from bullmq import Queue\nclass M(Queue):\n    def __init__(self):\n        super().__init__('n')\nq = M()",
        "from bullmq import Queue\nclass S:\n    def __init__(self):\n        self.q = Queue('n')\nq = S().q",
        "from bullmq import Queue\nclass S:\n    q = Queue('n')\nq = S.q",
        "from bullmq import Queue\ndef make(name='n'):\n    return Queue(name)\nq = make()",
        "from bullmq import Queue\nall = {}\nall['a'] = Queue('n')\nq = all[x]",
        "from bullmq import Queue\na, q = 1, Queue('n')",
        "from bullmq import Queue\nif (q := Queue('n')): pass",
        "from bullmq import Queue\nasync def f():\n    async with Queue('n') as q:\n        pass\nq = Queue('n')",
    ],
)
def test_what_is_a_queue_in_python(tmp_path: Path, made: str) -> None:
    code = f"{made}\nasync def use():\n    await q.add('job', {{}})"
    producer = only(tmp_path, {"a.py": code}, "producer")
    assert (producer.queue, producer.jobs, producer.by) == ("n", ["job"], "rewrite")


def test_a_queue_that_a_file_without_a_mark_is_given_is_followed(tmp_path: Path) -> None:
    files = {
        "jobs.ts": "import { Queue } from 'bullmq'\nexport const jobs = new Queue('n')",
        "relay.ts": "export { jobs as work } from './jobs'; x.add(1)",
        "use.ts": "import { work } from './relay'\nwork.add('job', {})",
    }
    assert only(tmp_path, files, "producer").file.endswith("use.ts")


@pytest.mark.parametrize(
    "files",
    [
        {
            "q.ts": "import { Queue } from 'bullmq'\nexport const jobs = new Queue('n')",
            "index.ts": "// the queues\nexport { jobs } from './q'",
            "inner/use.ts": "import { jobs } from '../index'\njobs.add('job', {})",
        },
        {
            "q.js": "const { Queue } = require('bullmq'); exports.jobs = new Queue('n')",
            "relay.js": "module.exports = require('./q'); x.add(1)",
            "use.js": "const { jobs } = require('./relay'); jobs.add('job', {})",
        },
        {
            "app/__init__.py": "",
            "app/q.py": "from bullmq import Queue\njobs = Queue('n')",
            "app/relay.py": "from . import q\nall.add(1)",
            "app/use.py": "from app import relay\nrelay.q.jobs.add('job', {})",
        },
        {
            "app/__init__.py": "from bullmq import Queue\njobs = Queue('n')",
            "app/use.py": "from . import jobs\njobs.add('job', {})",
        },
    ],
)
def test_so_is_one_that_a_third_file_hands_on(tmp_path: Path, files: dict[str, str]) -> None:
    assert only(tmp_path, files, "producer").jobs == ["job"]


def test_a_package_of_the_tree_and_an_alias_of_tsconfig_are_followed(tmp_path: Path) -> None:
    files = {
        "queues/package.json": '{"name": "@acme/queues", "main": "lib/main.js"}',
        "queues/lib/main.ts": "import { Queue } from 'bullmq'\nexport const q = new Queue('n')",
        "app/package.json": '{"name": "app"}',
        "app/tsconfig.json": '{"compilerOptions": {"baseUrl": "src", "paths": {"@/*": ["inner/*"]}}}',
        "app/src/inner/names.ts": "export const JOB = 'job'",
        "app/src/a.ts": "import { q } from '@acme/queues'\nimport { JOB } from '@/names'\nq.add(JOB, {})",
    }
    producer = only(tmp_path, files, "producer")
    assert (producer.queue, producer.jobs) == ("n", ["job"])


def test_a_module_called_like_the_library_is_not_taken_for_it(tmp_path: Path) -> None:
    files = {
        "redis.py": "import redis\nclient = redis.Redis()",
        "a.py": "from .redis import client\nclient.set('k', 1)",
    }
    assert [one.file[-8:] for one in found(tmp_path, files, "redis-client")] == ["redis.py"]
    assert only(tmp_path, files, "redis-key").what == "key k (SET)"


def test_what_is_no_queue_is_not_taken_for_one(tmp_path: Path) -> None:
    files = {
        "a.ts": "import { Queue } from './mine'\nconst queue = new Set(); queue.add(1); new Queue('n').add('job', {})",
        "mine.ts": "export class Queue { add(a: string, b: unknown) {} }",
        "b.py": "queue = set()\nqueue.add(1)\nfrom queue import Queue\nq = Queue(3)\nq.add(1)",
    }
    assert scanned(tmp_path, files).findings == []
