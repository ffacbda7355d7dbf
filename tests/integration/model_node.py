"""A worker node whose connection, memory and death a test holds in its hands."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.integration.model import Said
from tests.integration.model_state import Message, named_in
from tests.integration.pretend import PretendWorker
from xpert_mq.service import ManagedQueueService
from xpert_mq.store.connection import Call
from xpert_mq.store.keys import pool_keys
from xpert_mq.store.store import Claim


@dataclass(frozen=True)
class Held:
    """A message in the node's memory, by the channel that fetched it."""

    raw: str
    message: Message
    channel: int


@dataclass(frozen=True)
class Try:
    """A job that the node runs, by a hand-out."""

    claim: Claim
    held: Held


class ModelNode(PretendWorker):
    """A node that has said what it is."""

    def __init__(self, service: ManagedQueueService, name: str, said: Said) -> None:
        super().__init__(service, name)
        self.said = said
        self.channel = 0
        self.held: list[Held] = []
        self.tries: list[Try] = []
        #: Claims whose reply did not come.
        self.unheard: list[tuple[Call[Claim | None], Held]] = []

    def tell(self, *, fresh: bool = False) -> bool:
        said = self.said
        self._joined = True
        return self.beat(
            fresh=fresh, consuming=said.consuming, queues=said.queues, handlers=said.handlers, limits=said.limits
        )

    def fetch_some(self, count: int, *, heard: bool = True) -> list[Held] | None:
        """What a woken channel takes; None if the node is gone. Without the reply it has to take a new channel."""
        self._take_wake()
        values = {
            "nodes": self.store.keys.nodes,
            "node": self.node,
            "fresh": 0,
            "channel": self.channel,
            "count": count,
            "queues": json.dumps(self.said.queues),
        }
        call = Call(self.store.fetch_script, values, lambda reply: reply)
        fetches = 0
        while (reply := self.run(call)) == b"more":
            fetches += 1
            assert fetches < 20, "jobs go round and round"
        if reply == b"gone":
            return None
        fetched = [Held(raw.decode(), named_in(raw.decode()), self.channel) for raw in reply[1::2]]
        if not heard:
            self.connect_again()
            return []
        self.held += fetched
        return fetched

    def _take_wake(self) -> None:
        """As the idle wait does: from the first that has one."""
        with self.redis.pipeline(transaction=False) as pipe:
            wakes = [f"{self.store.keys.node}{self.node}:wake", *(pool_keys(queue).wake for queue in self.said.queues)]
            pipe.zmpop(len(wakes), wakes, min=True)
            pipe.execute()

    def connect_again(self) -> None:
        """A new channel; the messages of the one before are in the node's memory yet."""
        self.channel += 1

    def drop(self, held: Held) -> bool:
        """Takes the message out of the node's memory; False if its channel is closed."""
        self.held.remove(held)
        return held.channel == self.channel

    def acknowledge_held(self, held: Held) -> None:
        """One of a closed channel acknowledges in vain."""
        if held.channel == self.channel:
            self.redis.hdel(self.store.keys.unacked_of(self.node), held.message.tag)

    def give_back_held(self, held: Held) -> int:
        call = Call(self.store.give_back_script, {"node": self.node, "tag": held.message.tag}, int)
        return int(self.run(call))
