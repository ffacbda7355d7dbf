"""A plugin for a chat service, to write one's own after: outbound sends within limits, and debounced inbound messages.

    handlers   what the platform runs: three small classes
    outbound   for the rest of the plugin: send, cancel, pause, resume, retry, recover
    sending    one try of an outbound message: locks, limits, the request, what became of it
    limits     intervals, counters and the failure guard, in Redis
    inbound    for the rest of the plugin: receive, recover
    debounce   gathers a conversation's messages, and dispatches them together
    batches    what has been gathered, in Redis
    messages   what a message is, and its row
    rows       the plugin's own records, in SQLite; each statement for the current tenant
    database   the SQLite file and its transactions
    client     requests to the chat service
    server     a chat service to try it with: `python -m examples.wechat.server`
    keys       every name: plugin, queues, jobs, job ids, keys, locks
    settings   the environment, and what can be set per integration

To run it:

    python -m examples.wechat.server
    XPERT_MQ_PLUGINS=examples.wechat WECHAT_DATABASE=/tmp/wechat.sqlite3 celery -A xpert_mq worker --pool threads

What must not be lost is in the rows: a row is written before its job is enqueued, and tells what is to be done. What
may be lost (limits, locks, half an hour of debouncing) is in Redis. Jobs hold ids only.
"""

# A plugin that is a package imports what declares its handlers.
from . import handlers as handlers
