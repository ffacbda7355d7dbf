"""Files are kept, one after a wait and one not at all; then all are thrown away in three turns."""

from lark_history import main, service, world

MODULES = ("lark_history.processor",)
QUEUES = ("lark:lark-message-history",)


async def start(stage):
    stage.run(main.main(stage.stop))


async def play(stage):
    await service.materialize("acme", ["m1", "m5", "m99"])
    await stage.settle()
    await service.schedule_cleanup("acme", "i-1", 7)
    await service.schedule_cleanup("acme", "i-1", 7)  # the same day again
    await stage.settle()
    return world.effects
