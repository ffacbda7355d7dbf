"""A run through its three stages, over two queues; the second has a failed try."""

from threejs import pipeline, world

MODULES = ("threejs.pipeline",)
QUEUES = ("bull:img2threejs.pipeline", "bull:img2threejs.review")


async def start(stage):
    pipeline.start()
    stage.closing += pipeline.workers


async def play(stage):
    if stage.is_managed:
        pipeline.start()  # registers the handlers, as the report says
    await pipeline.pipeline.begin("run1")
    await stage.settle()
    return [*world.effects, pipeline.pipeline.store.runs]
