"""A Flask application with a factory, a database and handlers. Its config names the queue's prefix."""

from __future__ import annotations

import os
from typing import Any

from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, Integer, event, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from xpert_mq import ManagedQueueJob, managed_queue, plugin_job_processor
from xpert_mq.contrib.flask import XpertMQ

PLUGIN = "shop"
Job = ManagedQueueJob[dict[str, Any]]


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class Order(db.Model):  # type: ignore[name-defined,misc] # made at run time
    id: Mapped[int] = mapped_column(Integer, primary_key=True)


@event.listens_for(Engine, "connect")
def note_process(_: Any, record: Any) -> None:
    record.info["pid"] = os.getpid()


def create_app() -> Flask:
    app = Flask(__name__)
    app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["SHOP_DATABASE"]
    app.config["MANAGED_QUEUE_PREFIX"] = os.environ["SHOP_PREFIX"]
    XpertMQ(app)
    db.init_app(app)
    with app.app_context():
        # Leaves a connection in the pool, also in the process that a worker's children are forked from.
        db.create_all()
        db.session.scalar(select(func.count(Order.id)))
    return app


def order(payload: dict[str, Any]) -> dict[str, Any]:
    """Adds a row and a job with it, and commits only if it is to. Tells what it found."""
    found = {
        "app": current_app.import_name,
        "begun": db.session().in_transaction(),
        "used": db.engine.pool.checkedout(),  # type: ignore[attr-defined] # of the pool of file databases
        "orders": db.session.scalar(select(func.count(Order.id))),
        "own_connection": db.session.connection().info["pid"] == os.getpid(),
    }
    db.session.add(Order())
    db.session.flush()
    managed_queue.enqueue(
        plugin_name=PLUGIN, queue_name="sync", job_name="packed", job_id=payload["next"], on_commit=True
    )
    if payload["then"] == "commit":
        db.session.commit()
    elif payload["then"] == "raise":
        raise ValueError("out of stock")
    return found


@plugin_job_processor(plugin_name=PLUGIN, queue_name="sync", job_name="order")
def order_sync(job: Job) -> dict[str, Any]:
    return order(job.data)


@plugin_job_processor(plugin_name=PLUGIN, queue_name="async", job_name="order")
async def order_async(job: Job) -> dict[str, Any]:
    return order(job.data)


@plugin_job_processor(plugin_name=PLUGIN, queue_name="sync", job_name="packed")
class Packed:
    def handle(self, job: Job) -> str:
        return current_app.import_name
