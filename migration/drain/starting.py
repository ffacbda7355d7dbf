"""`drain … mapping`: a mapping file to begin with, from what is in an old queue."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xpert_mq.cli.output import counted, one_line

from .mapping import quoted
from .old_job import UnfitError
from .old_queue import ALL_PLACES, OldQueue
from .reading import Reader
from .scripts import Scripts

#: Jobs of a place that are looked at.
_LOOKED_AT = 2000
_BATCH = 250

#: What plugins call them.
_OWNERS: Mapping[str, Sequence[str]] = {
    "tenant_id": ("tenantId", "tenant_id"),
    "organization_id": ("organizationId", "organization_id", "orgId"),
    "scope_key": ("scopeKey", "scope_key"),
    "user_id": ("userId", "user_id"),
}

#: Of an envelope of the platform's own.
_ENVELOPE = ("pluginName", "queueName", "jobName", "payload")


@dataclass(slots=True)
class _Name:
    """What the jobs of a name have in common.

    Attributes:
        keys: of all of their data, with a value each; None: there was no job yet.
    """

    jobs: int = 0
    keys: set[str] | None = None
    automatic_ids: bool = False

    def add(self, job_id: bytes, data: Any) -> None:
        self.jobs += 1
        self.automatic_ids |= job_id.isdigit()
        keys = {key for key, value in data.items() if value is not None} if isinstance(data, dict) else set()
        self.keys = keys if self.keys is None else self.keys & keys


def starting_mapping(queue: OldQueue) -> str:
    """The text of the file. What a person must decide is marked, and the file is refused until that is done."""
    reader = Reader(queue, Scripts(queue.client), _BATCH)
    names: defaultdict[str, _Name] = defaultdict(_Name)
    for place in ALL_PLACES:
        for first in range(0, _LOOKED_AT, _BATCH):
            for job in reader.read(place, first):
                with contextlib.suppress(UnfitError):
                    job.check()
                    names[job.name].add(job.id, job.data())
    lines = [
        f"# What the jobs of {one_line(queue.full_name)} become. A text is the value itself;",
        '# { path = "a.b" } is where it is in the data, { none = true } says that there is none.',
        "# After a path, optional = true lets it be missing.",
    ]
    for name, found in sorted(names.items()):
        lines += ["", *_table(queue.name, name, found)]
    return "\n".join(lines) + "\n"


def _table(queue: str, name: str, found: _Name) -> Iterator[str]:
    keys = found.keys or set()
    yield f"[{quoted(queue)}.{quoted(name)}]"
    yield f"# Of {counted(found.jobs, 'job')}; in all data: {', '.join(map(one_line, sorted(keys))) or 'nothing'}"
    if keys.issuperset(_ENVELOPE):
        yield 'plugin_name = { path = "pluginName" }'
        yield 'queue_name = { path = "queueName" }'
        yield 'job_name = { path = "jobName" }'
        yield 'payload = { path = "payload" }'
    else:
        yield 'plugin_name = ""  # decide: the plugin that handles it'
        yield f"queue_name = {quoted(queue)}"
        yield f"job_name = {quoted(name)}"
    yield from (_owner(field, spellings, keys) for field, spellings in _OWNERS.items())
    if found.automatic_ids:
        yield '# Some ids are numbers, which other queues have too. With "{id}" they stay what they were.'
        yield 'id = "{queue}-{id}"'
    else:
        yield 'id = "{id}"'


def _owner(field_name: str, spellings: Sequence[str], keys: set[str]) -> str:
    found = next((spelling for spelling in spellings if spelling in keys), None)
    if found:
        return f"{field_name} = {{ path = {quoted(found)} }}"
    if field_name == "tenant_id":
        return 'tenant_id = ""  # decide: { path = "…" }, or { none = true }'
    return f"{field_name} = {{ none = true }}"
