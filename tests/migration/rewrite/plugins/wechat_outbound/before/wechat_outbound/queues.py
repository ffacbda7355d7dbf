from bullmq import Queue

from .connection import REDIS_URL

OUTBOUND = "plugin_wechat_outbound"

# One for all accounts; what was sent is kept for a day.
outbound_queue = Queue(
    OUTBOUND,
    {
        "connection": REDIS_URL,
        "defaultJobOptions": {
            "removeOnComplete": {"age": 24 * 3600, "count": 5000},
            "removeOnFail": {"age": 7 * 24 * 3600, "count": 5000},
        },
    },
)
