"""Jobs that succeed, retry, fail at once, and are stopped before they begin."""

from cut_analysis import service, world

MODULES = ("cut_analysis.service",)
QUEUES = ("bull:cut.analysis",)


async def start(stage):
    stage.run(service.serve(stage.stop))


async def play(stage):
    found = []
    for media in ("film", "shaky", "broken"):
        row = world.AnalysisRow(media, "acme", "org", media)
        await service.service.order(row)
        await stage.settle()
        found.append(await service.service.look(row))
    row = world.AnalysisRow("slow", "acme", "org", "slow")
    await service.service.order(row)
    found.append(await service.service.look(row))
    found.append(await service.service.stop(row))
    found.append(await service.service.look(row))
    found.append(await service.service.stop(row))
    return world.effects + found
