"""kombu's Redis transport for the platform's queues: fetching is one safe step, and one connection serves a channel.

Queues that are not the platform's (replies to remote control) go kombu's way. What differs for the platform's own:

- An idle channel blocks on the pools' wake keys, never on the queues, so no blocking command ever takes a message out
  of Redis: a script moves messages from the queue into the node's notes of unacknowledged ones, several at a time.
- What a channel leaves behind goes back when the node's next channel fetches, or when the node is gone; never by time.
- Acknowledgements travel with the next fetch, unless that has to wait. One that gets lost costs a message that is
  dropped later, since the job's record decides and not the message.
- All of kombu's keys carry the platform's prefix.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import secrets
import socket
import weakref
from dataclasses import dataclass, field
from queue import Empty
from time import monotonic
from typing import Any, ClassVar

from celery.worker import state as worker_state
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, OutOfMemoryError, ResponseError

from xpert_mq.node import node
from xpert_mq.store import NODE_HEADER
from xpert_mq.store.connection import connection_class_and_options, pack
from xpert_mq.store.keys import Keys, pool_keys
from xpert_mq.store.scripts import Script

logger = logging.getLogger(__name__)

#: Messages that one fetch takes at most, whatever credit the channel has.
MOST_PER_FETCH = 64


class QoS(kombu_redis.QoS):
    """kombu's bookkeeping of unacknowledged messages, without a client object and a round trip for each."""

    def append(self, message: Any, delivery_tag: str) -> None:
        """Note a delivered message; the fetch script has noted it in Redis already."""
        if self.channel.holds(delivery_tag):
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget a message, here at once and in Redis with the next fetch.

        A job that outlives its channel acknowledges in vain: the message has gone back, and will be dropped.
        """
        if self.channel.closed:
            Channel.wake_latest()
            return
        if self.channel.holds(delivery_tag):
            self.channel.note_ack(delivery_tag)
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)
        self.channel.connection.cycle.wake()

    def can_consume(self) -> bool:
        """Whether a slot is free; also those are not in which jobs of earlier channels still run."""
        return bool(super().can_consume()) and self.can_consume_max_estimate() != 0

    def can_consume_max_estimate(self) -> int | None:
        """How many slots are free; None for no limit."""
        free: int | None = super().can_consume_max_estimate()
        return None if free is None else max(0, free - self.channel.outlived())

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Put a message back, or forget it."""
        if not self.channel.holds(delivery_tag):
            super().reject(delivery_tag, requeue)
        elif requeue and not self.channel.closed:
            self.channel.give_back(delivery_tag)
            virtual.QoS.ack(self, delivery_tag)
        else:
            self.ack(delivery_tag)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Nothing: what this channel holds is noted as the node's, and goes back when another channel fetches."""

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a live node's messages are its own, however long it takes."""


@dataclass(frozen=True, slots=True)
class Platform:
    """The transport option that makes this transport the platform's."""

    #: Not shown: remote control can be asked for an application's options.
    redis_url: str = field(repr=False)
    #: Seconds to connect, and to wait for a reply.
    timeout: float
    keys: Keys
    #: Names of the pools' queues.
    queues: frozenset[str]
    fetch: Script = field(repr=False)
    give_back: Script = field(repr=False)

    def __json__(self) -> dict[str, Any]:
        """What `celery inspect` shows of it."""
        return {"prefix": self.keys.prefix, "queues": sorted(self.queues)}


