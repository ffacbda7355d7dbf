from .world import effects, flaky


async def evaluation(job):
    effects.append(["evaluated", job.data["release"]])
    return 0.9


async def install(job):
    effects.append(["installed", job.data["release"], job.name])


async def shadow(job):
    effects.append(["shadowed", job.data["release"]])


async def canary(job):
    if job.name in flaky:
        flaky.discard(job.name)
        raise RuntimeError("too many errors")
    effects.append(["canary", job.data["release"], job.attemptsMade])


async def rollback(job):
    effects.append(["rolled back", job.data["release"]])
    raise LookupError("nothing to go back to")


HANDLERS = {
    "evaluation": evaluation,
    "install": install,
    "shadow": shadow,
    "canary": canary,
    "rollback": rollback,
}
