"""`queue.add` becomes `enqueue`, with all options."""

from __future__ import annotations

import pytest

from tests.migration.codemods.checking import check, check_all, decided


def test_enqueue_keeps_layout_and_comments() -> None:
    check(
        '''
        """Mail."""
        from bullmq import Queue

        queue = Queue("mail", {"connection": "redis://localhost"})


        async def send(order, tenant_id):
            # Tell the customer.
            job = await queue.add(
                "send",  # the only one
                {
                    # ids alone
                    "orderId": order.id,
                },
                {
                    "jobId": f"send-{order.id}",  # once
                    "delay": 1000,
                },
            )  # done
            return job.id
        ''',
        '''
        """Mail."""
        from xpert_mq import managed_queue


        async def send(order, tenant_id):
            # Tell the customer.
            job = await managed_queue.aenqueue(
                plugin_name="shop",
                queue_name="mail",
                job_name="send",  # the only one
                payload={
                    # ids alone
                    "orderId": order.id,
                },
                tenant_id=tenant_id,
                job_id=f"send-{order.id}",  # once
                delay_ms=1000,
            )  # done
            return job.job_id
        ''',
    )


CALL = """
    from bullmq import Queue, JobOptions

    queue = Queue("mail")


    async def send(tenant_id, wait):
        await queue.add("send", 1, {options})
    """


@pytest.mark.parametrize(
    ("options", "ours"),
    [
        ("{}", []),
        ("None", []),
        ('{"attempts": 3, "backoff": 500}', ["attempts=3", "backoff_ms=500"]),
        ('{"attempts": 0, "delay": -1}', []),
        ("dict(delay=wait)", ["delay_ms=wait"]),
        ('JobOptions(jobId="a")', ['job_id="a"']),
        ('{"removeOnComplete": True, "removeOnFail": 5}', ["remove_on_complete=True", "remove_on_fail=5"]),
        ('{"removeOnComplete": None, "removeOnFail": -1}', ["remove_on_complete=False", "remove_on_fail=False"]),
        ('{"removeOnComplete": {"age": 9, "limit": 4}}', ['remove_on_complete={"age": 9}']),
        ('{"keepLogs": 5, "stackTraceLimit": 1}', []),
        ('{**{"attempts": 2}, "delay": 5}', ["attempts=2", "delay_ms=5"]),
    ],
)
def test_options_are_mapped(options: str, ours: list[str]) -> None:
    fields = ['plugin_name="shop"', 'queue_name="mail"', 'job_name="send"', "payload=1", "tenant_id=tenant_id", *ours]
    lines = "".join(f"\n            {field}," for field in fields)
    one_line = f"    await managed_queue.aenqueue({', '.join(fields)})"
    call = one_line.strip() if len(one_line) <= 100 else f"await managed_queue.aenqueue({lines}\n        )"
    check(
        CALL.replace("{options}", options),
        f"""
    from xpert_mq import managed_queue


    async def send(tenant_id, wait):
        {call}
    """,
    )


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ('{"priority": 1}', "option priority: there are no priorities"),
        ('{"lifo": True}', "option lifo: jobs run first in, first out"),
        ('{"repeat": {"every": 5}}', "option repeat: there are no repeatable jobs"),
        ('{"parent": {"id": "1"}}', "option parent: a job waits for no other"),
        ('{"deduplication": {"id": "1"}}', "option deduplication: there is no deduplication besides ids"),
        ('{"timestamp": 5}', "option timestamp: a delay counts from Redis' own time"),
        ('{"attemps": 5}', "option attemps is not known"),
        ('{"backoff": {"type": "mine"}}', "backoff 'mine' is computed by the plugin"),
        ('{"backoff": {"type": "fixed", "delay": 1, "jitter": 0.5}}', "there is no jitter"),
        ("{wait: 5}", "a key of its options is computed"),
        ("wait", "its options are made elsewhere"),
    ],
)
def test_what_has_no_equivalent_is_left_with_a_reason(options: str, why: str) -> None:
    before = CALL.replace("{options}", options).replace(", JobOptions", "")
    assert decided(before) == [why]


