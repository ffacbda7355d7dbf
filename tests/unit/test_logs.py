from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from xpert_mq.handlers import registry
from xpert_mq.logs import JOB_FIELDS, TEXT_FORMAT, JobFilter, JsonFormatter, LoggedJob, TextFormatter, lines_of
from xpert_mq.models import Envelope, JobOptions
from xpert_mq.store.store import Claim

NAMES = ("@acme/chat", "out", "send")
FORGED = "\n[2026-01-01 00:00:00,000: INFO/MainProcess] forged"
ABOUT = {"plugin_name": NAMES[0], "queue_name": NAMES[1], "job_name": NAMES[2]}


def claim(job_id: str = "j-1", tenant_id: str | None = "t-1", made: int = 0) -> Claim:
    token = f":{job_id}" if tenant_id is None else f"{len(tenant_id.encode())}:{tenant_id}:{job_id}"
    envelope = Envelope(plugin_name=NAMES[0], queue_name=NAMES[1], job_name=NAMES[2], tenant_id=tenant_id)
    return Claim(token, "n", "node", "q", envelope, JobOptions(attempts=3), b"null", made, ())


def request(task_id: str = "3:t-1:j-1:7") -> SimpleNamespace:
    return SimpleNamespace(id=task_id)


def record(message: str = "hello", *args: Any, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("vendor", logging.INFO, __file__, 1, message, args, None)
    made.__dict__.update(extra)
    return made


def filtered(made: logging.LogRecord) -> dict[str, Any]:
    assert JobFilter().filter(made)
    return {name: getattr(made, name) for name in (*JOB_FIELDS, "job_suffix")}


def entry(made: logging.LogRecord) -> dict[str, Any]:
    text = JsonFormatter().format(made)
    assert text.isascii()
    assert "\n" not in text
    said: dict[str, Any] = json.loads(text)
    return said


@pytest.fixture
def registered() -> Iterator[None]:
    forget = [
        registry.register(plugin_name=plugin, queue_name=queue, job_name=job, handler=lambda job: None)
        for plugin, queue, job in (("other", "out", "send"), NAMES)
    ]
    yield
    for one in forget:
        one()


def test_fields_within_a_job_and_outside() -> None:
    nothing = {**dict.fromkeys(JOB_FIELDS, "-"), "job_suffix": ""}
    assert filtered(record()) == nothing
    with lines_of(claim(made=1), request()):
        assert filtered(record()) == {
            "job_id": "j-1",
            "tenant_id": "t-1",
            **ABOUT,
            "job_try": 2,
            "task_id": "3:t-1:j-1:7",
            "job_suffix": " [t-1 @acme/chat/out/send 2/3 j-1]",
        }
    assert filtered(record()) == nothing


def test_jobs_fields_replace_those_of_the_code() -> None:
    made = record(tenant_id="globex", job_suffix=" [globex]", order=7)

    with lines_of(claim(tenant_id=None), request(":j-1:7")):
        fields = filtered(made)

    assert (fields["tenant_id"], fields["job_suffix"]) == ("-", " [- @acme/chat/out/send 1/3 j-1]")
    assert made.__dict__["order"] == 7


def test_record_keeps_its_job_when_it_is_written_elsewhere() -> None:
    made = record()
    with lines_of(claim(), request()):
        before = filtered(made)

    assert filtered(made) == before


def test_fields_end_with_a_job_that_raises() -> None:
    with pytest.raises(ValueError, match="no"), lines_of(claim(), request()):
        raise ValueError("no")

    assert filtered(record())["job_id"] == "-"


@pytest.mark.parametrize(
    ("tenant_id", "job_id", "suffix"),
    [
        (None, "j", "[- p 1/3 j]"),
        ("-", "-", '["-" p 1/3 "-"]'),
        ("a b", "j]", '["a b" p 1/3 "j]"]'),
        ("ä:漢", "a:b/c", "[ä:漢 p 1/3 a:b/c]"),
        ('"', "\\", '["\\"" p 1/3 \\]'),
        ("t\n", "\x1b[2K\ud800", '["t\\n" p 1/3 "\\u001b[2K\\ud800"]'),
    ],
)
def test_suffix_is_of_unmistakable_words(tenant_id: str | None, job_id: str, suffix: str) -> None:
    said = LoggedJob(job_id, tenant_id, "", NAMES, 1, 3).suffix()

    assert said == f" {suffix}".replace(" p ", " @acme/chat/out/send ")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"id": "3:t-1:j:1:7", "name": "@acme/chat/out/send"}, {"job_id": "j:1", "tenant_id": "t-1", **ABOUT}),
        ({"id": ":j:7", "name": "@acme/chat/out/receive"}, {"job_id": "j"}),
        ({"id": "a-task-of-another", "name": "x"}, {}),
        ({"id": None}, {}),
        ({}, {}),
        ("text", {}),
    ],
)
def test_what_celery_says_of_a_message(data: object, fields: dict[str, str]) -> None:
    found = filtered(record(data=data))

    known = {name: found[name] for name in JOB_FIELDS if found[name] != "-" and name != "task_id"}
    assert known == fields
    assert found["job_try"] == "-"


@pytest.mark.parametrize("use_color", [False, True])
def test_text_begins_one_entry_only(use_color: bool) -> None:
    formatter = TextFormatter(TEXT_FORMAT)
    formatter.use_color = use_color
    made = record("said%s\r\x1b[2K\u2028\ud800", FORGED)
    made.levelname = "ERROR"
    try:
        raise LookupError(FORGED)
    except LookupError:
        made.exc_info = sys.exc_info()

    with lines_of(claim(), request()):
        text = formatter.format(made)

    first, *more = text.split("\n")
    assert first.endswith("said")
    assert more[0].endswith("forged\\u000d\\u001b[2K\\u2028\\ud800 [t-1 @acme/chat/out/send 1/3 j-1]")
    assert all(line.startswith("    ") for line in more)
    assert text.startswith("\x1b") is use_color
    assert text.count("\x1b") == 2 * use_color


def test_json_outside_of_a_job() -> None:
    assert (
        entry(record("said %s", FORGED)).items()
        >= {"level": "INFO", "logger": "vendor", "message": f"said {FORGED}"}.items()
    )
    assert not entry(record()).keys() & set(JOB_FIELDS)


def test_json_within_a_job() -> None:
    with lines_of(claim("j\ud800"), request()):
        said = entry(record(tenant_id="globex", level="DEBUG", action="sent"))

    assert (said["job_id"], said["tenant_id"], said["job_try"]) == ("j\ud800", "t-1", 1)
    assert (said["level"], said["action"]) == ("INFO", "sent")


def test_json_of_what_has_none() -> None:
    endless: list[Any] = []
    endless.append(endless)

    said = entry(record(a={1}, b=float("nan"), c=endless, d={("k",): 1}, e={"k": [1, None]}))

    assert [said[name] for name in "abcde"] == ["{1}", "nan", "[[...]]", "{('k',): 1}", {"k": [1, None]}]


def test_json_of_an_exception() -> None:
    made = record()
    try:
        raise LookupError(FORGED)
    except LookupError:
        made.exc_info = sys.exc_info()
    made.stack_info = "Stack"

    said = entry(made)

    assert said["exception"].endswith(f"LookupError: {FORGED}")
    assert said["stack"] == "Stack"
