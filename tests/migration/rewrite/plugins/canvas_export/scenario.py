"""Ordered from threads: two exports, one of an unknown kind, and one that is dropped in time."""

import asyncio

from canvas_export import exports, renderer, world

MODULES = ("canvas_export.renderer",)
QUEUES = ("bull:canvas.artifact-export",)


async def start(stage):
    made = renderer.Renderer()
    made.start()
    stage.closing.append(made.worker)


async def play(stage):
    found = []
    for export_id, kind in (("e1", "png"), ("e2", "unknown"), ("e1", "png")):
        found.append(await asyncio.to_thread(exports.order, "acme", export_id, kind))
        await stage.settle()
    found.append(await asyncio.to_thread(exports.drop, "acme", "e3"))
    return [*world.effects, world.exports, *found]


#: BullMQ's `remove` says 1 for an id that it does not know.
DIFFERENT = {-1: (True, False)}
