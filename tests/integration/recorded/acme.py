"""The plugin of the recorded jobs: what its one handler does stands in the job's data.

It uses nothing but the public names, since releases of all ages run it.
"""

from __future__ import annotations

import json
import time
from typing import Any

from xpert_mq import Defer, ManagedQueueJob, current_context, managed_queue, registry

PLUGIN, QUEUE = "acme", "post"

#: A try ends by itself after so many seconds at a gate.
GATE_SECONDS = 120


def key(prefix: str, kind: str, name: str = "") -> str:
    """A key of the plugin's own, not among the platform's."""
    return f"{prefix}-{kind}:{name}"


def act(job: ManagedQueueJob[Any]) -> Any:
    """Notes its start; counts its steps; waits at a gate; then defers itself, fails, or ends, as its data says."""
    client, prefix = managed_queue.get_redis(), managed_queue.settings.prefix
    said = {"id": job.id, "tenant_id": current_context().tenant_id, "attempts_made": job.attempts_made}
    client.rpush(key(prefix, "starts"), json.dumps({**said, "data": job.data}))
    data = dict(job.data)
    if "step" in data:
        data["step"] += 1
        job.update_data(data)
    until = time.monotonic() + GATE_SECONDS
    while "gate" in data and not client.exists(key(prefix, "gate", data["gate"])):
        if time.monotonic() > until:
            raise TimeoutError(data["gate"])
        time.sleep(0.02)
    if "defer_ms" in data:
        delay_ms = data.pop("defer_ms")
        job.update_data(data)
        raise Defer(delay_ms)
    if data.get("fails"):
        job.update_data({**data, "fails": data["fails"] - 1})
        raise ValueError(f"ging schief, über {data['fails']} mal")
    return data.get("result")


for name, concurrency in (("send", None), ("alone", 1)):
    registry.register(plugin_name=PLUGIN, queue_name=QUEUE, job_name=name, handler=act, concurrency=concurrency)
