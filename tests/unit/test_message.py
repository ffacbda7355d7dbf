from __future__ import annotations

import base64
import json
import re

import celery

from xpert_mq import message
from xpert_mq.store import TASK_NAME


def test_template_is_json_with_properties_first() -> None:
    parsed = json.loads(message.template())

    assert next(iter(parsed)) == "properties"
    assert parsed["headers"]["task"] == TASK_NAME
    assert json.loads(base64.b64decode(parsed["body"]))[:2] == [[], {}]


def test_template_s_first_delivery_tag_is_its_own() -> None:
    text = message.template()

    assert text.index('"delivery_tag"') < text.index('"headers"')


def test_template_has_a_place_for_each_value() -> None:
    parsed = json.loads(message.template())
    headers, properties = parsed["headers"], parsed["properties"]

    assert {headers[name] for name in ("id", "root_id")} | {properties["correlation_id"]} == {"\0id\0"}
    assert (headers["shadow"], headers["retries"]) == ("\0shadow\0", "\0retries\0")
    assert properties["delivery_tag"] == "\0tag\0"
    assert properties["delivery_info"] == {"exchange": "", "routing_key": "\0queue\0"}


def test_fill_function_leaves_no_place_open() -> None:
    function = message.lua_fill_function()

    assert function.startswith("local function FILL(id, tag, shadow, retries, queue, headers) return ")
    assert function.endswith(" end")
    assert "\0" not in function
    assert "\\u0000" not in function
    for name in ("id", "shadow", "retries", "queue"):
        assert re.search(rf"\.\. {name} \.\.", function)


def test_template_s_fixed_parts_fit_lua_s_brackets() -> None:
    assert "]==]" not in message.template()
    assert "\n" not in message.template()


def test_template_is_made_once_and_is_stable() -> None:
    first = message.template()
    assert message.template() is first
    message.template.cache_clear()
    assert message.template() == first


def test_template_touches_no_current_application() -> None:
    before = celery.current_app._get_current_object()
    message.template.cache_clear()
    message.template()

    assert celery.current_app._get_current_object() is before
    assert TASK_NAME not in before.tasks


def test_template_names_neither_host_nor_process() -> None:
    """The same text in every process, so the same script everywhere: one entry in the server's cache."""
    assert not re.search(r"@|gen\d+", message.template())
