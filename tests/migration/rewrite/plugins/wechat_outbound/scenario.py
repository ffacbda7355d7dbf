"""Messages of two tenants: sent, put off, retried, failed and cancelled."""

from wechat_outbound import outbound, worker, world

MODULES = ("wechat_outbound.outbound", "wechat_outbound.worker")
QUEUES = ("bull:plugin_wechat_outbound",)


async def start(stage):
    stage.run(worker.main(stage.stop))


async def play(stage):
    found = []
    for number, text in enumerate(("hello", "late", "shaky", "bad")):
        row = world.Row(f"m{number}", "acme" if number % 2 else "globex", "org", "acc", text)
        found.append(await outbound.enqueue(row))
        await stage.settle()
    row = world.Row("m9", "acme", "org", "acc", "never")
    job_id = await outbound.enqueue(row, delay=5_000)
    await stage.call(outbound.cancel, row, job_id)
    await stage.settle()
    return world.effects + found + [[one.id, one.status] for one in world.rows.values()]
