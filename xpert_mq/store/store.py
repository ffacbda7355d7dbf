"""The operations on job records, as calls that either executor sends.

A store only builds calls and reads replies; `Executor` and `AsyncExecutor` carry them. A job is named by its token
(tenant and id), a hand-out of it by a generation, and the try that owns it by the nonce of its claim.
"""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from xpert_mq.errors import StalledJobError
from xpert_mq.models import Envelope, JobOptions, JobSnapshot, JobState, Keep
from xpert_mq.payload import decode_payload
from xpert_mq.settings import Settings
from xpert_mq.store.connection import Call
from xpert_mq.store.keys import Keys, job_token, logical_of, task_id
from xpert_mq.store.listing import (
    Count,
    Group,
    JobFilter,
    ListedJob,
    Position,
    Tallies,
    parse_counts,
    parse_groups,
    parse_jobs,
    parse_tallies,
)
from xpert_mq.store.scripts import Script, load_script

#: The version of the records' format. A node leaves records of a later one to nodes that know it.
FORMAT = 1

#: How long the counts of a minute are kept.
TALLY_SECONDS = 24 * 3600

#: Failed tries whose stack traces are kept.
KEPT_STACKS = 10


@dataclass(frozen=True, slots=True)
class Added:
    """The reply to an add: `holder` is the envelope of the job that keeps the id, on a conflict."""

    outcome: Literal["created", "kept", "conflict"]
    state: JobState
    holder: Envelope | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A try's hold on its job; whatever it records it records by this."""

    token: str
    nonce: str
    node: str
    queue: str
    envelope: Envelope
    opts: JobOptions
    payload: bytes
    attempts_made: int
    stacks: tuple[str, ...]

    @property
    def job_id(self) -> str:
        """The id as the plugin knows it."""
        return self.token[len(job_token(self.envelope.tenant_id, "")) :]

    @property
    def shadow(self) -> str:
        """The logical job's name in logs and monitors."""
        return shadow_of(self.envelope)


