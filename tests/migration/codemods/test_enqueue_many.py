"""`addBulk` becomes `enqueue_many`."""

from __future__ import annotations

from tests.migration.codemods.checking import check, decided


def test_jobs_of_a_comprehension_and_of_a_list() -> None:
    check(
        """
        from bullmq import Queue

        queue = Queue("mail")


        async def send(rows, tenant_id):
            jobs = await queue.addBulk([{"name": "send", "data": row, "opts": {"delay": 5}} for row in rows])
            more = []
            for row in rows:
                more.append({"name": "check", "data": {"id": row}})  # later
            await queue.addBulk(more)
            return [job.id for job in jobs]
        """,
        """
        from xpert_mq import managed_queue


        async def send(rows, tenant_id):
            jobs = await managed_queue.aenqueue_many([{
                "plugin_name": "shop",
                "queue_name": "mail",
                "job_name": "send",
                "payload": row,
                "tenant_id": tenant_id,
                "delay_ms": 5,
            } for row in rows])
            more = []
            for row in rows:
                more.append({
                    "plugin_name": "shop",
                    "queue_name": "mail",
                    "job_name": "check",
                    "payload": {"id": row},
                    "tenant_id": tenant_id,
                })  # later
            await managed_queue.aenqueue_many(more)
            return [job.job_id for job in jobs]
        """,
    )


def test_jobs_from_elsewhere_are_left() -> None:
    before = """
        from bullmq import Queue

        queue = Queue("mail")


        async def send(jobs, tenant_id):
            await queue.addBulk(jobs)
        """
    assert decided(before) == ["the jobs that are added can't be seen"]
