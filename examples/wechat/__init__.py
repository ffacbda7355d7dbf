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
    recover    recovers for all tenants: a command for cron
    client     requests to the chat service
    server     a chat service to try it with: `python -m examples.wechat.server`
    keys       every name: plugin, queues, jobs, job ids, keys, locks
    settings   the environment, and what can be set per integration

To run it, start the service and a worker, each in a terminal of its own:

    python -m examples.wechat.server
    XPERT_MQ_PLUGINS=examples.wechat WECHAT_DATABASE=/tmp/wechat.sqlite3 celery -A xpert_mq worker --pool threads

In a third one `WECHAT_DATABASE=/tmp/wechat.sqlite3 python` is the application. A tenant gets an integration, sends a
message, and receives two:

    from examples.wechat.inbound import Inbound
    from examples.wechat.messages import Message
    from examples.wechat.outbound import Outbound
    from examples.wechat.rows import Rows
    from examples.wechat.settings import Integration, get_settings
    from xpert_mq import managed_queue, request_context

    rows = Rows(get_settings().database)
    outbound, inbound = Outbound(managed_queue, rows), Inbound(managed_queue, rows)
    with request_context(tenant_id="acme", organization_id="hq"):
        rows.save_integration(Integration(id="main", url="http://127.0.0.1:8600", token="acme-token"))
        sent = outbound.send(Message("main", "alice", "bob", "out-1", "Hello Bob"))
        for number, text in enumerate(("Hello Alice", "How are you?"), 1):
            inbound.receive(Message("main", "alice", "bob", f"in-{number}", text))

`curl http://127.0.0.1:8600/log` shows the message at once, and after three seconds of quiet both that came in, in one
dispatch. In the context, `rows.outbound(sent.id).status` tells what became of the message. In a request of a web
framework the context is there already.

A crash between a row and its job leaves a row that waits. `python -m examples.wechat.recover`, once a minute by cron,
finds such rows of all tenants; no worker does that by itself.

What must not be lost is in the rows: a row is written before its job is enqueued, and tells what is to be done. What
may be lost (limits, locks, half an hour of debouncing) is in Redis. Jobs hold ids only.
"""

# A plugin that is a package imports what declares its handlers.
from . import handlers as handlers
