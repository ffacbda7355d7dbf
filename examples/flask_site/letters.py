"""What users write: the table, the pages, and the job that hands a letter to the plugin."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import BigInteger, CheckConstraint, String, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.wrappers import Response

from xpert_mq import JobSnapshot, ManagedQueueJob, current_context, managed_queue, plugin_job_processor

from ..wechat import keys
from ..wechat.messages import WAITING, Message
from ..wechat.outbound import Outbound
from ..wechat.rows import Rows
from ..wechat.settings import get_settings

PLUGIN = "flask-site"
SHOWN = 20

pages = Blueprint("letters", __package__ or __name__)


class Base(DeclarativeBase):
    """The site's tables."""


db = SQLAlchemy(model_class=Base)


class Letter(db.Model):  # type: ignore[name-defined,misc] # made at run time
    """A letter of a tenant. `row_id` is the plugin's, once the plugin has it."""

    __table_args__ = (CheckConstraint("contact <> '' AND text <> ''", name="complete"),)

    id: Mapped[str] = mapped_column(String, primary_key=True, default=lambda: uuid.uuid4().hex)
    tenant_id: Mapped[str]
    user_id: Mapped[str]
    contact: Mapped[str]
    text: Mapped[str]
    row_id: Mapped[str | None]
    written_ns: Mapped[int] = mapped_column(BigInteger, default=time.time_ns)

    @property
    def job_id(self) -> str:
        """Of the job that hands it over."""
        return f"letter:{self.id}"


@plugin_job_processor(plugin_name=PLUGIN, queue_name="letters", job_name="hand-over")
def hand_over(job: ManagedQueueJob[dict[str, str]]) -> None:
    """Gives the letter to the plugin, which sends it within its limits. Safe to run again: the letter's id is the
    message's.
    """
    letter = _own(job.data["letter"])
    letter.row_id = _outbound().send(Message("main", letter.user_id, letter.contact, letter.id, letter.text)).id
    db.session.commit()


@dataclass(frozen=True, slots=True)
class Line:
    """A letter on the page. `job` is the job that it waits for, or waited for."""

    letter: Letter
    status: str
    reason: str | None
    job: JobSnapshot | None
    can_cancel: bool
    can_retry: bool


@pages.before_request
def _only_for_users() -> Response | None:
    return None if current_context().user else redirect(url_for("sign_in"))


@pages.get("/")
def show() -> str:
    """The form, and the latest letters of the tenant."""
    wanted = select(Letter).filter_by(tenant_id=current_context().tenant_id)
    latest = db.session.scalars(wanted.order_by(Letter.written_ns.desc()).limit(SHOWN))
    return render_template("letters.html", lines=[_line(letter) for letter in latest])


@pages.post("/letters")
def write() -> Response:
    """Keeps a letter, and enqueues its job with the commit."""
    context = current_context()
    contact, text = request.form["contact"].strip(), request.form["text"].strip()
    letter = Letter(
        id=uuid.uuid4().hex, tenant_id=context.tenant_id, user_id=context.user_id, contact=contact, text=text
    )
    db.session.add(letter)
    managed_queue.enqueue(
        plugin_name=PLUGIN,
        queue_name="letters",
        job_name="hand-over",
        payload={"letter": letter.id},
        job_id=letter.job_id,
        delay_ms=1000 * request.form.get("seconds", 0, type=int),
        on_commit=True,
    )
    try:
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        flash("Nothing was sent: a letter needs a contact and a text.")
    return redirect(url_for("letters.show"))


@pages.post("/letters/<id_>/cancel")
def cancel(id_: str) -> Response:
    """Takes a letter back that is not being sent yet."""
    letter = _own(id_)
    # It may be handed over between the page and now.
    done = managed_queue.cancel(letter.job_id).success or (letter.row_id and _outbound().cancel(letter.row_id))
    flash("Cancelled." if done else "Too late to cancel.")
    return redirect(url_for("letters.show"))


@pages.post("/letters/<id_>/retry")
def retry(id_: str) -> Response:
    """Sends a letter after all that has failed, or was cancelled at the plugin."""
    letter = _own(id_)
    done = _outbound().retry(letter.row_id) if letter.row_id else managed_queue.retry(letter.job_id).success
    flash("It is sent again." if done else "There is nothing to send again.")
    return redirect(url_for("letters.show"))


def _own(id_: str) -> Letter:
    """The tenant's letter; another tenant's is as unknown as one that never was."""
    wanted = select(Letter).filter_by(id=id_, tenant_id=current_context().tenant_id)
    letter: Letter | None = db.session.scalar(wanted)
    return letter or abort(404)


def _line(letter: Letter) -> Line:
    row = _rows().outbound(letter.row_id) if letter.row_id else None
    if row is None:
        job = managed_queue.get_job(letter.job_id)
        state = job.state if job else "cancelled"
        reason = job.failed_reason if job else None
        return Line(letter, state, reason, job, state in ("waiting", "delayed"), state == "failed")
    return Line(
        letter,
        row.status,
        row.reason,
        managed_queue.get_job(keys.send_id(row)),
        row.status in (*WAITING, "paused"),
        row.status in ("failed", "cancelled"),
    )


def _rows() -> Rows:
    return Rows(get_settings().database)


def _outbound() -> Outbound:
    return Outbound(managed_queue, _rows())
