"""All five steps: one passes at its second try, one fails for good."""

from evolution import jobs, worker, world

MODULES = ("evolution.worker",)
QUEUES = ("bull:agent-evolution",)


async def start(stage):
    stage.run(worker.serve(stage.stop))


async def play(stage):
    found = []
    found.append(await jobs.release("acme", "r1", ["evaluation", "install", "shadow"]))
    await stage.settle()
    found.append(await jobs.release("acme", "r2", ["canary"]))
    await stage.settle()
    found.append(await jobs.release("acme", "r3", ["rollback"]))
    await stage.settle()
    return [
        *world.effects, *found,
        await jobs.outcome("acme", "EVOJOB-r3-rollback"),
        await jobs.outcome("acme", "EVOJOB-r2-canary"),
    ]
