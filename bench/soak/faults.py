"""Carries out the planned faults, one after the other, each with real signals and commands."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import redis

from bench.soak.evidence import Incident, IncidentKind
from bench.soak.nodes import Node
from bench.soak.plan import Fault, FaultKind
from xpert_mq.embedded import EmbeddedServer

#: Of the messages in the queue, so many are deleted or doubled at most.
_MESSAGES = 20
#: Seconds until a fault that found nothing to hit is tried again.
_AGAIN = 0.2


class Faults:
    """What is due is done by `step`, which never waits for long.

    Args:
        plan: in the order of time.
        start: of the plan, as of time.monotonic.

    Attributes:
        incidents: what was done to Redis.
        done: how often each kind of fault was carried out.
    """

    def __init__(
        self, plan: Sequence[Fault], nodes: Sequence[Node], server: EmbeddedServer, queue: str, start: float
    ) -> None:
        self.incidents: list[Incident] = []
        self.done: Counter[FaultKind] = Counter()
        self._plan = list(reversed(plan))
        self._nodes = nodes
        self._server = server
        self._queue = queue
        self._start = start
        #: What is due, and has found nothing yet that it could hit.
        self._put_off: list[Fault] = []
        self._try_at = 0.0
        #: What ends by itself, and when.
        self._ends: list[tuple[float, Callable[[], None]]] = []
        self._rolling: list[tuple[Node, float]] = []
        self._actions: dict[FaultKind, Callable[[Fault], bool]] = {
            "kill child": self._kill_child,
            "kill node": lambda fault: self._with_node(fault, lambda node: node.kill(fault.seconds)),
            "kill main": lambda fault: self._with_node(fault, lambda node: node.kill(fault.seconds, main_only=True)),
            "freeze node shortly": self._freeze_node,
            "freeze node for long": self._freeze_node,
            "freeze main for long": self._freeze_node,
            "warm shutdown": lambda fault: self._with_node(fault, lambda node: node.shut_down(fault.seconds)),
            "cold shutdown": lambda fault: self._with_node(
                fault, lambda node: node.shut_down(fault.seconds, cold=True)
            ),
            "rollout": self._roll_out,
            "kill redis": self._kill_redis,
            "freeze redis shortly": self._freeze_redis,
            "freeze redis for long": self._freeze_redis,
            "flush scripts": lambda _: self._ask(lambda client: client.script_flush()),
            "kill connections": self._kill_connections,
            "delete messages": self._delete_messages,
            "double messages": self._double_messages,
        }

    def step(self) -> None:
        """Begins and ends what is due, and looks after the nodes."""
        now = time.monotonic()
        while self._plan and now >= self._start + self._plan[-1].at:
            self._put_off.append(self._plan.pop())
            self._try_at = now
        if now >= self._try_at:
            self._put_off = [fault for fault in self._put_off if not self._happens(fault)]
            self._try_at = now + _AGAIN
        for end in [end for at, end in self._ends if now >= at]:
            end()
        self._ends = [one for one in self._ends if now < one[0]]
        self._roll_on()
        for node in self._nodes:
            node.tend()

    def _happens(self, fault: Fault) -> bool:
        """Whether there was something that it could hit."""
        happens = self._actions[fault.kind](fault)
        if happens:
            self.done[fault.kind] += 1
        return happens

    @property
    def are_over(self) -> bool:
        """Whether all is done, and has ended."""
        whole = all(node.state == "running" for node in self._nodes)
        # There may be no more messages to hit; but there will be nodes and a server.
        put_off = [fault for fault in self._put_off if not fault.kind.endswith("messages")]
        return whole and not (self._plan or put_off or self._ends or self._rolling)

    def end_now(self) -> None:
        """Ends what lasts, so that everything can be told to go."""
        for _, end in self._ends:
            end()
        self._ends = []

    def _with_node(self, fault: Fault, do: Callable[[Node], None], pool: str | None = None) -> bool:
        some = [node for node in self._nodes if node.state == "running" and pool in (None, node.pool)]
        if some:
            do(some[fault.place % len(some)])
        return bool(some)

    def _kill_child(self, fault: Fault) -> bool:
        parents = [node for node in self._nodes if node.pool == "prefork" and node.state == "running"]
        children = [(node, pid) for node in parents for pid in node.children()]
        if children:
            node, pid = children[fault.place % len(children)]
            node.kill_child(pid)
        return bool(children)

    def _freeze_node(self, fault: Fault) -> bool:
        def freeze(node: Node) -> None:
            node.freeze(main_only=main_only)
            self._later(fault.seconds, node.thaw)

        main_only = fault.kind == "freeze main for long"
        # Elsewhere there is nothing beside the main process.
        return self._with_node(fault, freeze, "prefork" if main_only else None)

    def _roll_out(self, fault: Fault) -> bool:
        self._rolling = [(node, fault.seconds) for node in self._nodes]
        return True

    def _roll_on(self) -> None:
        """Tells one node after the other to go, each when the one before is there again."""
        if not self._rolling or any(node.state == "ending" for node in self._nodes):
            return
        node, pause = self._rolling[0]
        if node.state == "running":
            node.shut_down(pause)
            self._rolling.pop(0)

    def _kill_redis(self, fault: Fault) -> bool:
        if self._is_redis_away():
            return False
        away = self._note("redis away")
        self._server.kill()
        self._later(fault.seconds, self._start_redis, away)
        return True

    def _start_redis(self) -> None:
        self._server.start()

    def _freeze_redis(self, fault: Fault) -> bool:
        if self._is_redis_away():
            return False
        away = self._note("redis away")
        self._server.freeze()
        self._later(fault.seconds, self._server.thaw, away)
        return True

    def _is_redis_away(self) -> bool:
        return any(one.kind == "redis away" and one.until is None for one in self.incidents)

    def _kill_connections(self, fault: Fault) -> bool:
        def kill(client: redis.Redis) -> None:
            self._note("connections killed").until = time.monotonic()
            chance = random.Random(fault.place)
            own = client.client_id()
            for other in client.client_list():
                if int(other["id"]) != own and chance.random() < 0.5:
                    client.client_kill_filter(_id=other["id"])

        return self._ask(kill)

    def _delete_messages(self, fault: Fault) -> bool:
        def delete(client: redis.Redis) -> bool:
            chosen = self._chosen(client, fault)
            for message in chosen:
                client.lrem(self._queue, 1, message)
            return bool(chosen)

        return self._ask(delete)

    def _double_messages(self, fault: Fault) -> bool:
        def double(client: redis.Redis) -> bool:
            chosen = self._chosen(client, fault)
            for message in chosen:
                if fault.place % 2:
                    # Side by side, so that both are fetched at once.
                    client.linsert(self._queue, "BEFORE", message, message)
                else:
                    client.lpush(self._queue, message)
                    client.rpush(self._queue, message)
            return bool(chosen)

        return self._ask(double)

    def _chosen(self, client: redis.Redis, fault: Fault) -> list[Any]:
        """Some messages of the queue."""
        waiting: Any = client.lrange(self._queue, 0, -1)
        return random.Random(fault.place).sample(waiting, min(_MESSAGES, len(waiting)))

    def _ask(self, do: Callable[[redis.Redis], Any]) -> bool:
        """Sends something to Redis, if it is there."""
        if self._is_redis_away():
            return False
        with redis.Redis.from_url(self._server.url, socket_timeout=5) as client:
            return do(client) is not False

    def _later(self, seconds: float, end: Callable[[], None], incident: Incident | None = None) -> None:
        def end_and_note() -> None:
            end()
            if incident is not None:
                incident.until = time.monotonic()

        self._ends.append((time.monotonic() + seconds, end_and_note))

    def _note(self, kind: IncidentKind) -> Incident:
        incident = Incident(kind, time.monotonic())
        self.incidents.append(incident)
        return incident
