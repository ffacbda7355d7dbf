"""A video, the same call again, and one that loses its connection twice and pays once."""

from model_video import generation, world

MODULES = ("model_video.generation",)
QUEUES = ("bull:kling-video-generation",)


async def start(stage):
    stage.run(generation.serve(stage.stop))


async def play(stage):
    found = []
    for call, prompt in (("call-1", "cat"), ("call-1", "cat"), ("call-2", "dog"), ("call:3/x", "owl")):
        job_id = await generation.generate(generation.GenerateInput(tool_call_id=call, tenant_id="acme", prompt=prompt))
        await stage.settle()
        found.append([job_id, await generation.wait_for(job_id, "acme")])
    found.append(await generation.wait_for("kling-none", "acme"))
    return world.effects + found
