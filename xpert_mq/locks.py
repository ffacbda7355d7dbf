"""Locks in Redis for plugins: over one or several keys, renewed while they are held, given back by their holder alone.

    with Lock("outbound", ("contact", contact_id), ttl_ms=10_000) as lock:
        ...
        lock.ensure_owned()  # before a step that nobody else may take at the same time

`AsyncLock` is the same for coroutines. Keys and values are those of redis-py's own `Lock`, so that either excludes the
other. It is not used here because it knows one key: several are taken in one step, so that two holders that want the
same keys never take half each, and a command that redis-py sends again does no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from xpert_mq.errors import InvalidJobError, ManagedQueueError, QueueUnavailableError
from xpert_mq.service import ManagedQueueService, managed_queue

logger = logging.getLogger(__name__)

#: Seconds between two looks at a lock that another holds; at random, so that those who wait don't look together.
_PAUSE = (0.02, 0.1)

# KEYS: the lock's. ARGV: token, milliseconds to live. Takes all of them or none; gives the place of the first one that
# another holds, or 0.
_TAKE = """
for place, key in ipairs(KEYS) do
    local holder = redis.call('GET', key)
    if holder and holder ~= ARGV[1] then return place end
end
for _, key in ipairs(KEYS) do redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
return 0
"""
# KEYS and ARGV: as above. Renews all of them, if all are held; gives 1 then, else 0.
_RENEW = """
for _, key in ipairs(KEYS) do
    if redis.call('GET', key) ~= ARGV[1] then return 0 end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[2]) end
return 1
"""
# KEYS and ARGV: as above. Deletes those that are held, the last one first.
_RELEASE = """
for place = #KEYS, 1, -1 do
    if redis.call('GET', KEYS[place]) == ARGV[1] then redis.call('DEL', KEYS[place]) end
end
return 1
"""


class LockUnavailableError(ManagedQueueError):
    """Another holds the lock. In a handler, `raise Defer(...)` waits without a worker.

    Attributes:
        key: the first of the keys that another holds.
        waited_ms: how long was waited for it.
    """

    def __init__(self, key: str, waited_ms: float) -> None:
        waited = f", after {waited_ms:g} ms of waiting" if waited_ms else ""
        super().__init__(f"the lock {key!r} is held by another{waited}")
        self.key = key
        self.waited_ms = waited_ms


class LockLostError(ManagedQueueError):
    """The lock is not held (any more): it expired before it was renewed, or somebody deleted it.

    Attributes:
        keys: of the lock.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        super().__init__(f"the lock {', '.join(map(repr, keys))} is not held any more")
        self.keys = keys


class _Hold:
    """What the lock for threads and the one for coroutines share: keys and token, what is sent, what may follow.

    Args:
        names: one name per key, a text or a tuple of texts and integers. The key is `redis_key("lock", *name)`, so it
            belongs to the plugin, tenant and organization of the current context.
        ttl_ms: how long the lock outlives its holder's process. It is renewed every third of it.
        wait_ms: how long to wait for it.
        plugin_name, allow_no_tenant: as for `redis_key`.
        service: whose Redis holds it.

    Attributes:
        keys: in the order given.
        token: what the keys hold while the lock is held. A script of the plugin's own that compares the two changes
            data only as long as the lock is held.
    """

    def __init__(
        self,
        *names: str | tuple[str | int, ...],
        ttl_ms: int = 30_000,
        wait_ms: float = 0,
        plugin_name: str | None = None,
        allow_no_tenant: bool = False,
        service: ManagedQueueService = managed_queue,
    ) -> None:
        if not names or not all(names):
            raise InvalidJobError("a lock needs names, none of them blank", field="names")
        if ttl_ms < 100 or wait_ms < 0:
            raise InvalidJobError("a lock's ttl_ms must be at least 100, and its wait_ms not negative", field="ttl_ms")
        self._service = service
        self._ttl_ms = int(ttl_ms)
        self._wait_ms = wait_ms
        self._owned = False
        self.token = ""
        self.keys = tuple(
            service.redis_key(
                "lock",
                *((name,) if isinstance(name, str) else name),
                plugin_name=plugin_name,
                allow_no_tenant=allow_no_tenant,
            )
            for name in names
        )

    def _begin(self) -> float:
        """A new token; gives the moment until which to wait."""
        if self.token:
            raise RuntimeError("this lock is entered already; make a new one for every block")
        self.token = secrets.token_hex(16)
        return time.monotonic() + self._wait_ms / 1000

    def _pause(self, place: int, deadline: float) -> float:
        """How long to wait before the next look; raises when the time is over."""
        left = deadline - time.monotonic()
        if left <= 0:
            self.token = ""
            raise LockUnavailableError(self.keys[place - 1], self._wait_ms)
        return min(left, random.uniform(*_PAUSE))

    def _command(self, script: str) -> tuple[Any, ...]:
        return (script, len(self.keys), *self.keys, self.token, self._ttl_ms)

    def _check_owned(self) -> None:
        if not self._owned:
            raise LockLostError(self.keys)

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (RedisConnectionError, RedisTimeoutError) as error:
            raise QueueUnavailableError(self._service.settings.safe_redis_url, str(error)) from error

    def _not_renewed(self, error: Exception) -> None:
        """Only Redis can tell whether the lock is lost: it is asked again at the next renewal."""
        self._warn("not_renewed", error)

    def _not_released(self, error: Exception) -> None:
        self._warn("not_released", error)

    def _warn(self, what: str, error: Exception) -> None:
        logger.warning("lock %s: %s: %s", self.keys, what, error, extra={"action": f"lock_{what}"})


