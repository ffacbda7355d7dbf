"""What users write: the table, the pages, and the job that hands a letter to the plugin."""

from __future__ import annotations

import time
import uuid

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import BigInteger, CheckConstraint, String, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from werkzeug.wrappers import Response

from xpert_mq import ManagedQueueJob, current_context, managed_queue, plugin_job_processor

from ..sites import letters

PLUGIN = "flask-site"

pages = Blueprint("letters", __package__ or __name__)


class Base(DeclarativeBase):
    """The site's tables."""


db = SQLAlchemy(model_class=Base)


class Letter(db.Model):  # type: ignore[name-defined,misc] # made at run time
    """A letter of a tenant. `row_id` is the plugin's, once the plugin has it."""

    __table_args__ = (CheckConstraint("contact <> '' AND text <> ''", name="complete"),)

    id: Mapped[str] = mapped_column(String, primary_key=True)
    tenant_id: Mapped[str]
    user_id: Mapped[str]
    contact: Mapped[str]
    text: Mapped[str]
    row_id: Mapped[str | None]
    written_ns: Mapped[int] = mapped_column(BigInteger, default=time.time_ns)


@plugin_job_processor(plugin_name=PLUGIN, queue_name="letters", job_name="hand-over")
def hand_over(job: ManagedQueueJob[dict[str, str]]) -> None:
    """Gives the letter to the plugin."""
    letter = _own(job.data["letter"])
    letter.row_id = letters.hand_over(letter)
    db.session.commit()


@pages.before_request
def _only_for_users() -> Response | None:
    return None if current_context().user else redirect(url_for("sign_in"))


@pages.get("/")
def show() -> str:
    """The form, and the latest letters of the tenant."""
    wanted = select(Letter).filter_by(tenant_id=current_context().tenant_id)
    latest = db.session.scalars(wanted.order_by(Letter.written_ns.desc()).limit(letters.SHOWN))
    return render_template("letters.html", lines=[letters.line(letter) for letter in latest])


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
        letters.HAND_OVER,
        plugin_name=PLUGIN,
        payload={"letter": letter.id},
        job_id=letters.job_id(letter),
        delay_ms=letters.delay_ms(request.form.get("seconds", "")),
        on_commit=True,
    )
    try:
        db.session.commit()
    except IntegrityError:
        db.session.rollback()
        flash(letters.REFUSED)
    return redirect(url_for("letters.show"))


@pages.post("/letters/<id_>/cancel")
def cancel(id_: str) -> Response:
    """Takes a letter back that is not being sent yet."""
    flash(letters.cancel(_own(id_)))
    return redirect(url_for("letters.show"))


@pages.post("/letters/<id_>/retry")
def retry(id_: str) -> Response:
    """Sends a letter after all that has failed, or was cancelled at the plugin."""
    flash(letters.retry(_own(id_)))
    return redirect(url_for("letters.show"))


def _own(id_: str) -> Letter:
    """The tenant's letter; another tenant's is as unknown as one that never was."""
    wanted = select(Letter).filter_by(id=id_, tenant_id=current_context().tenant_id)
    letter: Letter | None = db.session.scalar(wanted)
    return letter or abort(404)
