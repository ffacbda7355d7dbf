"""Six changes of a document are written twice; an id is free again when its job is done."""

from collaboration import materialize, world

MODULES = ("collaboration.materialize",)
QUEUES = ("bull:collaboration",)


async def start(stage):
    stage.run(materialize.serve(stage.stop))


async def play(stage):
    for _ in range(6):
        await stage.call(materialize.changed, "d1", {"tenantId": "acme"}, wait=60)
    await stage.settle()
    await stage.call(materialize.changed, "d2", {"tenantId": "acme"})
    await stage.settle()
    world.changes["d2"] = 0
    await stage.call(materialize.changed, "d2", {"tenantId": "acme"})
    await stage.settle()
    return world.effects