@dataclass(frozen=True, slots=True)
class Failure:
    """What is kept of a failed try: the bare message, the exception's type as `module.name`, and the stack."""

    reason: str
    type: str
    stack: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The reply to a cancel or rerun: done or not, and the state the job had, or has now (None: no such job)."""

    done: bool
    state: JobState | None


def shadow_of(envelope: Envelope) -> str:
    """`plugin/queue/job`."""
    return f"{envelope.plugin_name}/{envelope.queue_name}/{envelope.job_name}"


def new_nonce() -> str:
    """A text no other call has."""
    return secrets.token_hex(8)


class Store:
    """Builds the calls of one prefix.

    Args:
        settings: the prefix, and so the spelling of all keys.
        fill_function: gives the message template as Lua (`xpert_mq.message.lua_fill_function`).
    """

    def __init__(self, settings: Settings, fill_function: Callable[[], str]) -> None:
        self.keys = Keys(settings.prefix)
        failed_age_ms, failed_count = _limits(JobOptions().remove_on_fail)
        # Twice the time that a call is sent again for.
        self._constants: dict[str, str | int] = {
            **self.keys.lua_constants(),
            "CALL_MS": round(2000 * settings.enqueue_timeout),
            "TRY_MS": round(2000 * settings.node_timeout),
            "TALLY_SECONDS": TALLY_SECONDS,
            "STALLED_TYPE": f"{StalledJobError.__module__}.{StalledJobError.__qualname__}",
            "FAILED_AGE_MS": failed_age_ms,
            "FAILED_COUNT": failed_count,
            "KEPT_STACKS": KEPT_STACKS,
            "FORMAT": FORMAT,
        }
        self._fill_function = fill_function

    @property
    def hands_out(self) -> bool:
        """Whether `prepare` has been called, or a call that hands jobs out was built."""
        return "_add" in self.__dict__

    def prepare(self) -> None:
        """Loads what handing out needs. The first time it takes a while, since it imports Celery."""
        _ = self._add, self._rerun

    @functools.cached_property
    def _add(self) -> Script:
        return self._script("add")

    @functools.cached_property
    def _adopt(self) -> Script:
        return self._script("adopt")

    @functools.cached_property
    def _claim(self) -> Script:
        return self._script("claim")

    @functools.cached_property
    def _finish(self) -> Script:
        return self._script("finish")

    @functools.cached_property
    def _retry(self) -> Script:
        return self._script("retry")

    @functools.cached_property
    def _checkpoint(self) -> Script:
        return self._script("checkpoint")

    @functools.cached_property
    def _cancel(self) -> Script:
        return self._script("cancel")

    @functools.cached_property
    def _rerun(self) -> Script:
        return self._script("rerun")

    @functools.cached_property
    def _read(self) -> Script:
        return self._script("read")

    @functools.cached_property
    def _promote(self) -> Script:
        return self._script("promote")

    @functools.cached_property
    def _expire(self) -> Script:
        return self._script("expire")

    @functools.cached_property
    def _beat(self) -> Script:
        return self._script("beat")

    @functools.cached_property
    def _recover(self) -> Script:
        return self._script("recover")

    @functools.cached_property
    def _leave(self) -> Script:
        return self._script("leave")

    @functools.cached_property
    def _pass_on(self) -> Script:
        return self._script("pass_on")

    @functools.cached_property
    def _stall(self) -> Script:
        return self._script("stall")

    @functools.cached_property
    def _running(self) -> Script:
        return self._script("running")

    @functools.cached_property
    def _sweep(self) -> Script:
        return self._script("sweep")

    @functools.cached_property
    def _nodes(self) -> Script:
        return self._script("nodes")

    @functools.cached_property
    def give_back_script(self) -> Script:
        """For the transport, as `fetch_script`."""
        return self._script("give_back")

    @functools.cached_property
    def _groups(self) -> Script:
        return self._script("groups")

    @functools.cached_property
    def _count(self) -> Script:
        return self._script("count")

    @functools.cached_property
    def _list(self) -> Script:
        return self._script("list")

    @functools.cached_property
    def _tallies(self) -> Script:
        return self._script("tallies")

    @functools.cached_property
    def fetch_script(self) -> Script:
        """For the transport, which sends it on kombu's connection."""
        return self._script("fetch")

    def _script(self, name: str) -> Script:
        return load_script(name, self._constants, self._fill_function)

    def add(
        self,
        job_id: str,
        envelope: Envelope,
        opts: JobOptions,
        payload: str,
        queue: str,
        headers: str = "",
        nonce: str | None = None,
    ) -> Call[Added]:
        """Record a job and hand it out, or park it for `opts.delay_ms`.

        Args:
            headers: the inside of a JSON object.
            nonce: of an earlier call that this one repeats.
        """
        nonce = nonce or new_nonce()
        values = {
            "job": self.keys.job(job_token(envelope.tenant_id, job_id)),
            "shadow": shadow_of(envelope),
            "logical": logical_of(envelope),
            "queue": queue,
            "delay_ms": opts.delay_ms,
            # With the nonce and the options: two fields less to keep, and the scripts find the nonce without parsing.
            "envelope": f'{{"v":{FORMAT},"nonce":"{nonce}","opts":{opts.to_json()},{envelope.to_json()[1:]}',
            "payload": payload,
            "headers": headers,
            "resend": 0,
        }
        return Call(self._add, values, _parse_added, job_id)

    def adopt(self, add: Call[Added], ledger: str, source: str, made: int) -> Call[Added | None]:
        """What `add` would record; None when the ledger has the source already.

        Args:
            made: tries that have ended already.
        """
        values = {name: value for name, value in add.values.items() if name not in ("headers", "resend")}
        values.update(ledger=self.keys.adopted + ledger, source=source, made=made)
        return Call(self._adopt, values, _parse_adopted, add.job_id)

    def claim(self, token: str, generation: int, queue: str, node: str, nonce: str | None = None) -> Call[Claim | None]:
        """Take the job for one try on the node; None when this hand-out of it is no longer the latest, or is taken, or
        the node was declared dead.
        """
        nonce = nonce or new_nonce()
        values = {
            "job": self.keys.job(token),
            "token": token,
            "generation": generation,
            "queue": queue,
            "node": node,
            "nonce": nonce,
        }
        return Call(self._claim, values, functools.partial(_parse_claim, token, nonce, node, queue))

    def complete(self, claim: Claim, result: str = "") -> Call[bool]:
        """End the try's job as completed; False when the try has lost it. `result`: JSON, or empty for none."""
        return self._finish_call(claim, "completed", claim.opts.remove_on_complete, result=result)

    def fail(self, claim: Claim, failure: Failure) -> Call[bool]:
        """End the try's job as failed; False when the try has lost it."""
        return self._finish_call(
            claim,
            "failed",
            claim.opts.remove_on_fail,
            failed_reason=failure.reason,
            failed_type=failure.type,
            stacks=_with_stack(claim, failure),
        )

    def _finish_call(self, claim: Claim, outcome: str, keep: Keep, **said: str) -> Call[bool]:
        age_ms, count = _limits(keep)
        values = {
            "job": self.keys.job(claim.token),
            "token": claim.token,
            "nonce": claim.nonce,
            "node": claim.node,
            "outcome": outcome,
            "logical": logical_of(claim.envelope),
            "age_ms": age_ms,
            "count": count,
            "result": "",
            "failed_reason": "",
            "failed_type": "",
            "stacks": "",
            "resend": 0,
            **said,
        }
        return Call(self._finish, values, _is_done, claim.job_id)

    def try_again(self, claim: Claim, delay_ms: int, failure: Failure | None) -> Call[bool]:
        """Give the job back for another try: after a failure, which spends a try, or without one (Defer)."""
        values = {
            "job": self.keys.job(claim.token),
            "token": claim.token,
            "nonce": claim.nonce,
            "node": claim.node,
            "logical": logical_of(claim.envelope),
            "queue": claim.queue,
            "shadow": claim.shadow,
            "delay_ms": delay_ms,
            "spent": int(failure is not None),
            "failed_reason": failure.reason if failure else "",
            "failed_type": failure.type if failure else "",
            "stacks": _with_stack(claim, failure) if failure else "",
            "resend": 0,
        }
        return Call(self._retry, values, _is_done, claim.job_id)

    def checkpoint(self, claim: Claim, payload: str) -> Call[bool]:
        """Replace the payload of the try's job; False when the try has lost it."""
        values = {"job": self.keys.job(claim.token), "nonce": claim.nonce, "payload": payload}
        return Call(self._checkpoint, values, _is_done, claim.job_id)

    def cancel(self, tenant_id: str | None, job_id: str, generation: int | None = None) -> Call[Outcome]:
        """Remove a job that has not started; with a generation, only the job that this hand-out belongs to."""
        token = job_token(tenant_id, job_id)
        values = {
            "job": self.keys.job(token),
            "token": token,
            "generation": "" if generation is None else generation,
            "nonce": new_nonce(),
            "resend": 0,
        }
        return Call(self._cancel, values, _parse_outcome, job_id)

    def rerun(self, tenant_id: str | None, job_id: str) -> Call[Outcome]:
        """Run a failed job again from its first attempt."""
        token = job_token(tenant_id, job_id)
        values = {"job": self.keys.job(token), "token": token, "nonce": new_nonce(), "resend": 0}
        return Call(self._rerun, values, _parse_outcome, job_id)

    def read(self, tenant_id: str | None, job_id: str) -> Call[Record | None]:
        """The job as its record is now."""
        token = job_token(tenant_id, job_id)
        values = {"job": self.keys.job(token), "token": token}
        return Call(self._read, values, functools.partial(_parse_record, job_id), job_id)

    def promote(self, queue: str, limit: int) -> Call[tuple[int, int | None]]:
        """Hand out due jobs. Gives how many, and the milliseconds until the next is due (None: there is none)."""
        return Call(self._promote, {"queue": queue, "limit": limit}, _parse_count_and_next)

    def expire(self, limit: int) -> Call[tuple[int, int | None]]:
        """Remove finished jobs whose age is over. Gives how many, and the milliseconds until the next (None: there is
        none).
        """
        return Call(self._expire, {"expiring": self.keys.expiring, "limit": limit}, _parse_count_and_next)

    def beat(
        self,
        node: str,
        info: NodeInfo,
        *,
        fresh: bool,
        gap_ms: int,
        consuming: bool = True,
        hangs: bool = False,
        tick_age_ms: int = 0,
    ) -> Call[bool]:
        """Say that the node is alive; False when it was declared dead, and has to take a new id.

        Args:
            info: what the node says of itself.
            fresh: the id is new, and may not be known yet.
            consuming: it takes jobs.
            hangs: the consumer's loop stands still, for too long: it takes none, whatever it would.
            tick_age_ms: since when the consumer's loop has not been seen.
            gap_ms: what counts as a gap between two beats.
        """
        values = {
            "nodes": self.keys.nodes,
            "node": node,
            "fresh": int(fresh),
            "info": info.to_json(consuming=consuming),
            "queues": json.dumps(info.queues),
            "handlers": json.dumps(info.handlers),
            "limits": json.dumps([part for limit in info.limits.items() for part in limit]),
            "consuming": int(consuming and not hangs),
            "tick_age_ms": tick_age_ms,
            "gap_ms": gap_ms,
        }
        return Call(self._beat, values, lambda reply: reply == b"alive")

    def recover(self, node: str, timeout_ms: int, most_stalls: int, limit: int) -> Call[Recovered]:
        """As the node: declare those dead that miss their beats, and take back what the gone ones hold."""
        values = {
            "nodes": self.keys.nodes,
            "node": node,
            "timeout_ms": timeout_ms,
            "most_stalls": most_stalls,
            "limit": limit,
        }
        return Call(self._recover, values, _parse_recovered)

    def leave(self, node: str) -> Call[bool]:
        """The node goes. What it holds is taken back by `recover`, and nothing of it counts as a stall."""
        return Call(self._leave, {"nodes": self.keys.nodes, "node": node}, _is_done)

    def pass_on(self, claim: Claim, timeout_ms: int) -> Call[str]:
        """Give the job to another node that has its handler: `done`, `nobody` has it, or `lost` by this try."""
        values = {
            "job": self.keys.job(claim.token),
            "token": claim.token,
            "nonce": claim.nonce,
            "node": claim.node,
            "queue": claim.queue,
            "scope": claim.envelope.scope_key or "",
            "logical": logical_of(claim.envelope),
            "timeout_ms": timeout_ms,
            "resend": 0,
        }
        return Call(self._pass_on, values, bytes.decode)

    def stall(
        self, token: str, node: str, *, generation: int | None = None, nonce: str = "", most_stalls: int | None = None
    ) -> Call[str]:
        """Take a job from a try that will not end it: `rerun`, `failed`, or `other` where that try does not run.

        Args:
            generation, nonce: the try, by its hand-out or by its claim.
            most_stalls: None does not count it.
        """
        values = {
            "job": self.keys.job(token),
            "token": token,
            "generation": "" if generation is None else generation,
            "nonce": nonce or "-",
            "node": node,
            "most_stalls": "" if most_stalls is None else most_stalls,
        }
        return Call(self._stall, values, bytes.decode)

    def running(self, node: str) -> Call[dict[str, str]]:
        """What the node runs, by Redis' account: the nonces of the claims by tokens."""
        return Call(self._running, {"node": node}, _parse_running)

    def sweep(self, queue: str, limit: int) -> Call[list[str]]:
        """Push jobs again that wait and whose message is gone; gives their tokens."""
        return Call(self._sweep, {"queue": queue, "limit": limit}, _texts)

    def nodes(self) -> Call[Sequence[NodeState]]:
        """The nodes that are not gone."""
        return Call(self._nodes, {"nodes": self.keys.nodes}, _parse_nodes)

    def groups(self, prefix: str, after: str | None, limit: int) -> Call[list[Group]]:
        """The groups whose names begin with the prefix, in the order of their names, from behind `after`."""
        first = f"[{prefix}" if after is None else f"({after}"
        # No UTF-8 text has this byte.
        last = b"(" + prefix.encode() + b"\xff"
        values = {"groups": self.keys.groups, "from": first, "to": last, "limit": limit}
        return Call(self._groups, values, parse_groups)

    def count(self, groups: Sequence[Group]) -> Call[list[Count]]:
        """How many jobs of each group are in each state."""
        values = {"names": json.dumps([group.name for group in groups])}
        return Call(self._count, values, parse_counts)

    def list_jobs(
        self,
        groups: Sequence[Group],
        wanted: JobFilter,
        after: Position | None,
        until: Position | None,
        limit: int,
        *,
        newest_first: bool,
    ) -> Call[list[ListedJob]]:
        """Jobs of the groups, as the filter's states and times want them, from behind `after` up to the time of
        `until`.
        """
        values = {
            "names": json.dumps([group.name for group in groups]),
            "states": json.dumps(wanted.states),
            "order": "newest" if newest_first else "oldest",
            "oldest_ms": "" if wanted.at_most_ms is None else wanted.at_most_ms,
            "newest_ms": "" if wanted.at_least_ms is None else wanted.at_least_ms,
            "after_time": after.time if after else "",
            "after_token": after.token if after else "",
            "until_time": until.time if until else "",
            "limit": limit,
        }
        return Call(self._list, values, parse_jobs)

    def tallies(self, minutes: int) -> Call[Tallies]:
        """What was counted in this minute and those before it; they are kept for `TALLY_SECONDS`."""
        return Call(self._tallies, {"tallies": self.keys.tallies, "minutes": minutes}, parse_tallies)


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a node says of itself.

    Attributes:
        queues: those that it consumes.
        handlers: those that it has, as `handler_limit` names them.
        limits: jobs at a time, by the names of `handler_limit` and `pool_limit`; 0 for a scope's handler that has none
            where the one for all scopes has.
        ticks: whether its consumer's loop never stands still.
        more: for people.
    """

    queues: Sequence[str]
    handlers: Sequence[str] = ()
    limits: Mapping[str, int] = field(default_factory=dict)
    ticks: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self, *, consuming: bool) -> str:
        """For whoever asks after the node's health."""
        return json.dumps({"queues": self.queues, "ticks": self.ticks, "consuming": consuming, **self.more})