class Lock(_Hold):
    """A lock for threads and greenlets, as a `with` block.

    Entering raises LockUnavailableError if another holds it for longer than `wait_ms`, and QueueUnavailableError if
    Redis does not answer. Leaving raises LockLostError if it got lost; but not where the block raises an error itself.
    """

    def __enter__(self) -> Self:
        deadline = self._begin()
        while place := self._run(_TAKE):
            time.sleep(self._pause(place, deadline))
        self._owned = True
        self._renewing = threading.Lock()
        self._left = threading.Event()
        self._renewer = threading.Thread(target=self._keep, name="xpert-mq-lock", daemon=True)
        self._renewer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        try:
            self._renewer.join()
            if kind is None:
                self.ensure_owned()
        finally:
            self._release()

    def ensure_owned(self) -> None:
        """Renew the lock now, after a renewal that may be under way.

        Raises LockLostError if it is lost, also if a renewal in the background found that; and QueueUnavailableError if
        Redis does not tell.
        """
        with self._renewing:
            self._renew()
        self._check_owned()

    def _keep(self) -> None:
        while self._owned and not self._left.wait(self._ttl_ms / 3000):
            with self._renewing:
                try:
                    self._renew()
                except (QueueUnavailableError, RedisError) as error:
                    self._not_renewed(error)

    def _renew(self) -> None:
        if self._owned:
            self._owned = bool(self._run(_RENEW))

    def _release(self) -> None:
        try:
            self._run(_RELEASE)
        except (QueueUnavailableError, RedisError) as error:
            self._not_released(error)
        self._owned, self.token = False, ""

    def _run(self, script: str) -> int:
        with self._answering():
            return int(self._service.get_redis().eval(*self._command(script)))


class AsyncLock(_Hold):
    """`Lock` for coroutines, as an `async with` block."""

    async def __aenter__(self) -> Self:
        deadline = self._begin()
        while True:
            place = await self._take()
            if not place:
                break
            await asyncio.sleep(self._pause(place, deadline))
        self._owned = True
        self._renewing = asyncio.Lock()
        self._left = asyncio.Event()
        self._renewer = asyncio.create_task(self._keep(), name="xpert-mq-lock")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not by a cancel, which a renewal on its way may swallow.
        self._left.set()
        try:
            await asyncio.wait([self._renewer])
            if kind is None:
                await self.ensure_owned()
        finally:
            await self._release()

    async def ensure_owned(self) -> None:
        """As `Lock.ensure_owned`."""
        async with self._renewing:
            await self._renew()
        self._check_owned()

    async def _take(self) -> int:
        try:
            return await self._run(_TAKE)
        except asyncio.CancelledError:
            # It may be taken, and nobody else will give it back.
            await self._release()
            raise

    async def _keep(self) -> None:
        while self._owned and not await self._left_within(self._ttl_ms / 3000):
            async with self._renewing:
                try:
                    await self._renew()
                except (QueueUnavailableError, RedisError) as error:
                    self._not_renewed(error)

    async def _left_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._left.wait()
        return self._left.is_set()

    async def _renew(self) -> None:
        if self._owned:
            self._owned = bool(await self._run(_RENEW))

    async def _release(self) -> None:
        try:
            await self._run(_RELEASE)
        except (QueueUnavailableError, RedisError) as error:
            self._not_released(error)
        self._owned, self.token = False, ""

    async def _run(self, script: str) -> int:
        with self._answering():
            client = await self._service.aget_redis()
            return int(await client.eval(*self._command(script)))
