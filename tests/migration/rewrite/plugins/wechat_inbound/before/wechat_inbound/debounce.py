import json
import os

from bullmq import Queue, Worker

CONNECTION = {
    "host": os.environ.get("REDIS_HOST", "localhost"),
    "port": int(os.environ.get("REDIS_PORT", "6379")),
    "db": 9,
}
INBOUND = "plugin_wechat_inbound"
AGGREGATE = "plugin_wechat_inbound_aggregate"
FLUSH = "plugin_wechat_inbound_flush"


class Debounce:
    """Makes its queue when it is first needed."""

    def __init__(self, window_ms):
        self.window_ms = window_ms
        self._queue = None

    @property
    def queue(self):
        if self._queue is None:
            self._queue = Queue(INBOUND, {"connection": CONNECTION})
        return self._queue

    async def receive(self, message):
        data = {"chat": message["chat"], "text": message["text"], "tenantId": message["tenantId"]}
        await self.queue.add(AGGREGATE, data, {"attempts": 5, "backoff": {"type": "fixed", "delay": 50}})

    async def flush_later(self, chat, version, tenantId):
        await self.queue.add(
            FLUSH,
            {"chat": chat, "version": version, "tenantId": tenantId},
            {"jobId": f"flush-{tenantId}-{chat}-{version}", "delay": self.window_ms, "attempts": 3},
        )

    async def load(self, key):
        text = await self.queue.client.get(key)
        return json.loads(text) if text else {"version": 0, "texts": []}

    async def save(self, key, state):
        await self.queue.client.set(key, json.dumps(state), px=60_000)

    async def clear(self, key):
        await self.queue.client.delete(key)

    async def close(self):
        if self._queue is not None:
            await self._queue.close()


debounce = Debounce(window_ms=120)


async def process(job, token):
    """Old flushes are not cancelled: their version no longer matches."""
    data = job.data
    key = f"plugin_wechat:{data['tenantId']}:aggregate:{data['chat']}"
    if job.name == AGGREGATE:
        from .world import effects

        state = await debounce.load(key)
        state["version"] += 1
        state["texts"].append(data["text"])
        await debounce.save(key, state)
        effects.append(["aggregated", data["chat"], state["version"]])
        await debounce.flush_later(data["chat"], state["version"], data["tenantId"])
        return state["version"]
    elif job.name == FLUSH:
        from .world import effects

        state = await debounce.load(key)
        if state["version"] != data["version"]:
            effects.append(["stale", data["chat"], data["version"]])
            return None
        effects.append(["answered", data["tenantId"], data["chat"], state["texts"]])
        await debounce.clear(key)
        return len(state["texts"])
    else:
        raise ValueError(f"unknown job {job.name}")


def make_worker():
    worker = Worker(INBOUND, process, {"connection": CONNECTION, "concurrency": 1})
    workers.append(worker)


workers = []
