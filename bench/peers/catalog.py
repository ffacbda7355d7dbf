"""All peers: how each is run, how many of its jobs are unfinished, and what is not equal."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import redis

from bench.peers.environment import NODE_FOLDER, node, own_python, this_python
from bench.peers.peer import MANY, PROGRAM, Kind
from bench.systems import Pool
from xpert_mq import ManagedQueueService, Settings
from xpert_mq.inspector import Inspector
from xpert_mq.store.listing import JobFilter

OURS = "xpert_mq"
CELERY = "Celery"
BULLMQ = "BullMQ"
LPUSH = "redis-py"

#: Where a job isn't lost with its worker.
ACKNOWLEDGING = (CELERY, "dramatiq", "rq", "saq", "taskiq", "bullmq.py")
PYTHON = (*ACKNOWLEDGING, "huey")


def _celery(module: str, waiting: str) -> dict[Pool, list[str]]:
    start = [PROGRAM, "-m", "celery", "-A", module, "worker", "--loglevel", "WARNING"]
    return {
        "threads": [*start, "--pool", "threads", "--concurrency", "10"],
        "solo": [*start, "--pool", "solo"],
        "prefork": [*start, "--pool", "prefork", "--concurrency", "2"],
        "asyncio": [*start, "--pool", waiting, "--concurrency", str(MANY)],
    }


def _lengths(*keys: tuple[str, str]) -> Callable[[redis.Redis], int]:
    """The sum of what commands give for keys."""

    def count(client: redis.Redis) -> int:
        with client.pipeline() as pipe:
            for command, key in keys:
                pipe.execute_command(command, key)
            return sum(pipe.execute())

    return count


_inspectors: dict[int, Inspector] = {}


def _unfinished_of_ours(client: redis.Redis) -> int:
    options = client.connection_pool.connection_kwargs
    if options["db"] not in _inspectors:
        url = f"redis://{options['host']}:{options['port']}/{options['db']}"
        _inspectors[options["db"]] = Inspector(ManagedQueueService(Settings(redis_url=url)))
    lines = _inspectors[options["db"]].queues(JobFilter())
    return sum(line.states["waiting"] + line.states["active"] for line in lines)


_unfinished_of_bullmq = _lengths(("LLEN", "bull:bench:wait"), ("LLEN", "bull:bench:active"))


def _unfinished_of_stream(client: redis.Redis) -> int:
    if not client.exists("taskiq"):
        return 0
    groups: Any = client.xinfo_groups("taskiq")
    return sum((group["lag"] or 0) + group["pending"] for group in groups)


def _huey(*options: str) -> list[str]:
    return [PROGRAM, "-m", "huey.bin.huey_consumer", "bench.peers.huey.app", "--quiet", *options]


def _dramatiq(processes: int, threads: int) -> list[str]:
    options = ["--processes", f"{processes}", "--threads", f"{threads}", "--skip-logging"]
    return [PROGRAM, "-m", "dramatiq", "bench.peers.dramatiq", *options]


def _rq(*options: str) -> list[str]:
    return [PROGRAM, "-m", "rq.cli", *options, "--quiet", "--path", "."]


def _saq(processes: int) -> list[str]:
    return [PROGRAM, "-m", "saq", "bench.peers.saq.settings", "--workers", f"{processes}"]


def _taskiq(processes: int, tasks: int) -> list[str]:
    options = ["--workers", f"{processes}", "--max-async-tasks", f"{tasks}", "--log-level", "WARNING"]
    return [PROGRAM, "-m", "taskiq", "worker", "bench.peers.taskiq:broker", *options]


def _program(*arguments: str) -> dict[Pool, list[str]]:
    """Of a library that brings no worker program: two processes are two programs."""
    one = [PROGRAM, *arguments]
    two = ["sh", "-c", f'"$0" {" ".join(arguments)} & "$0" {" ".join(arguments)} & wait', PROGRAM]
    return {"threads": one, "solo": one, "prefork": two, "asyncio": one}


KINDS = (
    Kind(
        OURS,
        functools.partial(this_python, "xpert_mq"),
        "ours",
        _celery("xpert_mq", waiting="custom"),
        _unfinished_of_ours,
        "",
        many=True,
    ),
    Kind(
        CELERY,
        functools.partial(this_python, "celery"),
        "plain_celery",
        _celery("bench.peers.plain_celery", waiting="gevent"),
        _lengths(("LLEN", "celery"), ("HLEN", "unacked")),
        "an id may run twice; what a dead worker held comes back after an hour; no call for many; the job's record is "
        "its result alone; the handlers that wait run in gevent's pool",
    ),
    Kind(
        "dramatiq",
        functools.partial(this_python, "dramatiq"),
        "dramatiq",
        {
            "threads": _dramatiq(1, 10),
            "solo": _dramatiq(1, 1),
            "prefork": _dramatiq(2, 8),
            "asyncio": _dramatiq(1, MANY),
        },
        _lengths(("HLEN", "dramatiq:default.msgs"), ("HLEN", "dramatiq:default.DQ.msgs")),
        "ids are its own and may not be given; no call for many; fetches twice as many as it has threads, and asks "
        "the server again and again while idle; 8 threads in each of two processes (its default); an async handler "
        "holds a thread",
    ),
    Kind(
        "huey",
        functools.partial(this_python, "huey"),
        "huey",
        {
            "threads": _huey("--workers", "10", "--worker-type", "thread"),
            "solo": _huey("--workers", "1"),
            "prefork": _huey("--workers", "2", "--worker-type", "process"),
            "asyncio": [
                *(PROGRAM, "-m", "gevent.monkey", "--module"),
                *_huey("--workers", str(MANY), "--worker-type", "greenlet")[2:],
            ],
        },
        _lengths(("LLEN", "huey.redis.bench")),
        "acknowledges nothing: a job is lost with its worker, and what still runs is not seen (the last job's start "
        "counts as the end); an id may run twice; no call for many; retries after fixed times; pickle",
    ),
    Kind(
        "rq",
        functools.partial(this_python, "rq"),
        "rq",
        {
            "threads": _rq("worker"),
            "solo": _rq("worker", "--worker-class", "rq.worker.SimpleWorker"),
            "prefork": _rq("worker-pool", "--num-workers", "2"),
        },
        _lengths(("LLEN", "rq:queue:default"), ("ZCARD", "rq:wip:default")),
        "its worker runs one job at a time, and forks for each (beside solo: its SimpleWorker, which doesn't fork); an "
        "id that is used again overwrites the job; pickle; a tenth of the jobs",
        many=True,
        part=0.1,
    ),
    Kind(
        "saq",
        # It imports the second without asking for it.
        functools.partial(own_python, "saq", "saq[redis]==0.26.4", "typing_extensions"),
        "saq",
        {"threads": _saq(1), "solo": _saq(1), "prefork": _saq(2), "asyncio": _saq(1)},
        _lengths(("ZCARD", "saq:default:incomplete")),
        "in an environment of its own with redis-py 7, since it refuses ours; no call for many; delays in whole "
        "seconds",
    ),
    Kind(
        "taskiq",
        functools.partial(this_python, "taskiq_redis"),
        "taskiq",
        {"threads": _taskiq(1, 10), "solo": _taskiq(1, 1), "prefork": _taskiq(2, 10), "asyncio": _taskiq(1, MANY)},
        _unfinished_of_stream,
        "the stream keeps all messages, finished or not; an id may run twice; acknowledges as soon as the handler "
        "ended and its result is kept; no call for many; a delay takes a scheduler",
    ),
    Kind(
        "bullmq.py",
        functools.partial(this_python, "bullmq"),
        "bullmq",
        _program("-m", "bench.peers.bullmq"),
        _unfinished_of_bullmq,
        "keeps a log of events in Redis; ids are not of a tenant, and whose job has the id is not told",
        many=True,
    ),
    Kind(
        BULLMQ,
        node,
        "",
        _program(str(NODE_FOLDER / "worker.js")),
        _unfinished_of_bullmq,
        "as bullmq.py; it is JavaScript, and the producer's one-by-one is awaited, as ours is",
        many=True,
    ),
    Kind(
        LPUSH,
        functools.partial(this_python, "redis"),
        "lpush",
        {},
        _lengths(("LLEN", "bench")),
        "no queue: the bytes of the job are put into a list; the bound of what can be reached through this library",
        many=True,
    ),
)
