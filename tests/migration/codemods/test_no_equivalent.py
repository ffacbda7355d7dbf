"""What is left as it is, and Redis."""

from __future__ import annotations

from textwrap import dedent

import pytest

from tests.migration.codemods.checking import check, decided, rewritten

TREE = """
    import bullmq

    queue = bullmq.Queue("mail")


    async def work(redis, tenant_id):
        {code}
    """


@pytest.mark.parametrize(
    ("code", "reasons"),
    [
        ("await queue.pause()", ["queues are not paused"]),
        ("await queue.getJobs(['waiting'])", ["plugins can't list jobs"]),
        ("await queue.obliterate(True)", ["jobs are removed one by one, or by their age"]),
        ("await queue.upsertJobScheduler('x', {})", ["there are no repeatable jobs"]),
        ("await queue.setGlobalConcurrency(1)", ["there is no rate limiter"]),
        ("await queue.getJobState('x')", ["a state is part of the job"]),
        ("await call(queue.add, 'x')", ["queue.add is passed on here"]),
        ("await call(queue)", ["the queue is kept or passed on where it can't be followed"]),
        ("flow = bullmq.FlowProducer()", ["nothing in the tree uses this queue", "there are no flows of jobs"]),
        (
            "bullmq.QueueEvents('mail').on('completed', print)",
            ["nothing in the tree uses this queue", "there are no events of queues"],
        ),
    ],
)
def test_left_with_a_comment(code: str, reasons: list[str]) -> None:
    assert decided(TREE.replace("{code}", code)) == reasons


def test_redis_of_a_queue() -> None:
    check(
        """
        from bullmq import Queue

        queue = Queue("mail")


        async def lock(key):
            redis = queue.client
            await redis.set(key, "1", nx=True, px=1000)
            await queue.client.delete(key)
            return await redis.get(key) == "1"
        """,
        """
        from xpert_mq import managed_queue


        async def lock(key):
            redis = await managed_queue.aget_redis()
            await redis.set(key, "1", nx=True, px=1000)
            await (await managed_queue.aget_redis()).delete(key)
            # xpert-mq: replies are bytes here, and were texts; decode them, or compare with bytes
            return await redis.get(key) == "1"
        """,
        "redis",
    )


def test_redis_of_a_queue_outside_of_coroutines_is_left() -> None:
    before = """
        from bullmq import Queue


        class Locks:
            def __init__(self):
                self.redis = Queue("mail").client
        """
    assert decided(before) == ["only a coroutine can get the platform's asyncio client"]


def test_names_that_lead_to_themselves() -> None:
    before = """
        from bullmq import Queue, Worker

        LIMIT = LIMIT
        queue = queue
        job = job


        async def process(job, token):
            name = name
            if name == "send":
                return process(name)


        worker = Worker("mail", process, {"concurrency": LIMIT})


        async def work(tenant_id):
            job = job
            await job.remove()
            await Queue("mail").add("send", job, {"priority": 1})
        """
    result = rewritten({"mail.py": dedent(before)})["mail.py"]
    assert {one.reason.rule for one in result.findings if one.level == "decide"} == {"priority"}


def test_file_without_a_queue_is_left_alone() -> None:
    assert rewritten({"mail.py": "# bullmq\n\n\nclass Mail:\n    call = lambda self: self\n"}) == {}
