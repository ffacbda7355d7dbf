"""`on_commit` with Flask-SQLAlchemy: a job is added when, and only if, the session's transaction is committed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Integer, event, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from xpert_mq import (
    EnqueueResult,
    InvalidJobError,
    JobIdConflictError,
    ManagedQueueService,
    QueueUnavailableError,
    Settings,
)
from xpert_mq.contrib.flask import XpertMQ

JOB: dict[str, Any] = {"plugin_name": "p", "queue_name": "q", "job_name": "j"}


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class Note(db.Model):  # type: ignore[name-defined,misc] # made at run time
    id: Mapped[int] = mapped_column(Integer, primary_key=True)


class Other(db.Model):  # type: ignore[name-defined,misc] # made at run time
    __bind_key__ = "second"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)


def make_app(folder: Path, **config: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{folder / 'one.sqlite3'}",
        SQLALCHEMY_BINDS={"second": f"sqlite:///{folder / 'two.sqlite3'}"},
        **config,
    )
    XpertMQ(app)
    db.init_app(app)
    return app


@pytest.fixture
def app(tmp_path: Path, queue: ManagedQueueService) -> Iterator[Flask]:
    made = make_app(tmp_path)
    with made.app_context():
        db.create_all()
        yield made
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


def add(queue: ManagedQueueService, job_id: str, **options: Any) -> EnqueueResult:
    return queue.enqueue(JOB, job_id=job_id, **{"on_commit": True, **options})


def added(queue: ManagedQueueService, *ids: str) -> list[bool]:
    return [queue.get_job(job_id) is not None for job_id in ids]


@pytest.mark.usefixtures("app")
def test_job_is_added_by_the_commit(queue: ManagedQueueService) -> None:
    db.session.add(Note())
    assert add(queue, "one") == EnqueueResult("one", True, "waiting")
    assert add(queue, "two", delay_ms=60_000).state == "delayed"
    assert added(queue, "one", "two") == [False, False]

    db.session.commit()

    assert added(queue, "one", "two") == [True, True]


@pytest.mark.usefixtures("app")
def test_rollback_adds_nothing_and_the_next_commit_only_its_own(queue: ManagedQueueService) -> None:
    db.session.add(Note())
    add(queue, "gone")
    db.session.rollback()
    db.session.add(Note())
    add(queue, "kept")
    db.session.commit()

    assert added(queue, "gone", "kept") == [False, True]


@pytest.mark.usefixtures("app")
def test_session_that_is_removed_adds_nothing(queue: ManagedQueueService) -> None:
    db.session.add(Note())
    add(queue, "gone")
    db.session.remove()
    db.session.add(Note())
    db.session.commit()

    assert added(queue, "gone") == [False]


@pytest.mark.usefixtures("app")
def test_commit_that_fails_adds_nothing(queue: ManagedQueueService) -> None:
    db.session.add(Note(id=1))
    db.session.commit()
    db.session.expunge_all()
    db.session.add(Note(id=1))
    add(queue, "gone")
    with pytest.raises(Exception, match="UNIQUE"):
        db.session.commit()
    db.session.rollback()

    assert added(queue, "gone") == [False]


@pytest.mark.usefixtures("app")
def test_savepoints(queue: ManagedQueueService) -> None:
    db.session.add(Note())
    add(queue, "outer")
    with db.session.begin_nested():
        add(queue, "released")
        with db.session.begin_nested():
            add(queue, "released-within")
        undone = db.session.begin_nested()
        add(queue, "undone")
        with db.session.begin_nested():
            add(queue, "released-in-undone")
        undone.rollback()
    add(queue, "after")
    assert not any(added(queue, "outer", "released", "released-within", "after"))

    db.session.commit()

    assert added(queue, "outer", "released", "released-within", "after") == [True] * 4
    assert added(queue, "undone", "released-in-undone") == [False] * 2


@pytest.mark.usefixtures("app")
def test_commit_with_an_open_savepoint_commits_both(queue: ManagedQueueService) -> None:
    db.session.add(Note())
    db.session.begin_nested()
    add(queue, "within")
    db.session.commit()

    assert added(queue, "within") == [True]


@pytest.mark.usefixtures("app")
def test_rollback_of_all_with_an_open_savepoint(queue: ManagedQueueService) -> None:
    db.session.add(Note())
    add(queue, "outer")
    nested = db.session.begin_nested()
    add(queue, "within")
    nested.commit()
    db.session.rollback()

    assert added(queue, "outer", "within") == [False, False]


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("moment", ["after_flush", "before_commit", "after_commit"])
def test_job_of_a_listener_of_the_application(queue: ManagedQueueService, moment: str) -> None:
    event.listen(db.session(), moment, lambda *_: add(queue, "one"))
    db.session.add(Note())
    db.session.commit()

    assert added(queue, "one") == [True]


@pytest.mark.usefixtures("app")
def test_session_of_a_block(queue: ManagedQueueService) -> None:
    with db.session.begin():
        add(queue, "kept")
        assert added(queue, "kept") == [False]
    with suppress(ZeroDivisionError), db.session.begin():
        add(queue, "gone")
        db.session.add(Note(id=1 // 0))

    assert added(queue, "kept", "gone") == [True, False]


@pytest.mark.usefixtures("app")
def test_session_of_ones_own_is_not_known(queue: ManagedQueueService) -> None:
    with Session(db.engine) as own, own.begin():
        own.add(Note())
        add(queue, "one")
        assert added(queue, "one") == [True]


@pytest.mark.usefixtures("app")
def test_without_a_transaction_it_is_added_at_once(queue: ManagedQueueService) -> None:
    add(queue, "one")

    assert added(queue, "one") == [True]


@pytest.mark.usefixtures("app")
def test_reading_begins_a_transaction_too(queue: ManagedQueueService) -> None:
    db.session.execute(text("SELECT 1"))
    add(queue, "one")
    assert added(queue, "one") == [False]

    db.session.commit()

    assert added(queue, "one") == [True]


@pytest.mark.usefixtures("app")
def test_other_databases_of_the_session(queue: ManagedQueueService) -> None:
    db.session.add(Other())
    add(queue, "one", using="second")
    db.session.commit()

    assert added(queue, "one") == [True]
    with pytest.raises(InvalidJobError, match="'third' is none of this application's SQLALCHEMY_BINDS"):
        add(queue, "two", using="third")


@pytest.mark.usefixtures("app")
async def test_many_and_from_coroutines(queue: ManagedQueueService) -> None:
    db.session.add(Note())
    await queue.aenqueue(JOB, job_id="one", on_commit=True)
    results = await queue.aenqueue_many([{**JOB, "job_id": "two"}], on_commit=True)
    queue.enqueue_many([{**JOB, "job_id": "three"}], on_commit=True)
    assert results == [EnqueueResult("two", True, "waiting")]
    db.session.commit()

    assert added(queue, "one", "two", "three") == [True] * 3


def test_config_makes_it_the_default(tmp_path: Path, queue: ManagedQueueService) -> None:
    with make_app(tmp_path, XPERT_MQ_ON_COMMIT=True).app_context():
        db.session.execute(text("SELECT 1"))
        add(queue, "one", on_commit=None)
        add(queue, "at-once", on_commit=False)
        assert added(queue, "one", "at-once") == [False, True]
        db.session.commit()
        assert added(queue, "one") == [True]
        db.engine.dispose()


def test_outside_of_the_application_it_is_added_at_once(app: Flask, queue: ManagedQueueService) -> None:
    db.session.add(Note())
    with Flask("other").app_context(), pytest.raises(InvalidJobError, match="takes Flask-SQLAlchemy"):
        add(queue, "one")


@pytest.mark.usefixtures("app")
def test_conflict_is_raised_by_the_commit_and_stops_only_its_own_job(queue: ManagedQueueService) -> None:
    queue.enqueue({**JOB, "job_name": "other"}, job_id="taken")
    db.session.add(Note(id=5))
    for job_id in ("first", "taken", "last"):
        add(queue, job_id)

    with pytest.raises(JobIdConflictError):
        db.session.commit()

    assert added(queue, "first", "last") == [True, True]
    assert db.session.get(Note, 5) is not None


@pytest.mark.usefixtures("app")
def test_redis_that_is_away_at_the_commit_is_told(queue: ManagedQueueService, caplog: pytest.LogCaptureFixture) -> None:
    queue.configure(Settings(redis_url="redis://127.0.0.1:1/0", enqueue_timeout=0.1))
    db.session.add(Note(id=6))
    add(queue, "lost")

    with caplog.at_level(logging.ERROR), pytest.raises(QueueUnavailableError):
        db.session.commit()

    assert "committed, but perhaps not enqueued: lost" in caplog.text
    # The session goes on, and the row is there.
    assert db.session.get(Note, 6) is not None
    db.session.commit()
