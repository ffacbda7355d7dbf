"""What becomes of a letter. The sites keep letters in their frameworks' tables; the plugin keeps the messages.

A letter's first job hands it to the plugin, which sends it by a job of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from xpert_mq import JobSnapshot, managed_queue

from ..wechat import keys
from ..wechat.messages import WAITING, Message, OutboundRow
from ..wechat.outbound import Outbound
from ..wechat.rows import Rows
from ..wechat.settings import get_settings

#: Of the job that hands a letter over: an error that passes must not lose the letter.
HAND_OVER: dict[str, Any] = {"queue_name": "letters", "job_name": "hand-over", "attempts": 3, "backoff_ms": 1000}
#: The plugin's integration; each tenant has one of this name.
INTEGRATION = "main"
#: Letters on the page.
SHOWN = 20
REFUSED = "Nothing was sent: a letter needs a contact and a text."


class Letter(Protocol):
    """A site's own row of it. `row_id` is the plugin's, once the plugin has it."""

    id: str
    user_id: Any
    contact: str
    text: str
    row_id: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """A letter on the page. `job` is the job that it waits for, or waited for."""

    letter: Letter
    status: str
    reason: str | None
    job: JobSnapshot | None
    can_cancel: bool
    can_retry: bool


def job_id(letter: Letter) -> str:
    """Of the job that hands it over."""
    return f"letter:{letter.id}"


def delay_ms(seconds: str) -> int:
    """What the form's field means; at most a day."""
    return 1000 * min(int(seconds), 86_400) if seconds.isdecimal() else 0


def hand_over(letter: Letter) -> str:
    """Gives the letter to the plugin, which sends it within its limits; gives the plugin's id of it. Safe to run again:
    the letter's id is the message's.
    """
    return _outbound().send(Message(INTEGRATION, str(letter.user_id), letter.contact, letter.id, letter.text)).id


def cancel(letter: Letter) -> str:
    """Takes a letter back that is not being sent yet; gives what to tell the user."""
    done = _outbound().cancel(letter.row_id) if letter.row_id else managed_queue.cancel(job_id(letter)).success
    return "Cancelled." if done else "Too late to cancel."


def retry(letter: Letter) -> str:
    """Sends a letter after all that has failed, or was cancelled at the plugin; gives what to tell the user."""
    done = _outbound().retry(letter.row_id) if letter.row_id else managed_queue.retry(job_id(letter)).success
    return "It is sent again." if done else "There is nothing to send again."


def line(letter: Letter) -> Line:
    """What the page says of the letter."""
    row = _rows().outbound(letter.row_id) if letter.row_id else None
    return _before(letter) if row is None else _after(letter, row)


def _before(letter: Letter) -> Line:
    job = managed_queue.get_job(job_id(letter))
    state = job.state if job else "cancelled"
    reason = job.failed_reason if job else None
    return Line(letter, state, reason, job, state in ("waiting", "delayed"), state == "failed")


def _after(letter: Letter, row: OutboundRow) -> Line:
    job = managed_queue.get_job(keys.send_id(row))
    can_cancel, can_retry = row.status in (*WAITING, "paused"), row.status in ("failed", "cancelled")
    return Line(letter, row.status, row.reason, job, can_cancel, can_retry)


@cache
def _of(database: Path) -> Rows:
    return Rows(database)


def _rows() -> Rows:
    return _of(get_settings().database)


def _outbound() -> Outbound:
    return Outbound(managed_queue, _rows())
