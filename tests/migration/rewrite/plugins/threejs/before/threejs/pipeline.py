import os
from functools import partial

from bullmq import Queue, Worker

from .world import Store, effects

STAGES = ("draft", "mesh", "review")
CONNECTION = {
    "host": os.environ.get("REDIS_HOST", "localhost"),
    "port": int(os.environ.get("REDIS_PORT", "6379")),
    "db": 9,
}


class Pipeline:
    pipeline_queue = Queue("img2threejs.pipeline", {"connection": CONNECTION})
    review_queue = Queue("img2threejs.review", {"connection": CONNECTION})

    def __init__(self, tenant_id, store):
        self.tenant_id = tenant_id
        self.store = store

    async def begin(self, run_id):
        self.store.runs[run_id] = {"revision": 0, "errors": []}
        await self.enqueue(run_id, 0)

    async def enqueue(self, run_id, number):
        stage = STAGES[number]
        opts = {
            "jobId": f"img2threejs__{run_id}__{stage}__r{number}",
            "attempts": 2,
            "backoff": {"type": "fixed", "delay": 30},
        }
        data = {"runId": run_id, "number": number}
        if stage == "review":
            await self.review_queue.add("img2threejs.review-render", data, opts)
        else:
            await self.pipeline_queue.add("img2threejs.run-stage", data, opts)


async def run_stage(pipeline, job, token):
    run_id, number = job.data["runId"], job.data["number"]
    if job.attemptsMade + 1 < job.opts["attempts"] and STAGES[number] == "mesh":
        raise RuntimeError("no memory")
    if not pipeline.store.claim(run_id, number):
        effects.append(["lost", run_id, number])
        return
    effects.append([STAGES[number], run_id, job.attemptsMade])
    await pipeline.enqueue(run_id, number + 1)


async def review(pipeline, job, token):
    pipeline.store.claim(job.data["runId"], job.data["number"])
    effects.append(["reviewed", job.data["runId"]])


pipeline = Pipeline("acme", Store())
workers = []


def start():
    workers.append(Worker("img2threejs.pipeline", partial(run_stage, pipeline), {"connection": CONNECTION}))
    workers.append(
        Worker("img2threejs.review", partial(review, pipeline), {"connection": CONNECTION, "concurrency": 2})
    )
