"""A video that takes three polls, one that fails, and one that is watched by a job that puts itself off."""

from story_video import videos, world

MODULES = ("story_video.videos",)
QUEUES = ("bull:story-studio.video-generation",)


async def start(stage):
    stage.run(videos.serve(stage.stop))


async def play(stage):
    await videos.order("t1", "acme")
    await stage.settle()
    await videos.order("t2", "acme")
    await stage.settle()
    await videos.order("t3", "acme", by="watch")
    await stage.settle()
    return [*world.effects, {name: task["status"] for name, task in world.tasks.items()}]
