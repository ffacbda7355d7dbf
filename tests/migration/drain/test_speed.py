"""How fast jobs are moved, and in how much memory."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
import redis

from tests.migration.drain.conftest import Drain
from tests.migration.drain.old_queues import OldQueueOf
from tests.migration.drain.test_killed import start
from xpert_mq import ManagedQueueService

_JOBS = 100_000
_FEW = 5_000
_PER_SECOND = 3_000
_MORE_KB = 16 * 1024


def fill(queue: OldQueueOf, jobs: int) -> None:
    payload = {"integrationId": "i-1", "outboundLogId": "o-1", "text": "x" * 200}
    opts = {"attempts": 3, "backoff": {"type": "exponential", "delay": 1000}, "removeOnComplete": {"age": 3600}}
    for _ in range(jobs // 5000):
        queue.add_many([("send", {"tenantId": "t", "payload": payload}, opts)] * 5000, bulk=True)


def usage(process: subprocess.Popen[str]) -> Any:
    """What it used, once it has ended."""
    assert process.stdout is not None
    with process.stdout:
        output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, output
    return used


def server_seconds(client: redis.Redis) -> float:
    """Of processor time."""
    info: Any = client.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_many_jobs_fast_and_in_little_memory(
    old_queue: OldQueueOf, drain: Drain, service: ManagedQueueService, client: redis.Redis
) -> None:
    mapping = drain.mapping()
    fill(old_queue, _FEW)
    few = usage(start(drain, old_queue, service, mapping, batch=250))
    fill(old_queue, _JOBS)
    before = server_seconds(client)

    many = usage(start(drain, old_queue, service, mapping, batch=250))

    assert not client.llen(old_queue.key("wait"))
    # Client and server take turns: on a machine that does nothing else, the time is the sum.
    took = server_seconds(client) - before + many.ru_utime + many.ru_stime
    print(f"{_JOBS / took:.0f} jobs/s, {many.ru_maxrss // 1024} MB")  # noqa: T201
    assert took < _JOBS / _PER_SECOND
    assert many.ru_maxrss - few.ru_maxrss < _MORE_KB
