"""What the names of the queue and Redis libraries stand for."""

from __future__ import annotations

#: Queue libraries by their module: those of JavaScript, and Python's bullmq, which shares its name with one of them.
QUEUE_MODULES = frozenset({"bullmq", "bull", "@nestjs/bullmq", "@nestjs/bull", "@taskforcesh/bullmq-pro"})
NEST_MODULES = frozenset({"@nestjs/bullmq", "@nestjs/bull"})

_BULLMQ = {
    "Queue": "queue",
    "QueuePro": "queue",
    "Worker": "worker",
    "WorkerPro": "worker",
    "QueueEvents": "events",
    "QueueEventsPro": "events",
    "QueueEventsProducer": "events",
    "FlowProducer": "flow",
    "FlowProducerPro": "flow",
    "QueueScheduler": "scheduler",
    "JobScheduler": "scheduler",
    "Job": "job",
    "JobPro": "job",
    "SandboxedJob": "job",
}
_REDIS = {
    "Redis": "redis",
    "StrictRedis": "redis",
    "RedisCluster": "redis",
    "Cluster": "redis",
    "from_url": "redis",
    "master_for": "redis",
    "createClient": "redis",
    "createCluster": "redis",
    "createClientPool": "redis",
    "create_redis": "redis",
    "create_redis_pool": "redis",
    "RedisClientType": "redis",
    "Sentinel": "sentinel",
    "createSentinel": "redis",
    "ConnectionPool": "pool",
    "BlockingConnectionPool": "pool",
}
#: Module → name there ("" is the module or its default itself) → kind of thing.
_KINDS: dict[str, dict[str, str]] = {
    "bullmq": _BULLMQ,
    "@taskforcesh/bullmq-pro": _BULLMQ,
    "bull": {"": "queue", "Queue": "queue", "Bull": "queue", "Job": "job"},
    "redis": _REDIS,
    "aioredis": _REDIS,
    "valkey": _REDIS | {"Valkey": "redis"},
    "ioredis": {"": "redis", **_REDIS},
    "iovalkey": {"": "redis", **_REDIS},
}
#: Method of a queue → what it gives; the second number is whether there are many.
_GETTERS = ("getJobs", "getDelayed", "getWaiting", "getActive", "getFailed", "getCompleted", "getPrioritized")
RESULTS: dict[tuple[str, str], tuple[str, bool]] = {
    ("queue", "add"): ("job", False),
    ("queue", "getJob"): ("job", False),
    ("queue", "addBulk"): ("job", True),
    ("queue", "waitUntilReady"): ("redis", False),
    ("redis", "duplicate"): ("redis", False),
    ("redis", "pipeline"): ("redis", False),
    ("redis", "multi"): ("redis", False),
    ("redis", "connect"): ("redis", False),
    ("sentinel", "master_for"): ("redis", False),
    **{("queue", name): ("job", True) for name in _GETTERS},
}
#: The platform's own clients, whatever object they come from.
PLATFORM_REDIS = frozenset({"getRedis", "get_redis", "aget_redis"})

_ONE_KEY = """
append bitcount decr decrby dump expire expireat geoadd get getbit getdel getex getset hdel hexists hget hgetall hincrby
hincrbyfloat hkeys hlen hmget hmset hscan hset hsetnx hvals incr incrby incrbyfloat keys lindex linsert llen lock lpop
lpush lpushx lrange lrem lset ltrim persist pexpire pexpireat pfadd pfcount psetex psubscribe pttl publish rpop rpush
rpushx sadd scard set setbit setex setnx sismember smembers spop srandmember srem sscan strlen subscribe ttl type xack
xadd xlen xrange xread xtrim zadd zcard zcount zincrby zpopmax zpopmin zrange zrangebyscore zrank zrem zremrangebyrank
zremrangebyscore zrevrange zrevrangebyscore zscan zscore
"""
_TWO_KEYS = "lmove rename renamenx rpoplpush smove"
_ALL_KEYS = "del delete exists mget sdiff sinter sunion touch unlink watch"
#: Redis command → how many of its arguments are keys, from the first; None for all.
KEY_COMMANDS: dict[str, int | None] = {
    **dict.fromkeys(_ONE_KEY.split(), 1),
    **dict.fromkeys(_TWO_KEYS.split(), 2),
    **dict.fromkeys(_ALL_KEYS.split()),
}


def top_module(module: str, python: bool) -> str:
    """The package that a module belongs to."""
    if python:
        return module.split(".")[0]
    return "/".join(module.split("/")[: 2 if module.startswith("@") else 1])


def kind_of(module: str, name: str, python: bool) -> str | None:
    """The kind of thing that a class or factory of a library makes."""
    names = _KINDS.get(top_module(module, python))
    parts = [part for part in name.split(".") if part not in ("default", "")]
    return None if names is None else names.get(parts[-1] if parts else "")


def has_things(module: str, python: bool) -> bool:
    """Whether a module is of a queue or Redis library."""
    package = top_module(module, python)
    return package in _KINDS or package in QUEUE_MODULES
