"""Redis away, frozen, forbidden or too old: a typed error, in time, that says what may have happened."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.conftest import ServerFactory
from tests.integration.conftest import ServiceFactory
from tests.integration.pretend import JOB, wait_until
from xpert_mq.embedded import EmbeddedServer
from xpert_mq.errors import JobIdConflictError, QueueUnavailableError
from xpert_mq.models import EnqueueResult
from xpert_mq.service import ManagedQueueService

TIMEOUT = 0.5
#: Twice the timeout and some, for a machine with other things to do.
BOUND = 2 * TIMEOUT + 1

HOW = pytest.mark.parametrize("how", ["sync", "async"])


async def call(service: ManagedQueueService, how: str, verb: str, *args: Any, **fields: Any) -> Any:
    if how == "async":
        return await getattr(service, f"a{verb}")(*args, **fields)
    return getattr(service, verb)(*args, **fields)


async def refused(service: ManagedQueueService, how: str, verb: str = "enqueue", *args: Any) -> QueueUnavailableError:
    """The error of a call, which must come in time."""
    started = time.monotonic()
    with pytest.raises(QueueUnavailableError) as caught:
        await call(service, how, verb, *(args or ({**JOB, "job_id": "id"},)))
    assert time.monotonic() - started < BOUND
    return caught.value


@HOW
async def test_unavailable_down(server_factory: ServerFactory, service_factory: ServiceFactory, how: str) -> None:
    server = server_factory(password="s3cret")
    service = service_factory(server.url, enqueue_timeout=TIMEOUT)
    server.kill()

    error = await refused(service, how)

    assert (error.job_id, error.may_have_been_added) == ("id", False)
    assert error.server == f"redis://127.0.0.1:{server.port}/0"
    assert error.server in str(error)
    assert "'id'" in str(error)
    assert "s3cret" not in f"{error} {error!r} {error.__cause__} {error.__cause__!r}"


@HOW
async def test_unavailable_down_carries_the_generated_id(
    server_factory: ServerFactory, service_factory: ServiceFactory, how: str
) -> None:
    server = server_factory()
    service = service_factory(server.url, enqueue_timeout=0.2)
    server.kill()

    error = await refused(service, how, "enqueue", JOB)
    assert error.job_id
    server.start()
    result = await call(service, how, "enqueue", {**JOB, "job_id": error.job_id})

    assert result == EnqueueResult(error.job_id, True, "waiting")


@HOW
@pytest.mark.parametrize("verb", ["enqueue_many", "cancel", "retry", "get_job"])
async def test_unavailable_down_for_every_verb(
    server_factory: ServerFactory, service_factory: ServiceFactory, how: str, verb: str
) -> None:
    server = server_factory()
    service = service_factory(server.url, enqueue_timeout=0.2)
    server.kill()

    error = await refused(service, how, verb, [{**JOB, "job_id": "id"}] if verb == "enqueue_many" else "id")

    assert (error.job_id, error.may_have_been_added) == ("id", False)


@HOW
@pytest.mark.parametrize("warm", [False, True])
async def test_unavailable_frozen(
    server_factory: ServerFactory, service_factory: ServiceFactory, how: str, warm: bool
) -> None:
    server = server_factory()
    service = service_factory(server.url, enqueue_timeout=TIMEOUT)
    if warm:
        await call(service, how, "enqueue", JOB)
    server.freeze()

    error = await refused(service, how)

    assert error.job_id == "id"
    assert error.may_have_been_added or not warm
    server.thaw()
    again = await call(service, how, "enqueue", {**JOB, "job_id": "id"})
    # What was said never to have been added was not; a fresh connection may not have got as far as the command.
    assert again.created or error.may_have_been_added
    assert await call(service, how, "get_job", "id")


@HOW
async def test_unavailable_killed_with_idle_connections(
    server_factory: ServerFactory, service_factory: ServiceFactory, how: str
) -> None:
    server = server_factory()
    service = service_factory(server.url, enqueue_timeout=0.3)
    await call(service, how, "enqueue", JOB)
    server.kill()

    assert (await refused(service, how)).job_id == "id"

    server.start()
    assert (await call(service, how, "enqueue", {**JOB, "job_id": "id"})).created


@HOW
async def test_unavailable_comes_back_within_the_time(
    server_factory: ServerFactory, service_factory: ServiceFactory, how: str
) -> None:
    server = server_factory()
    service = service_factory(server.url, enqueue_timeout=20)
    await call(service, how, "enqueue", JOB)
    server.kill()
    back = threading.Thread(target=server.start)
    back.start()
    try:
        assert (await call(service, how, "enqueue", JOB)).created
    finally:
        back.join()


@HOW
async def test_unavailable_half_a_batch_is_safe_to_repeat(
    server_factory: ServerFactory, service_factory: ServiceFactory, how: str
) -> None:
    server = server_factory()
    service = service_factory(server.url, enqueue_timeout=0.3)
    await call(service, how, "enqueue", JOB)
    jobs = [{**JOB, "job_id": f"job-{number}"} for number in range(300)]
    server.freeze()
    error = await refused(service, how, "enqueue_many", jobs)
    assert (error.job_id, error.may_have_been_added) == ("job-0", True)
    server.thaw()

    results = await call(service, how, "enqueue_many", jobs)

    assert [result.job_id for result in results] == [job["job_id"] for job in jobs]
    assert service.get_redis().llen(service.settings.queue_name()) == 301


@HOW
@pytest.mark.parametrize("login", ["", ":wr0ng@", "someone:wr0ng@"])
async def test_unavailable_password_missing_or_wrong(
    server_factory: ServerFactory, service_factory: ServiceFactory, how: str, login: str
) -> None:
    server = server_factory(password="r1ght")
    service = service_factory(f"redis://{login}127.0.0.1:{server.port}/0", enqueue_timeout=5)

    error = await refused(service, how)

    assert (error.job_id, error.may_have_been_added) == ("id", False)
    assert "wr0ng" not in f"{error} {error.server} {error.reason} {error.__cause__!r}"


async def test_unavailable_password_given_where_none_is_wanted(
    server: EmbeddedServer, service_factory: ServiceFactory
) -> None:
    service = service_factory(f"redis://:s3cret@127.0.0.1:{server.port}/0", enqueue_timeout=5)

    # Redis answers the default user's password as wrong, where it wants none.
    error = await refused(service, "sync")

    assert "s3cret" not in str(error)


@HOW
async def test_unavailable_database_that_is_not_there(
    server: EmbeddedServer, service_factory: ServiceFactory, how: str
) -> None:
    service = service_factory(f"redis://127.0.0.1:{server.port}/9999", enqueue_timeout=TIMEOUT)

    assert (await refused(service, how)).may_have_been_added is False


async def test_unavailable_leaves_other_errors_alone(service: ManagedQueueService) -> None:
    service.enqueue(JOB, job_id="id")

    with pytest.raises(JobIdConflictError):
        service.enqueue(JOB | {"job_name": "other"}, job_id="id")


def test_unavailable_frozen_holds_no_thread_up_forever(
    server_factory: ServerFactory, service_factory: ServiceFactory
) -> None:
    server = server_factory()
    service = service_factory(server.url, enqueue_timeout=TIMEOUT)
    service.enqueue(JOB)
    server.freeze()
    errors: list[BaseException] = []

    def enqueue() -> None:
        try:
            service.enqueue(JOB)
        except QueueUnavailableError as error:
            errors.append(error)

    threads = [threading.Thread(target=enqueue) for _ in range(10)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(errors) == 10
    assert time.monotonic() - started < BOUND + 1
    server.thaw()
    assert wait_until(lambda: service.enqueue(JOB).created)