@dataclass(frozen=True, slots=True)
class Recovered:
    """What was taken back from nodes that are gone; `more` is left to do."""

    dead_nodes: list[str]
    rerun: list[str]
    failed: list[str]
    messages: int
    more: bool


@dataclass(frozen=True, slots=True)
class NodeState:
    """A node as the others see it; `tick_ms` and `info` are None until its first beat."""

    id: str
    beat_ms: int
    tick_ms: int | None
    info: dict[str, Any] | None

    def consumes(self, queue: str) -> bool:
        """Whether it has said that it consumes the queue."""
        return self.info is not None and queue in self.info["queues"]

    @property
    def takes_jobs(self) -> bool:
        """Whether it is not about to end, or to connect again."""
        return self.info is not None and bool(self.info["consuming"])

    def is_healthy(self, timeout_ms: int) -> bool:
        """Whether it has beaten in this time, and its consumer's loop, where that never stands still, was seen."""
        if self.beat_ms > timeout_ms or self.info is None or self.tick_ms is None:
            return False
        return not self.info["ticks"] or self.tick_ms <= timeout_ms


@dataclass(frozen=True, slots=True)
class Record:
    """A record as read: the snapshot, and what only Celery's side of the house asks for."""

    snapshot: JobSnapshot
    envelope: Envelope
    #: Generations of the first and of the latest hand-out of the job's present life.
    born: int
    generation: int
    failed_type: str | None

    def answers_for(self, generation: int) -> bool:
        """Whether a task id with this generation means this job, and not an earlier one of the same id."""
        return self.born <= generation <= self.generation

    def task_id(self) -> str:
        """The Celery task id of the latest hand-out."""
        return task_id(job_token(self.snapshot.tenant_id, self.snapshot.id), self.generation)


