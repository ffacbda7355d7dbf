"""A connection that breaks: every verb gives the same answer and acts once, wherever it broke."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.conftest import ServiceFactory
from tests.integration.pretend import JOB, PretendWorker, failure
from tests.integration.proxy import Cut, Proxy
from xpert_mq.models import CancelResult, EnqueueResult
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.connection import Call
from xpert_mq.store.keys import split_task_id

WHERE = pytest.mark.parametrize("where", ["before", "after"])
HOW = pytest.mark.parametrize("how", ["sync", "async"])


class Shaky:
    """A worker behind the proxy, and another one on a sound connection to the same queue."""

    def __init__(self, shaky: ManagedQueueService, sound: PretendWorker, proxy: Proxy, how: str) -> None:
        self.service = shaky
        self.store = shaky.store
        self.sound = sound
        self.proxy = proxy
        self._how = how

    async def run(self, call: Call[Any]) -> Any:
        if self._how == "async":
            return await self.service.async_executor.run(call)
        return self.service.executor.run(call)

    async def verb(self, name: str, *args: Any, **fields: Any) -> Any:
        if self._how == "async":
            return await getattr(self.service, f"a{name}")(*args, **fields)
        return getattr(self.service, name)(*args, **fields)


@pytest.fixture
async def shaky(
    request: pytest.FixtureRequest, proxy: Proxy, worker: PretendWorker, service_factory: ServiceFactory
) -> Shaky:
    how = request.node.callspec.params.get("how", "sync")
    shaky = Shaky(service_factory(proxy.url, prefix=worker.service.settings.prefix), worker, proxy, how)
    # The scripts of every verb are known to the server, so that a cut meets the script itself.
    worker.bring_to("failed", "warm", attempts=9)
    worker.service.retry("warm")
    claim = worker.claim_next()
    worker.checkpoint(claim, "0")
    worker.fail_try(claim)
    worker.service.cancel("warm")
    worker.take()
    # A connection that has been used before, as most are.
    await shaky.verb("get_job", "none")
    return shaky


@HOW
@WHERE
@pytest.mark.parametrize("times", [1, 3])
async def test_resend_enqueue(shaky: Shaky, where: Cut, how: str, times: int) -> None:
    shaky.proxy.cut(where, times)

    result = await shaky.verb("enqueue", JOB | {"job_id": "id"})

    assert result == EnqueueResult("id", True, "waiting")
    assert shaky.proxy.cuts == times
    assert shaky.sound.waiting_ids() == ["id"]


@HOW
@WHERE
async def test_resend_enqueue_delayed(shaky: Shaky, where: Cut, how: str) -> None:
    shaky.proxy.cut(where)

    assert await shaky.verb("enqueue", {**JOB, "job_id": "id", "delay_ms": 60_000}) == EnqueueResult(
        "id", True, "delayed"
    )
    assert shaky.sound.redis.zcard(f"{shaky.sound.queue}:delayed") == 1


@HOW
@WHERE
async def test_resend_enqueue_of_a_kept_id(shaky: Shaky, where: Cut, how: str) -> None:
    shaky.sound.enqueue("id")
    shaky.proxy.cut(where)

    assert await shaky.verb("enqueue", JOB | {"job_id": "id"}) == EnqueueResult("id", False, "waiting")
    assert len(shaky.sound.messages()) == 1


@HOW
@pytest.mark.parametrize("keep", [True, False])
async def test_resend_enqueue_that_ran_meanwhile(shaky: Shaky, how: str, keep: bool) -> None:
    """A worker was faster than the second sending: the job must not be added again."""
    shaky.proxy.cut("after", meanwhile=lambda: shaky.sound.complete(shaky.sound.claim_next()))

    result = await shaky.verb("enqueue", {**JOB, "job_id": "id", "remove_on_complete": keep})

    assert (result.job_id, result.created) == ("id", True)
    assert shaky.sound.messages() == []
    assert (shaky.sound.service.get_job("id") is None) is keep


@HOW
async def test_resend_enqueue_that_was_cancelled_meanwhile(shaky: Shaky, how: str) -> None:
    shaky.proxy.cut("after", meanwhile=lambda: shaky.sound.service.cancel("id"))

    assert (await shaky.verb("enqueue", {**JOB, "job_id": "id", "delay_ms": 60_000})).created
    assert shaky.sound.service.get_job("id") is None


@HOW
@WHERE
async def test_resend_enqueue_many(shaky: Shaky, where: Cut, how: str) -> None:
    jobs = [{**JOB, "job_id": f"job-{number}"} for number in range(600)]
    shaky.sound.enqueue("job-5")
    shaky.proxy.cut(where, 2)

    results = await shaky.verb("enqueue_many", jobs)

    assert [result.job_id for result in results] == [job["job_id"] for job in jobs]
    assert [number for number, result in enumerate(results) if not result.created] == [5]
    assert shaky.proxy.cuts == 2
    ids = shaky.sound.waiting_ids()
    assert len(ids) == 600
    assert set(ids) == {f"job-{number}" for number in range(600)}


@HOW
@WHERE
@pytest.mark.parametrize("delay_ms", [0, 60_000])
async def test_resend_cancel(shaky: Shaky, where: Cut, how: str, delay_ms: int) -> None:
    shaky.sound.enqueue("id", delay_ms=delay_ms)
    shaky.proxy.cut(where)

    result = await shaky.verb("cancel", "id")

    assert result == CancelResult(True, "id", "delayed" if delay_ms else "waiting")
    assert shaky.sound.service.get_job("id") is None


@HOW
async def test_resend_cancel_spares_the_next_job_of_the_id(shaky: Shaky, how: str) -> None:
    shaky.sound.enqueue("id")
    shaky.proxy.cut("after", meanwhile=lambda: shaky.sound.enqueue("id", payload="next"))

    assert (await shaky.verb("cancel", "id")).success
    assert shaky.sound.job("id").data == "next"


@HOW
@WHERE
async def test_resend_rerun(shaky: Shaky, where: Cut, how: str) -> None:
    shaky.sound.bring_to("failed", "id")
    shaky.proxy.cut(where)

    assert await shaky.verb("retry", "id") == CancelResult(True, "id", "waiting")
    assert len(shaky.sound.messages()) == 1


@HOW
@pytest.mark.parametrize("end", ["claimed", "completed", "removed", "failed"])
async def test_resend_rerun_that_ran_meanwhile(shaky: Shaky, how: str, end: str) -> None:
    shaky.sound.bring_to("failed", "id", remove_on_complete=end == "removed")

    def run() -> None:
        claim = shaky.sound.claim_next()
        if end == "failed":
            shaky.sound.fail(claim)
        elif end != "claimed":
            shaky.sound.complete(claim)

    shaky.proxy.cut("after", meanwhile=run)

    assert (await shaky.verb("retry", "id")).success
    assert shaky.sound.messages() == []


@HOW
@WHERE
async def test_resend_claim(shaky: Shaky, where: Cut, how: str) -> None:
    shaky.sound.enqueue("id", payload=5)
    message = shaky.sound.take()
    shaky.sound.join()
    shaky.proxy.cut(where)

    claim = await shaky.run(shaky.store.claim(*split_task_id(message), shaky.sound.queue, shaky.sound.node))

    assert claim is not None
    assert claim.payload == b"5"
    assert shaky.sound.complete(claim)


@HOW
async def test_resend_claim_cancelled_before_is_stale(shaky: Shaky, how: str) -> None:
    shaky.sound.enqueue("id")
    message = shaky.sound.take()
    shaky.proxy.cut("before", meanwhile=lambda: shaky.sound.service.cancel("id"))

    assert await shaky.run(shaky.store.claim(*split_task_id(message), shaky.sound.queue, shaky.sound.node)) is None


#: What ends or returns a try: the call, and the job's state after it (None: gone).
Finisher = Callable[[Any, Any], Call[bool]]
FINISHERS: dict[str, tuple[Finisher, str | None]] = {
    "complete": (lambda store, claim: store.complete(claim, "1"), "completed"),
    "fail": (lambda store, claim: store.fail(claim, failure()), "failed"),
    "try_again": (lambda store, claim: store.try_again(claim, 0, failure()), "waiting"),
    "try_again_later": (lambda store, claim: store.try_again(claim, 60_000, failure()), "delayed"),
    "defer": (lambda store, claim: store.try_again(claim, 0, None), "waiting"),
    "checkpoint": (lambda store, claim: store.checkpoint(claim, "7"), "active"),
}


@HOW
@WHERE
@pytest.mark.parametrize("keep", [True, {"age": 60}])
@pytest.mark.parametrize("verb", FINISHERS)
async def test_resend_end_of_a_try(shaky: Shaky, where: Cut, how: str, verb: str, keep: Any) -> None:
    shaky.sound.enqueue("id", attempts=3, remove_on_complete=keep, remove_on_fail=keep)
    claim = shaky.sound.claim_next()
    shaky.proxy.cut(where, 2)
    call, state = FINISHERS[verb]

    assert await shaky.run(call(shaky.store, claim)) is True

    assert shaky.proxy.cuts == 2
    if keep is True and verb in ("complete", "fail"):
        assert shaky.sound.service.get_job("id") is None
        return
    job = shaky.sound.job("id")
    assert job.state == state
    assert job.attempts_made == (0 if verb in ("defer", "checkpoint") else 1)
    assert len(job.stacktrace) == (1 if verb in ("fail", "try_again", "try_again_later") else 0)
    assert len(shaky.sound.messages()) == (1 if state == "waiting" else 0)


@HOW
@pytest.mark.parametrize("verb", ["try_again", "defer"])
@pytest.mark.parametrize("end", ["claimed", "again", "completed", "removed", "cancelled"])
async def test_resend_try_again_that_went_on_meanwhile(shaky: Shaky, how: str, verb: str, end: str) -> None:
    """Another worker already has the next try: this one did give the job back, and is told so."""
    shaky.sound.enqueue("id", attempts=5, remove_on_complete=end == "removed")
    claim = shaky.sound.claim_next()

    def go_on() -> None:
        if end == "cancelled":
            shaky.sound.service.cancel("id")
            return
        following = shaky.sound.claim_next()
        if end == "again":
            shaky.sound.fail_try(following)
        elif end != "claimed":
            shaky.sound.complete(following)

    shaky.proxy.cut("after", meanwhile=go_on)

    assert await shaky.run(FINISHERS[verb][0](shaky.store, claim)) is True


@HOW
async def test_resend_fail_that_was_run_again_meanwhile(shaky: Shaky, how: str) -> None:
    shaky.sound.enqueue("id")
    claim = shaky.sound.claim_next()
    shaky.proxy.cut("after", meanwhile=lambda: shaky.sound.service.retry("id"))

    assert await shaky.run(shaky.store.fail(claim, failure())) is True
    assert shaky.sound.job("id").state == "waiting"
    assert len(shaky.sound.messages()) == 1


@HOW
@WHERE
async def test_resend_promote_hands_out_once(shaky: Shaky, where: Cut, how: str) -> None:
    shaky.sound.enqueue("id", delay_ms=1)
    created = shaky.sound.job("id").timestamp
    while shaky.sound.server_ms() < created + 3:
        pass
    await shaky.run(shaky.store.promote("none", 1))
    shaky.proxy.cut(where)

    await shaky.run(shaky.store.promote(shaky.sound.queue, 10))

    assert shaky.sound.waiting_ids() == ["id"]


@HOW
@WHERE
async def test_resend_read(shaky: Shaky, where: Cut, how: str) -> None:
    shaky.sound.enqueue("id")
    shaky.proxy.cut(where, 2)

    assert (await shaky.verb("get_job", "id")).id == "id"


@HOW
async def test_resend_many_concurrent_connections_cut(shaky: Shaky, how: str) -> None:
    """Idle connections that all broke: each call finds a new one."""
    for number in range(10):
        shaky.proxy.cut("after" if number % 2 else "before")
        assert (await shaky.verb("enqueue", JOB | {"job_id": f"job-{number}"})).created

    assert len(shaky.sound.messages()) == 10
