"""Redis clients, and keys that name no tenant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.migration.scan.trees import found, only

CLIENT = "import Redis from 'ioredis'\nconst r = new Redis()\n"
PYTHON = "import redis\nr = redis.Redis()\n"


@pytest.mark.parametrize(
    ("file", "code", "what"),
    [
        ("a.ts", "import Redis from 'ioredis'; new Redis('redis://:hunter2@h')", "Redis(…)"),
        ("a.ts", "import { Redis as R } from 'ioredis'; new R()", "R(…)"),
        ("a.ts", "import IORedis from 'ioredis'; new IORedis.Cluster([])", "IORedis.Cluster(…)"),
        ("a.js", "const Redis = require('ioredis'); const r = new Redis()", "Redis(…)"),
        ("a.mjs", "import { createClient } from 'redis'; createClient({ url })", "createClient(…)"),
        ("a.py", "import redis\nr = redis.Redis(host='h', password='hunter2')", "redis.Redis(…)"),
        ("a.py", "from redis.asyncio import from_url\nr = from_url('redis://:hunter2@h')", "from_url(…)"),
        ("a.py", "import redis.asyncio as aioredis\nr = aioredis.Redis.from_url('x')", "aioredis.Redis.from_url(…)"),
        ("a.py", "from redis import ConnectionPool\np = ConnectionPool()", "ConnectionPool(…)"),
    ],
)
def test_clients_and_no_secret_of_theirs(tmp_path: Path, file: str, code: str, what: str) -> None:
    assert only(tmp_path, {file: code}, "redis-client").what == what


@pytest.mark.parametrize(
    ("file", "code", "by"),
    [
        ("a.ts", "import { Queue } from 'bullmq'; const c = await new Queue('n').client", "person"),
        ("a.ts", "import { Queue } from 'bullmq'; const f = (q: Queue) => (q as unknown as X).client", "person"),
        ("a.py", "from bullmq import Queue\nc = Queue('n').client", "rewrite"),
    ],
)
def test_the_client_of_a_queue(tmp_path: Path, file: str, code: str, by: str) -> None:
    assert only(tmp_path, {file: code}, "queue-client").by == by


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("r.get('plain')", "key plain (GET)"),
        ("r.set(`lock:${id}`, 1)", "key lock:{id} (SET)"),
        ("r.hSet('a' + ':' + b, 1)", "key a:{b} (HSET)"),
        ("r.eval(script, 1, `k:${a}`, 'argument')", "key k:{a} (EVAL)"),
        ("r.eval(script, { keys: [`k:${a}`], arguments: ['x'] })", "key k:{a} (EVAL)"),
        ("r.multi().incr('n').exec()", "key n (INCR)"),
        ("r.duplicate().del('d')", "key d (DEL)"),
        ("const k = 'twice'; r.get(k); r.del(k)", "key twice (DEL, GET)"),
        ("r.get(process.argv[2])", "key: computed (process.argv[2]) (GET)"),
        ("const key = (id) => `made:${id}`; r.get(key(3))", "key made:3 (GET)"),
        ("function lock(key) { return r.set(key, 1) }; lock(`by:${id}`)", "key by:{id} (SET)"),
        ("class L { take(key) { r.set(key, 1) } go(id) { this.take(`by:${id}`) } }", "key by:{id} (SET)"),
        ("export function lock(key) { return r.set(key, 1) }", "key: computed (key) (SET)"),
    ],
)
def test_keys_without_a_tenant(tmp_path: Path, code: str, what: str) -> None:
    key = only(tmp_path, CLIENT + code, "redis-key")
    assert (key.what, key.step) == (what, 6)


@pytest.mark.parametrize(
    "code",
    [
        "r.get(`a:${tenantId}:b`)",
        "r.get('a:' + scope.tenant_id)",
        "r.get(key(tenantId, 'x'))",
        "const prefix = `p:${context.tenantId}`; r.set(`${prefix}:lock`, 1)",
        "const key = (t) => `made:${t}`; r.get(key(tenant.id))",
        "function lock(key) { return r.set(key, 1) }; lock(`by:${tenantId}`)",
        "r.get(redisKey('lock'))",
        "r.ping(); r.quit(); new Map().get('plain')",
    ],
)
def test_keys_with_a_tenant_and_what_is_no_key(tmp_path: Path, code: str) -> None:
    assert found(tmp_path, CLIENT + code, "redis-key") == []


@pytest.mark.parametrize(
    ("code", "whats"),
    [
        ("r.set(f'lock:{x}', 1, nx=True)", ["key lock:{x} (SET)"]),
        ("r.delete('a', 'b')", ["key a (DELETE)", "key b (DELETE)"]),
        ("r.mget(['a', 'b'])", ["key a (MGET)", "key b (MGET)"]),
        ("r.set(name='k', value=1)", ["key k (SET)"]),
        ("with r.lock('l'): pass", ["key l (LOCK)"]),
        ("r.set(managed_queue.redis_key('lock'), 1)", []),
        ("r.set(f'lock:{tenant_id}', 1)", []),
    ],
)
def test_keys_in_python(tmp_path: Path, code: str, whats: list[str]) -> None:
    assert [one.what for one in found(tmp_path, {"a.py": PYTHON + code}, "redis-key")] == whats


def test_keys_of_the_platforms_client_count_too(tmp_path: Path) -> None:
    code = "from xpert_mq import managed_queue\nr = managed_queue.get_redis()\nr.get('plain')"
    assert [one.kind for one in found(tmp_path, {"a.py": code}, "redis-key", "redis-client")] == ["redis-key"]
