from bullmq import Job, UnrecoverableError

from . import service, world
from .names import HistoryJob

BATCH = 3


async def process(job: Job, token: str):
    data = job.data
    match job.name:
        # Files first.
        case HistoryJob.MATERIALIZE:
            for message in data["messageLogIds"]:
                if message in world.leased:
                    world.leased.discard(message)
                    raise RuntimeError(f"{message} is leased")
                if message not in world.messages:
                    raise UnrecoverableError(f"{message} is gone")
                world.effects.append(["kept", message, job.attemptsMade])
        case HistoryJob.CLEANUP:
            batch = sorted(world.messages)[:BATCH]
            for message in batch:
                del world.messages[message]
            world.effects.append(["deleted", *batch, data["continuation"]])
            if world.messages:
                await service.schedule_cleanup(
                    data["tenantId"], data["integrationId"], data["day"], data["continuation"] + 1
                )
        case _:
            raise ValueError(job.name)