def _limits(keep: Keep) -> tuple[int | str, int | str]:
    """(age in ms, count) for the finish script; '' is no limit, count 0 removes at once."""
    if keep is True:
        return "", 0
    if keep is False:
        return "", ""
    if isinstance(keep, int):
        return "", keep
    age = keep.get("age")
    age_ms = "" if age is None else round(age * 1000)
    return age_ms, 0 if age_ms == 0 else keep.get("count", "")


def _with_stack(claim: Claim, failure: Failure) -> str:
    return json.dumps([*claim.stacks, failure.stack][-KEPT_STACKS:])


def _is_done(reply: bytes) -> bool:
    return reply == b"done"


def _parse_added(reply: bytes) -> Added:
    outcome: Any
    state: Any
    outcome, state, *holder = reply.decode().split(" ", 2)
    return Added(outcome, state, Envelope.from_json(holder[0]) if holder else None)


def _parse_adopted(reply: bytes) -> Added | None:
    return None if reply == b"already" else _parse_added(reply)


def _parse_claim(token: str, nonce: str, node: str, queue: str, reply: Sequence[Any]) -> Claim | None:
    if reply[0] != b"claimed":
        return None
    _, text, payload, made, stacks = reply
    envelope, opts = _parse_envelope(text)
    return Claim(
        token,
        nonce,
        node,
        queue,
        envelope,
        opts,
        payload,
        int(made),
        tuple(json.loads(stacks)) if stacks else (),
    )