class Channel(kombu_redis.Channel):
    """A channel whose consumers of platform queues are fed by the fetch script."""

    QoS = QoS

    from_transport_options = (*kombu_redis.Channel.from_transport_options, "platform")
    platform: Platform

    #: The channel that serves the pools now, behind the one before it.
    _serving: ClassVar[list[weakref.ref[Channel]]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        #: Names the channel among those of the node.
        self._name = secrets.token_hex(4)
        #: The nodes that messages were fetched for, by their tags.
        self._holders: dict[str, str] = {}
        self._acked: list[tuple[str, str]] = []
        #: The node that the fetch under way is for.
        self._asking = ""
        #: Replies that the blocking connection still owes, in order.
        self._expected: list[str] = []
        #: The last fetch took all it could: don't wait before the next one.
        self._more = False
        super().__init__(*args, **kwargs)
        for name in ("keyprefix_queue", "keyprefix_binding_deadlines", "keyprefix_binding_permanent"):
            setattr(self, name, f"{self.platform.keys.prefix}:{getattr(type(self), name)}")

    @classmethod
    def wake_latest(cls) -> None:
        """A slot is free that the channel which serves the pools now did not fill."""
        latest = cls._serving[-1]() if cls._serving else None
        if latest is not None and not latest.closed:
            latest.connection.cycle.wake()

    def outlived(self) -> int:
        """Jobs that run and came by an earlier channel, whose connection was lost."""
        if len(self._serving) < 2:
            return 0
        return sum(request.message.channel is not self for request in tuple(worker_state.active_requests))

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Nothing for the platform's queues, which scripts push to: so a worker can start while memory is short."""
        if queue in self.platform.queues:
            return
        try:
            super()._queue_bind(exchange, routing_key, pattern, queue)
        except OutOfMemoryError as error:
            # Of remote control, whose messages go without it. kombu tries again every second.
            logger.warning("the server is out of memory: %s", error, extra={"action": "server_full"})

    def basic_consume(self, queue: str, *args: Any, **kwargs: Any) -> Any:
        """As kombu's."""
        if queue in self.platform.queues and not (self._serving and self._serving[-1]() is self):
            # The last but one stands for all before.
            self._serving[:] = [*self._serving[-1:], weakref.ref(self)]
        return super().basic_consume(queue, *args, **kwargs)

    def holds(self, tag: str) -> bool:
        """Whether the message came by the fetch script, and is not acknowledged."""
        return tag in self._holders

    def note_ack(self, tag: str) -> None:
        """Has the message forgotten with the next fetch, or now if none will come."""
        self._acked.append((self._holders.pop(tag), tag))
        if not self._serves_pools():
            self._send_acks()

    def give_back(self, tag: str) -> None:
        """Puts the message in front of its queue."""
        script = self.platform.give_back
        with self.conn_or_acquire() as client:
            client.eval(script.source, 0, self._holders.pop(tag), tag)

    def close(self) -> None:
        """Gives back what is not acknowledged, and closes."""
        with contextlib.suppress(*self.connection_errors):
            self._send_acks()
        super().close()

    def _send_acks(self) -> None:
        acks = self._taken_acks()
        if acks:
            with self.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
                for command in acks:
                    pipe.execute_command(*command)
                pipe.execute()

    def _taken_acks(self) -> list[tuple[str, ...]]:
        """The commands that forget what is acknowledged."""
        acked, self._acked = self._acked, []
        by_holder: dict[str, list[str]] = {}
        for holder, tag in acked:
            by_holder.setdefault(holder, []).append(tag)
        return [("HDEL", self.platform.keys.unacked_of(holder), *tags) for holder, tags in by_holder.items()]

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """Connects as the store does: one reading of the URL, certificates checked, no re-sending by redis-py."""
        base, options = connection_class_and_options(self.platform.redis_url, self.platform.timeout)
        options["health_check_interval"] = self.health_check_interval
        options["max_connections"] = self.max_connections
        options.setdefault("db", 0)
        if not asynchronous:
            return {**options, "connection_class": base}
        channel = self

        class Connection(base):  # type: ignore[misc, valid-type] # chosen by the URL
            def disconnect(self, *args: Any, **kwargs: Any) -> None:
                super().disconnect(*args, **kwargs)
                # As in kombu: the poller must not watch a closed socket.
                if channel._registered:
                    channel._on_connection_disconnect(self)

        return {**options, "connection_class": Connection}

    def _serves_pools(self) -> bool:
        # Also beside queues of others, which a worker can be told to consume: whoever runs a job must have fetched it.
        return not self.platform.queues.isdisjoint(self.active_queues)

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Asks for messages; the event loop calls `_brpop_read` when the answer is there.

        A wait and the fetch after it are sent together: Redis runs the second command when the first one ends.
        """
        if not self._serves_pools():
            super()._brpop_start(timeout)
            return
        queues = self.active_queues
        connection = self.client.connection
        commands = []
        if self._more:
            acks = [pack(command) for command in self._taken_acks()]
            commands += acks
            self._expected += ["forget"] * len(acks)
        else:
            # Not in front of the wait: their replies would come before its own, and reading them would wait, too.
            self._send_acks()
            wake_keys = [pool_keys(queue).wake for queue in (*queues, self.platform.keys.node + node.id)]
            commands.append(pack(("BZPOPMIN", *wake_keys, timeout or self.brpop_timeout)))
            self._expected.append("wake")
        free = self.qos.can_consume_max_estimate()
        count = MOST_PER_FETCH if free is None else min(free, MOST_PER_FETCH)
        self._asking, fresh = node.id_and_fresh
        values = {
            "nodes": self.platform.keys.nodes,
            "node": self._asking,
            "fresh": int(fresh),
            "channel": self._name,
            "count": count,
            "queues": json.dumps(queues),
        }
        commands.append(pack(self.platform.fetch.values(values)))
        self._expected.append("fetch")
        self._asked_for = count
        self._in_poll = connection
        self._brpop_sent_at = monotonic()
        connection.send_packed_command([b"".join(commands)])

    def fetch(self) -> bool:
        """Asks for messages once, without a wait, and delivers them: for a consumer that has no event loop.

        Returns whether to ask again: it got all that it could take, or the server did not know the script.
        """
        client = self.client
        if client.connection is None:
            client.connection = client.connection_pool.get_connection()
        self._more = True
        self._brpop_start()
        with contextlib.suppress(Empty):
            self._brpop_read()
        return self._more

    def _brpop_read(self, **options: Any) -> bool:
        """Delivers what a fetch has taken. Raises Empty, as kombu expects, when that is nothing."""
        if not self._expected:
            delivered: bool = super()._brpop_read(**options)
            return delivered
        connection = self.client.connection
        try:
            taken = self._read_expected(connection)
        except self.connection_errors:
            self._expected.clear()
            connection.disconnect()
            raise
        finally:
            self._in_poll = None
        self._more = taken is None or len(taken) == 2 * self._asked_for
        taken = taken or []
        messages = [
            (bytes_to_str(queue), message)
            for queue, raw in zip(taken[::2], taken[1::2], strict=True)
            if (message := self._read(raw)) is not None
        ]
        for queue, message in messages:
            self._holders[message["properties"]["delivery_tag"]] = self._asking
            # Whoever claims the job does it for this node.
            message["headers"][NODE_HEADER] = self._asking
            self.connection._deliver(message, queue)
        if not messages:
            raise Empty
        return True

    def _read(self, raw: bytes) -> dict[str, Any] | None:
        """The message; None for what is none, which somebody has pushed by hand: it is dropped."""
        try:
            message: dict[str, Any] = loads(bytes_to_str(raw))
            properties = message["properties"]
            parts = (message["headers"], properties["delivery_info"], properties["delivery_tag"])
            if all(map(isinstance, parts, (dict, dict, str))):
                return message
        except (ValueError, TypeError, KeyError):
            pass
        logger.error("no message, dropped: %.200r", raw, extra={"action": "message_dropped"})
        if found := re.search(rb'"delivery_tag": ?"([^"\\\\]+)"', raw):
            self._acked.append((self._asking, bytes_to_str(found[1])))
        return None

    def _read_expected(self, connection: Any) -> list[bytes] | None:
        """Reads the outstanding replies. The fetch is the last; its messages, or None if it has to be sent again."""
        reply: Any = []
        while self._expected:
            try:
                reply = connection.read_response()
            except NoScriptError:
                # A new server, or its scripts were flushed.
                connection.send_command("SCRIPT", "LOAD", self.platform.fetch.source)
                connection.read_response()
                reply = None
            except ResponseError as error:
                # The server can't write now (disk full, read-only). Celery reconnects until it can; a worker must not
                # end by it.
                raise RedisConnectionError(f"fetch refused: {error}") from error
            self._expected.pop(0)
        if reply == b"gone":
            node.renew(self._asking)
            return None
        if reply is None:
            return None
        node.known(self._asking)
        if reply == b"more":
            return None
        return reply  # type: ignore[no-any-return] # a list, as the script says


class Poller(kombu_redis.MultiChannelPoller):
    """kombu's poller, which an acknowledgement by another greenlet ends the wait of.

    The gevent pool's consumer would else notice a free slot only when its wait is over. (Celery's event loop has a
    waker itself.)
    """

    _wake: tuple[socket.socket, socket.socket] | None = None

    def maybe_restore_messages(self) -> None:
        """Nothing: see `QoS.restore_visible`."""

    def wake(self) -> None:
        """Ends a running wait."""
        if self._in_protected_read and self._wake:
            with contextlib.suppress(BlockingIOError):
                self._wake[0].send(b"\0")

    def get(self, callback: Any, timeout: float | None = None) -> None:
        """Waits for messages, at most `timeout` seconds. Raises Empty when there are none."""
        if self._wake is None:
            self._wake = socket.socketpair()
            for end in self._wake:
                end.setblocking(False)
        self.poller.register(self._wake[1], self.eventflags)
        try:
            super().get(callback, timeout)
        finally:
            if self._wake:
                self.poller.unregister(self._wake[1])

    def handle_event(self, fileno: int, event: int) -> Any:
        """A wake-up is no message: the wait starts anew, and asks for what the free slot can take."""
        if self._wake is None or fileno != self._wake[1].fileno():
            return super().handle_event(fileno, event)
        with contextlib.suppress(BlockingIOError):
            self._wake[1].recv(4096)
        return None

    def close(self) -> None:
        """Closes the wake-up, too; a poller that is used again makes a new one."""
        super().close()
        wake, self._wake = self._wake, None
        for end in wake or ():
            end.close()


class Transport(kombu_redis.Transport):
    """The transport of the platform's app; see the module."""

    Channel = Channel
    #: kombu is to take the URL as it is: it only shows it, and the channel reads the platform's.
    can_parse_url = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = Poller()
