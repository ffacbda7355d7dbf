"""What a worker's log lines say of the job they belong to, and the formats `text` and `json`.

A line belongs to a job when its handler writes it, or code that the handler calls; or dispatch and Celery while they
work on the job. The names are `JOB_FIELDS`; a platform that sets up logging by itself adds a `JobFilter` to its
handlers, and may use them in its own formats.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from celery._state import get_current_task
from celery.app import log as celery_log

from xpert_mq.handlers import registry
from xpert_mq.service import managed_queue
from xpert_mq.store import TASK_NAME
from xpert_mq.store.keys import split_task_id, split_token
from xpert_mq.store.store import Claim

#: What every record gets; `-` where there is none. `job_try` counts from 1.
JOB_FIELDS = ("job_id", "tenant_id", "plugin_name", "queue_name", "job_name", "job_try", "task_id")
_NONE = "-"

#: Where the text format shows the job, in short; nothing outside of jobs.
SUFFIX = "job_suffix"

#: Of the platform's text format; Celery's own, with the job behind the message.
TEXT_FORMAT = f"[%(asctime)s: %(levelname)s/%(processName)s] %(message)s%({SUFFIX})s"

#: What a terminal or a collector of logs would obey, or can't be written: control characters but tab and line feed,
#: line separators, and what UTF-8 can't hold.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_WORD = re.compile(r'[^\s\[\]"\x00-\x1f\x7f-\x9f\ud800-\udfff]+')

#: Attributes that the logging module and Celery put on records.
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "data", "task_name", SUFFIX}


@dataclass(frozen=True, slots=True)
class LoggedJob:
    """The job that lines belong to; None for what is not known."""

    job_id: str
    tenant_id: str | None
    task_id: str | None = None
    names: tuple[str, str, str] | None = None
    job_try: int | None = None
    attempts: int | None = None

    @classmethod
    def of_claim(cls, claim: Claim, task_id: str) -> LoggedJob:
        """A job in one of its tries."""
        of = claim.envelope
        names = (of.plugin_name, of.queue_name, of.job_name)
        return cls(claim.job_id, of.tenant_id, task_id, names, claim.attempts_made + 1, claim.opts.attempts)

    @classmethod
    def of_message(cls, task_id: object, shadow: object) -> LoggedJob | None:
        """The job that a message wakes, before it is claimed; None if it is of none."""
        if not isinstance(task_id, str):
            return None
        try:
            token, _ = split_task_id(task_id)
        except ValueError:
            return None
        tenant_id, job_id = split_token(token)
        return cls(job_id, tenant_id, task_id, _names_of(shadow))

    def fields(self) -> dict[str, Any]:
        """`JOB_FIELDS`."""
        values = (self.job_id, self.tenant_id, *(self.names or (None,) * 3), self.job_try, self.task_id)
        return {name: _NONE if value is None else value for name, value in zip(JOB_FIELDS, values, strict=True)}

    def suffix(self) -> str:
        """` [tenant plugin/queue/job try/attempts id]`."""
        tenant = _NONE if self.tenant_id is None else _word(self.tenant_id)
        names = "/".join(map(_word, self.names)) if self.names else _NONE
        tries = _NONE if self.job_try is None else f"{self.job_try}/{self.attempts}"
        return f" [{tenant} {names} {tries} {_word(self.job_id)}]"


def _word(text: str) -> str:
    """The text as one word, which nothing else is written as."""
    return text if _WORD.fullmatch(text) and text != _NONE else json.dumps(text)


def _names_of(shadow: object) -> tuple[str, str, str] | None:
    # Names may have slashes, so they are looked up and not split.
    for one in registry.handlers():
        names = one.plugin_name, one.queue_name, one.job_name
        if "/".join(names) == shadow:
            return names
    return None


#: The claim of the running job, and the task id. What lines say of them is made when there are lines.
_running: ContextVar[tuple[Claim, str] | None] = ContextVar("xpert_mq_logged_job", default=None)


@contextmanager
def lines_of(claim: Claim, request: Any) -> Iterator[None]:
    """For the block, and what it starts, lines belong to the claimed job; with the request also what Celery says after
    the block.
    """
    running = request.logged_job = claim, request.id
    before = _running.set(running)
    try:
        yield
    finally:
        _running.reset(before)


def _job_of(record: logging.LogRecord) -> LoggedJob | None:
    if running := _running.get():
        return LoggedJob.of_claim(*running)
    task: Any = get_current_task()
    if task is not None and task.name == TASK_NAME:
        request = task.request
        running = getattr(request, "logged_job", None)
        return LoggedJob.of_claim(*running) if running else LoggedJob.of_message(request.id, request.shadow)
    # Of the worker's main process, where Celery speaks of a message.
    data = getattr(record, "data", None)
    return LoggedJob.of_message(data.get("id"), data.get("name")) if isinstance(data, Mapping) else None


class JobFilter(logging.Filter):
    """Gives each record `JOB_FIELDS` and `job_suffix`; for handlers. It keeps nothing back."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Within a job its fields replace what a record has under these names."""
        add_job(record)
        return True