def _parse_envelope(text: bytes) -> tuple[Envelope, JobOptions]:
    data = json.loads(text)
    return Envelope.load(data), JobOptions.load(data["opts"])


def _parse_outcome(reply: Sequence[bytes]) -> Outcome:
    state: Any = reply[1].decode() if len(reply) > 1 else None
    return Outcome(reply[0] in (b"cancelled", b"done"), state)


def _parse_count_and_next(reply: Sequence[int]) -> tuple[int, int | None]:
    count, wait = reply
    return count, None if wait < 0 else wait


def _parse_recovered(reply: Sequence[Any]) -> Recovered:
    dead, rerun, failed, messages, more = reply
    return Recovered(_texts(dead), _texts(rerun), _texts(failed), messages, more == b"1")


def _parse_running(reply: Sequence[bytes]) -> dict[str, str]:
    texts = _texts(reply)
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _parse_nodes(reply: Sequence[Any]) -> list[NodeState]:
    return [NodeState(name.decode(), beat, tick, info and json.loads(info)) for name, beat, tick, info in reply]


def _texts(reply: Sequence[bytes]) -> list[str]:
    return [text.decode() for text in reply]


def _parse_record(job_id: str, reply: Sequence[bytes]) -> Record | None:
    if not reply:
        return None
    fields = dict(zip((name.decode() for name in reply[::2]), reply[1::2], strict=True))
    envelope, opts = _parse_envelope(fields["envelope"])
    generation = int(fields["gen"])
    state: Any = fields["state"].decode()
    snapshot = JobSnapshot(
        id=job_id,
        name=envelope.job_name,
        data=decode_payload(fields["payload"]),
        attempts_made=int(fields.get("made", 0)),
        opts=opts,
        state=state,
        failed_reason=_text(fields.get("failed_reason")),
        stacktrace=json.loads(fields["stacks"]) if "stacks" in fields else [],
        return_value=decode_payload(fields["result"]) if "result" in fields else None,
        timestamp=envelope.enqueued_at or 0,
        processed_on=_number(fields.get("processed_on")),
        finished_on=_number(fields.get("finished_on")),
        plugin_name=envelope.plugin_name,
        queue_name=envelope.queue_name,
        tenant_id=envelope.tenant_id,
        organization_id=envelope.organization_id,
        scope_key=envelope.scope_key,
        user_id=envelope.user_id,
    )
    return Record(snapshot, envelope, int(fields.get("born", generation)), generation, _text(fields.get("failed_type")))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(value)
