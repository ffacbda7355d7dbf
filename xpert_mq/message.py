"""The Celery message that wakes a worker for one job, as a template that the scripts fill.

Celery's own `app.amqp` makes the message and kombu's own producer prepares it, once per process, on kombu's in-memory
transport; so whatever these libraries put into a message is in ours. It carries the task id (job and generation) and no
payload.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from celery import Celery
from celery.loaders.app import AppLoader
from kombu import Connection, Exchange, Producer, Queue

from xpert_mq.store import TASK_NAME

#: The places that a script fills, by the parameter of the rendered function. Each stands in the message as a whole JSON
#: value.
_SLOTS = ("id", "tag", "shadow", "retries", "queue")
_HEADERS_SLOT = "headers"


class Unconfigured(AppLoader):
    """Reads no configuration: that which the environment names is another application's."""

    def read_configuration(self, env: str = "") -> dict[str, Any]:
        """Celery's defaults."""
        return {}


def _slot(name: str) -> str:
    return f"\x00{name}\x00"


@functools.cache
def template() -> str:
    """The message as JSON text, each value to fill written as `"\\u0000name\\u0000"`.

    The order of the members is ours: `properties` first, so that the first `delivery_tag` in the text is the message's
    own, whatever headers a plugin adds.
    """
    app = Celery(TASK_NAME, set_as_current=False, fixups=[], loader=Unconfigured)
    message = app.amqp.as_task_v2(
        _slot("id"), TASK_NAME, args=(), kwargs={}, shadow=_slot("shadow"), retries=_slot("retries"), origin=TASK_NAME
    )
    with Connection("memory://") as connection, connection.channel() as channel:
        queue = Queue("xpert_mq.template", Exchange(""), routing_key="xpert_mq.template", channel=channel)
        queue.queue_declare()
        # As Task.apply_async: a direct queue is addressed through the anonymous exchange.
        Producer(channel, serializer="json", auto_declare=False).publish(
            message.body,
            exchange="",
            routing_key=queue.name,
            headers=message.headers,
            delivery_mode=2,
            **message.properties,
        )
        raw = queue.get(no_ack=True)._raw
        queue.delete()
    raw["properties"]["delivery_tag"] = _slot("tag")
    raw["properties"]["delivery_info"]["routing_key"] = _slot("queue")
    raw["headers"][_slot(_HEADERS_SLOT)] = None
    return json.dumps({"properties": raw.pop("properties"), **raw}, separators=(",", ":"))


@functools.cache
def lua_fill_function() -> str:
    """The template as a Lua function `FILL(id, tag, shadow, retries, queue, headers)`.

    The arguments are JSON texts, but `tag` is a bare number and `headers` the inside of a JSON object (or empty).
    """
    text = template().replace(f',"\\u0000{_HEADERS_SLOT}\\u0000":null', _placeholder(_HEADERS_SLOT))
    for name in _SLOTS:
        text = text.replace(f'"\\u0000{name}\\u0000"', _placeholder(name))
    parts = re.split("\x00(\\w+)\x00", text)
    filled = " .. ".join(_lua_part(index, part) for index, part in enumerate(parts))
    return f"local function FILL(id, tag, shadow, retries, queue, headers) return {filled} end"


def _placeholder(name: str) -> str:
    return f"\x00{name}\x00"


def _lua_part(index: int, part: str) -> str:
    if index % 2 == 0:
        return f"[==[{part}]==]"
    if part == "tag":
        return "'\"' .. tag .. '\"'"
    if part == _HEADERS_SLOT:
        return "(headers ~= '' and ',' .. headers or '')"
    return part