def add_job(record: logging.LogRecord) -> None:
    """What `JobFilter` does."""
    fields = record.__dict__
    if job := _job_of(record):
        fields.update(job.fields(), task_name=TASK_NAME, **{SUFFIX: job.suffix()})
    else:
        # What is there stays: the record may have come from its job through a queue of records.
        fields.update({**dict.fromkeys(JOB_FIELDS, _NONE), SUFFIX: "", **fields})


class _OneEntry(logging.Formatter):
    """Text that can't pass for another entry: further lines are indented, and control characters are escaped."""

    def format(self, record: logging.LogRecord) -> str:
        text = _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", super().format(record))
        return text.replace("\n", "\n    ")


class TextFormatter(celery_log.TaskFormatter, _OneEntry):  # type: ignore[misc] # has no types
    """Celery's formatter, which colours what `_OneEntry` writes."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry."""
        add_job(record)
        text: str = super().format(record)
        return text


class JsonFormatter(logging.Formatter):
    """One line of JSON for each entry: time, level, logger, message, process, the job's fields, and what the code gave
    as `extra` under other names. In ASCII.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The entry."""
        add_job(record)
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            entry["stack"] = self.formatStack(record.stack_info)
        more = {name: value for name, value in vars(record).items() if name not in _STANDARD and name not in entry}
        known = {name: value for name, value in more.items() if name not in JOB_FIELDS or value != _NONE}
        return json.dumps(entry | {name: _jsonable(value) for name, value in known.items()})


def _jsonable(value: object) -> object:
    """The value, or its text where it has no JSON."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)
    return value


class Logging(celery_log.Logging):  # type: ignore[misc] # has no types
    """Sets up a worker's logging as Celery does, with formatters that know the job."""

    def setup_handlers(
        self, logger: Any, logfile: Any, format: str, colorize: Any, formatter: Any = None, **options: Any
    ) -> Any:
        """Gives the logger a handler, unless it has one."""
        super().setup_handlers(logger, logfile, format, colorize, formatter=_formatter, **options)
        for handler in logger.handlers:
            _give_native_lock(handler)
        return logger


def _give_native_lock(handler: logging.Handler) -> None:
    """gevent's locks may leave threads of the system waiting for ever, and the event loop and the heartbeat are such
    threads.
    """
    if monkey := sys.modules.get("gevent.monkey"):
        handler.lock = monkey.get_original("_thread", "RLock")()


def _formatter(format: str, datefmt: str | None = None, use_color: bool = False) -> logging.Formatter:
    if managed_queue.settings.log_format == "json":
        return JsonFormatter()
    made = TextFormatter(format, datefmt)
    made.use_color = use_color
    return made
