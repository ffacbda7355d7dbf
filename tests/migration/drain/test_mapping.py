"""The mapping file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from migration.drain.errors import MappingError
from migration.drain.mapping import JobMapping, Rule, read_mapping
from migration.drain.old_job import UnfitError
from migration.drain.translation import Translator
from tests.migration.drain.test_old_job import old_job
from xpert_mq import ManagedQueueService

FULL = """
["mail"."send"]
plugin_name = "acme"
queue_name = { path = "route.queue" }
job_name = "deliver"
tenant_id = { path = "owners.0" }
organization_id = { path = ["a.b", "c"], optional = true }
scope_key = "system:global"
user_id = { none = true }
execution_pool = "sandbox-browser"
id = "old-{queue}-{name}-{id}"
payload = { path = "payload" }
"""
SMALL = '[{table}]\nplugin_name = "{plugin}"\nqueue_name = "q"\ntenant_id = {{ none = true }}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mapping.toml"


@pytest.fixture
def read(path: Path) -> Any:
    def mapping_of(text: str) -> JobMapping:
        path.write_text(text)
        return read_mapping(path)

    return mapping_of


def translator_of(mapping: JobMapping) -> Translator:
    return Translator(mapping, "mail", ManagedQueueService())


def test_all_fields(read: Any) -> None:
    data = b'{"route": {"queue": "q"}, "owners": ["t", 2], "a.b": {"c": 7}, "payload": [1]}'
    job = old_job("delayed", "0", fields={"data": data, "opts": b'{"attempts": 2}', "atm": b"1"}, job_id="é".encode())

    translator = translator_of(read(FULL))

    assert translator.describe(job) == {
        "plugin_name": "acme",
        "queue_name": "q",
        "job_name": "deliver",
        "tenant_id": "t",
        "organization_id": "7",
        "scope_key": "system:global",
        "user_id": None,
        "execution_pool": "sandbox-browser",
        "job_id": "old-mail-send-é",
        "payload": [1],
        "attempts": 2,
    }
    move = translator.translate(job)
    assert (move.target, move.adoption.attempts_made) == ("acme/q/deliver", 1)


def test_the_closest_rule_applies(read: Any) -> None:
    tables = ('"mail"."send"', '"mail"."*"', '"*"."send"', '"*"."*"')
    mapping = read("".join(SMALL.format(table=table, plugin=f"p{n}") for n, table in enumerate(tables)))

    found = [mapping.rule(queue, name).plugin_name for queue in ("mail", "other") for name in ("send", "draw")]

    assert found == ["p0", "p1", "p2", "p3"]
    with pytest.raises(UnfitError, match="no rule for the job name 'send' of 'mail'"):
        read(SMALL.format(table='"mail"."draw"', plugin="p")).rule("mail", "send")


@pytest.mark.parametrize(
    ("line", "data", "said"),
    [
        ('tenant_id = { path = "tenantId" }', b"{}", "its data has no tenantId"),
        ('tenant_id = { path = "tenantId" }', b'{"tenantId": null}', "its data has no tenantId"),
        ('tenant_id = { path = "tenantId" }', b'"text"', "its data has no tenantId"),
        ('tenant_id = { path = "tenantId" }', b'{"tenantId": {"id": 1}}', "tenantId in its data is neither a text"),
        ('tenant_id = { path = "tenantId" }', b'{"tenantId": true}', "tenantId in its data is neither a text"),
        ('tenant_id = { path = "a.7" }', b'{"a": [1]}', "its data has no a.7"),
        ('tenant_id = { path = "tenantId" }', b'{"tenantId": " "}', "does not take it: tenant_id must not be blank"),
        ('tenant_id = "t"\npayload = { path = "payload" }', b"{}", "its data has no payload"),
        ('tenant_id = "t"\nid = "' + "x" * 300 + '{id}"', b"{}", "does not take it: job_id must have at most 300"),
    ],
)
def test_jobs_that_do_not_fit(read: Any, line: str, data: bytes, said: str) -> None:
    mapping = read(f'["*"."*"]\nplugin_name = "p"\nqueue_name = "q"\n{line}\n')

    with pytest.raises(UnfitError, match=said):
        translator_of(mapping).translate(old_job(fields={"data": data}))


def test_payload_that_is_too_large(read: Any) -> None:
    mapping = read(SMALL.format(table='"*"."*"', plugin="p"))

    with pytest.raises(UnfitError, match="does not take it: payload"):
        translator_of(mapping).translate(old_job(fields={"data": b'"' + b"x" * 1_100_000 + b'"'}))


def test_id_that_is_no_text(read: Any) -> None:
    with pytest.raises(UnfitError, match="its id is not UTF-8"):
        translator_of(read(SMALL.format(table='"*"."*"', plugin="p"))).translate(old_job(job_id=b"\xff"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is no TOML"),
        ('mail = "x"', '["mail"] must be a table for each old queue and job name'),
        ('["mail"]\nsend = "x"', '["mail"."send"] must be a table'),
        (
            FULL.replace("plugin_name", "plugin_nme"),
            '["mail"."send"] plugin_nme is not known; the closest known key is',
        ),
        (FULL.replace("plugin_name", "plugin_nme"), '["mail"."send"] lacks plugin_name'),
        (FULL.replace('tenant_id = { path = "owners.0" }', ""), "lacks tenant_id: { path"),
        (
            FULL.replace("optional", "optionl"),
            "organization_id.optionl is not known; the closest known key is 'optional'",
        ),
        (FULL.replace('"system:global"', "3"), "scope_key must be a text, { path"),
        (FULL.replace("{ none = true }", "{ none = false }"), "user_id.none must be true"),
        (FULL.replace("-{id}", ""), "id must have {id} in it"),
        (FULL.replace("{name}", "{nme}"), "id knows {id}, {queue} and {name} alone"),
        (FULL.replace("{name}", "{name:d}"), "id knows {id}, {queue} and {name} alone"),
        (FULL.replace("{name}", "{name!x}"), "id knows {id}, {queue} and {name} alone"),
        (FULL.replace("{name}", "{name"), "id has a brace too many or too few"),
        (FULL.replace('payload = { path = "payload" }', 'payload = "payload"'), "payload must be { path"),
    ],
)
def test_what_is_wrong_is_named(read: Any, path: Path, text: str, said: str) -> None:
    with pytest.raises(MappingError) as caught:
        read(text)

    assert str(caught.value).startswith(str(path))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("was", "wrong", "said"),
    [
        ('"acme"', '""', '["mail"."send"] plugin_name must not be blank'),
        ('"sandbox-browser"', '"none"', "\"send\"] execution_pool 'none' is not declared"),
    ],
)
def test_what_the_managed_queue_never_takes_is_said_at_once(read: Any, was: str, wrong: str, said: str) -> None:
    mapping = read(FULL.replace(was, wrong))

    with pytest.raises(MappingError) as caught:
        Translator(mapping, "mail", ManagedQueueService())

    assert said in str(caught.value)
    Translator(mapping, "another", ManagedQueueService())


def test_files_that_are_none(path: Path) -> None:
    with pytest.raises(MappingError, match="can't be read"):
        read_mapping(path)
    path.write_bytes(b"\xff")
    with pytest.raises(MappingError, match="not UTF-8"):
        read_mapping(path)
    path.write_bytes(b"#" * 2_000_000)
    with pytest.raises(MappingError, match="more than"):
        read_mapping(path)


def test_every_key_is_tried_here() -> None:
    assert set(Rule.model_fields) == {line.partition(" =")[0] for line in FULL.splitlines() if " = " in line}
