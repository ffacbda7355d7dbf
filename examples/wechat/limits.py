"""How often may be sent: intervals and counters in Redis, and the guard that pauses an account that keeps failing."""

from __future__ import annotations

from typing import Any

from xpert_mq import ManagedQueueService

from .keys import Keys
from .settings import Integration

# KEYS: what holds the account back, then the turns, each there as long as nobody may send; then the counters.
# ARGV: 1 to take a turn or 0 to look, how many turns, each one's interval, and each counter's window and limit. In ms.
# Gives the ms to wait. 0: one may send, and if a turn was to be taken, it is. Looking and taking are one step, so the
# limits hold whoever else sends, and no counter is ever left without its end.
_TURN = """
local take, turns = ARGV[1] == '1', tonumber(ARGV[2])
local first, wait = turns + 2, 0
local function window(place) return ARGV[3 + turns + 2 * (place - first)] end
local function limit(place) return tonumber(ARGV[4 + turns + 2 * (place - first)]) end

for place = 1, first - 1 do wait = math.max(wait, redis.call('PTTL', KEYS[place])) end
for place = first, #KEYS do
    if tonumber(redis.call('GET', KEYS[place]) or 0) >= limit(place) then
        wait = math.max(wait, redis.call('PTTL', KEYS[place]))
    end
end
if wait > 0 or not take then return wait end

for place = 2, first - 1 do redis.call('SET', KEYS[place], 1, 'PX', ARGV[place + 1]) end
for place = first, #KEYS do
    redis.call('SET', KEYS[place], 0, 'PX', window(place), 'NX')
    redis.call('INCR', KEYS[place])
end
return 0
"""


class Limits:
    """What holds for one account and contact of an integration."""

    def __init__(self, queue: ManagedQueueService, integration: Integration, account: str, contact: str) -> None:
        self._queue = queue
        self._integration = integration
        self._keys = Keys(queue, integration.id, account, contact)
        intervals = {
            "integration": integration.interval_ms,
            "account": integration.account_interval_ms,
            "contact": integration.contact_interval_ms,
        }
        self._turns = {self._keys.next(of): interval for of, interval in intervals.items() if interval}
        self._counters = {
            self._keys.counter(window.of, window.name): (window.window_ms, window.limit)
            for window in integration.windows
        }

    def wait_ms(self) -> int:
        """How long nobody may send; 0: one may."""
        return self._turn(take=False)

    def take_turn(self) -> int:
        """0, and the turn is taken; or how long nobody may send.

        It is taken before the request, so that a crash in the middle can't make it one too many.
        """
        return self._turn(take=True)

    def end_turn(self) -> None:
        """The intervals count from the end of the request."""
        with self._queue.get_redis().pipeline() as pipeline:
            for key, interval in self._turns.items():
                pipeline.set(key, 1, px=interval)
            pipeline.execute()

    def hold(self, wait_ms: int) -> None:
        """Nobody sends for the account for that long: the service said so."""
        self._queue.get_redis().set(self._keys.hold(), 1, px=max(1, wait_ms))

    def failed(self) -> bool:
        """Counts a failure; True if the account has to be paused."""
        with self._queue.get_redis().pipeline() as pipeline:
            pipeline.incr(self._keys.failures())
            pipeline.pexpire(self._keys.failures(), self._integration.failure_window_ms)
            number: int = pipeline.execute()[0]
        return number >= self._integration.failures_until_pause

    def succeeded(self) -> None:
        """Failures count anew."""
        self._queue.get_redis().delete(self._keys.failures())

    def _turn(self, *, take: bool) -> int:
        keys = [self._keys.hold(), *self._turns, *self._counters]
        bounds = [bound for pair in self._counters.values() for bound in pair]
        wait: Any = self._queue.get_redis().eval(
            _TURN, len(keys), *keys, int(take), len(self._turns), *self._turns.values(), *bounds
        )
        return int(wait)
