"""Three messages in a row are answered together; the same chat of another tenant is another chat."""

from wechat_inbound import debounce, world

MODULES = ("wechat_inbound.debounce",)
QUEUES = ("bull:plugin_wechat_inbound",)


async def start(stage):
    debounce.make_worker()
    stage.closing += debounce.workers


async def play(stage):
    for text in ("one", "two", "three"):
        await debounce.debounce.receive({"chat": "c", "text": text, "tenantId": "acme"})
    await stage.settle()
    await debounce.debounce.receive({"chat": "c", "text": "other", "tenantId": "globex"})
    await stage.settle()
    await debounce.debounce.close()
    return world.effects
