"""The outbox: jobs are written in the transaction that they wait for, and deleted when they are in Redis.

Whoever commits sends them. What it could not, since it crashed or Redis was away, the workers send. A job that is sent
twice is the same call twice, and is added once.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.models import Q
from django.utils import timezone

from xpert_mq.contrib.django.conf import configuration
from xpert_mq.contrib.django.models import OutboxJob
from xpert_mq.contrib.django.transactions import tell_conflict
from xpert_mq.errors import InvalidJobError, QueueUnavailableError
from xpert_mq.service import PreparedJob, managed_queue

logger = logging.getLogger(__name__)

#: Jobs that are sent in one go.
BATCH = 100

#: How long nobody who commits waits for a Redis that one has waited for in vain.
PAUSE_SECONDS = 5.0

#: The end of that time by `time.monotonic`, by the server's URL.
_away_until: dict[str, float] = {}

#: Until a job that could not be sent is tried again: another worker may know its format or its pool.
RETRY_AFTER = timedelta(minutes=1)


def write(jobs: Sequence[PreparedJob], alias: str) -> list[int]:
    """Writes the jobs in the current transaction of the database; gives the rows' ids."""
    if alias not in configuration().outbox:
        raise InvalidJobError(
            f"using: the database {alias!r} has no outbox; name it in XPERT_MQ['OUTBOX'], and migrate it", field="using"
        )
    # The id is there for people; PostgreSQL has no text with a NUL in it.
    rows = [OutboxJob(job_id=job.job_id.replace("\0", "\ufffd"), text=job.to_text()) for job in jobs]
    for row in rows:
        row.save(using=alias, force_insert=True)
    return [row.pk for row in rows]


def send(alias: str, ids: Sequence[int], jobs: Sequence[PreparedJob]) -> None:
    """Sends jobs after their commit. What fails stays for the workers: the error would look like the transaction's."""
    server = managed_queue.settings.redis_url
    if time.monotonic() < _away_until.get(server, 0):
        return
    try:
        results = managed_queue.send_prepared(jobs)
        _rows(alias).filter(pk__in=ids).delete()
    except (QueueUnavailableError, DatabaseError) as error:
        if isinstance(error, QueueUnavailableError):
            _away_until[server] = time.monotonic() + PAUSE_SECONDS
        logger.warning("%d jobs stay in the outbox: %s", len(jobs), error, extra={"action": "outbox_delayed"})
        return
    for result in results:
        tell_conflict(result)


def drain(alias: str, *, older_than: float = 0, limit: int = BATCH) -> int:
    """Sends the oldest jobs of a database's outbox.

    Args:
        older_than: seconds since they were written.
        limit: jobs at the most.

    Returns:
        How many were looked at.

    Raises QueueUnavailableError; they stay then.
    """
    # Each worker takes others, where the database can skip what is locked; where not, some are sent twice.
    locks = connections[alias].features.has_select_for_update_skip_locked
    with transaction.atomic(using=alias) if locks else nullcontext():
        due = _due(alias, older_than)
        rows = list((due.select_for_update(skip_locked=True) if locks else due)[:limit])
        good = [(row, job) for row in rows if (job := _job(row, alias)) is not None]
        results = managed_queue.send_prepared([job for _, job in good])
        _rows(alias).filter(pk__in=[row.pk for row, _ in good]).delete()
    for result in results:
        tell_conflict(result)
    return len(rows)


def _rows(alias: str) -> Any:
    return OutboxJob._default_manager.using(alias)


def _due(alias: str, older_than: float) -> Any:
    now = timezone.now()
    due = Q(retry_at=None) | Q(retry_at__lte=now)
    return _rows(alias).filter(due, created_at__lte=now - timedelta(seconds=older_than)).order_by("pk")


def _job(row: OutboxJob, alias: str) -> PreparedJob | None:
    """None for one that this process can't send; it is put off, so that it does not hold up the others."""
    try:
        return PreparedJob.from_text(row.text)
    except InvalidJobError as error:
        _put_off(row, alias, str(error))
        return None


def _put_off(row: OutboxJob, alias: str, error: str) -> None:
    if error != row.error:
        logger.error("job %s of the outbox can't be sent: %s", row.job_id, error, extra={"action": "outbox_unsendable"})
    _rows(alias).filter(pk=row.pk).update(error=error, retry_at=timezone.now() + RETRY_AFTER)