def test_queue_of_another_module_with_defaults() -> None:
    before = {
        "shop/__init__.py": "",
        "shop/queues.py": """
            import os

            from bullmq import Queue

            URL = os.environ["REDIS_URL"]
            mail = Queue("mail", opts={"connection": URL, "defaultJobOptions": {"attempts": 3, "delay": 9}})
            kept = 1
            """,
        "shop/api.py": """
            from bullmq import Queue as Q

            from .queues import kept, mail


            async def send(user: dict):
                await mail.add("send", {"tenantId": user["tenantId"], "organizationId": "o"}, {"delay": 1})
            """,
    }
    after = {
        "shop/queues.py": "kept = 1\n",
        "shop/api.py": """
            from xpert_mq import managed_queue

            from .queues import kept


            async def send(user: dict):
                await managed_queue.aenqueue(
                    plugin_name="shop",
                    queue_name="mail",
                    job_name="send",
                    payload={"tenantId": user["tenantId"], "organizationId": "o"},
                    tenant_id=user["tenantId"],
                    organization_id="o",
                    delay_ms=1,
                    attempts=3,
                )
            """,
    }
    assert check_all(before, after) == []


def test_variable_with_options_gets_our_keys() -> None:
    check(
        """
        from bullmq import Queue

        queue = Queue("mail", {"defaultJobOptions": {"attempts": 3, "delay": 7}})


        async def send(tenant_id, wait):
            options = {"jobId": "a"}
            if wait:
                options["delay"] = wait
            await queue.add("send", {}, options)
        """,
        """
        from xpert_mq import managed_queue


        async def send(tenant_id, wait):
            options = {"job_id": "a"}
            if wait:
                options["delay_ms"] = wait
            await managed_queue.aenqueue(
                {"delay_ms": 7, **options},
                plugin_name="shop",
                queue_name="mail",
                job_name="send",
                payload={},
                tenant_id=tenant_id,
                attempts=3,
            )
        """,
    )


def test_enqueue_without_a_loop() -> None:
    check(
        """
        import asyncio

        import bullmq

        NAME = "mail"
        queue = bullmq.Queue(NAME)


        def send(tenant_id):
            job = asyncio.run(queue.add("send", 1))
            asyncio.run(queue.close())
            return job.id


        def start(tenant_id):
            return asyncio.create_task(queue.add("send", 1))
        """,
        """
        import asyncio

        from xpert_mq import managed_queue

        NAME = "mail"


        def send(tenant_id):
            job = managed_queue.enqueue(
                plugin_name="shop",
                queue_name=NAME,
                job_name="send",
                payload=1,
                tenant_id=tenant_id,
            )
            return job.job_id


        def start(tenant_id):
            return asyncio.create_task(managed_queue.aenqueue(
                plugin_name="shop",
                queue_name=NAME,
                job_name="send",
                payload=1,
                tenant_id=tenant_id,
            ))
        """,
    )


def test_queue_with_a_computed_name_is_left() -> None:
    before = """
        from bullmq import Queue


        async def send(chat, tenant_id):
            queue = Queue(f"chat-{chat}")
            await queue.add("send", 1)
        """
    assert decided(before) == ["the queue's name is computed"]


def test_queue_that_is_passed_in_goes_with_its_parameter() -> None:
    check(
        """
        from bullmq import Queue


        class Mail:
            def __init__(self, queue: Queue, limit: int) -> None:
                self.queue = queue
                self.limit = limit

            async def send(self, tenant_id):
                await self.queue.add("send", 1)


        mail = Mail(Queue("mail"), limit=5)
        """,
        """
        from xpert_mq import managed_queue


        class Mail:
            def __init__(self, limit: int) -> None:
                self.limit = limit

            async def send(self, tenant_id):
                await managed_queue.aenqueue(
                    plugin_name="shop",
                    queue_name="mail",
                    job_name="send",
                    payload=1,
                    tenant_id=tenant_id,
                )


        mail = Mail(limit=5)
        """,
    )
