"""Checks of what a test leaves in Redis, and of what a payload carries."""

from __future__ import annotations

import dataclasses
import fnmatch
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, cast

import redis
from pydantic import BaseModel

from xpert_mq.context import Id, current_context
from xpert_mq.service import escaped_part, managed_queue
from xpert_mq.store.keys import split_token

#: Base64 or hexadecimal, too long for an id.
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{200,}={0,2}")
_DATA_URL = re.compile(r"data:[\w.+-]*/?[\w.+-]*(;[\w=.-]+)*,", re.IGNORECASE)
_LISTED = 20


def assert_scoped(client: redis.Redis, *tenants: Id, allow: str | Iterable[str] = ()) -> None:
    """All that the test has left in Redis carries one of its tenants: the jobs, and the plugins' keys as `redis_key`
    spells them.

    Args:
        client: of the test's own server.
        tenants: their ids; default: the current context's.
        allow: a pattern (as of a shell), or several, of keys that tenants may share.

    Raises:
        AssertionError: names the keys and jobs that carry none, or another.
        ValueError: no tenant is given, and there is none in the current context.
    """
    __tracebackhide__ = True
    given = tenants or (current_context().tenant_id,)
    if None in given or "" in given:
        raise ValueError("assert_scoped: name the tenants of the test, or call it in the context of one")
    known = [str(tenant) for tenant in given]
    shared = (allow,) if isinstance(allow, str) else tuple(allow)
    keys = managed_queue.store.keys
    found = [key.decode("utf-8", "replace") for key in cast("list[bytes]", client.keys("*"))]
    jobs = [key.removeprefix(keys.jobs) for key in found if key.startswith(keys.jobs)]
    wrong = [f"job {id_!r} of tenant {tenant!r}" for tenant, id_ in map(split_token, jobs) if tenant not in known]
    plugins = [key for key in found if not key.startswith(f"{keys.prefix}:")]
    wrong += [f"key {key}" for key in plugins if not _is_scoped(key, known) and not _matches(key, shared)]
    if wrong:
        lines = "".join(f"\n  {one}" for one in sorted(wrong)[:_LISTED])
        more = f"\n  and {len(wrong) - _LISTED} more" if len(wrong) > _LISTED else ""
        raise AssertionError(f"without one of the tenants {', '.join(map(repr, known))}:{lines}{more}")


def _is_scoped(key: str, tenants: Iterable[str]) -> bool:
    # Plugin, tenant, organization, and at least one part that says what the key is for.
    parts = key.split(":")
    return len(parts) > 3 and parts[1] in map(escaped_part, tenants)


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)


def no_bytes(payload: Any, *, longest_text: int = 1000) -> bool:
    """The payload carries ids, and not files. Always True, so that `assert no_bytes(…)` reads as it should.

    What does not belong into a payload, but where a handler can get it by its id: bytes, open files, data URLs, long
    text in base64 or hexadecimal, and any text of more than `longest_text` characters.

    Raises:
        AssertionError: names the paths.
    """
    __tracebackhide__ = True
    wrong = [f"\n  {path}: {what}" for path, what in _files("payload", payload, longest_text)]
    if wrong:
        raise AssertionError(f"a payload is to carry ids, not contents:{''.join(wrong)}")
    return True


def _files(path: str, value: Any, longest: int) -> Iterator[tuple[str, str]]:
    if isinstance(value, (bytes, bytearray, memoryview)):
        yield path, f"{len(value)} bytes"
    elif isinstance(value, io.IOBase):
        yield path, "an open file"
    elif isinstance(value, str):
        yield from ((path, what) for what in _text_trouble(value, longest))
    else:
        for name, part in _parts(value):
            yield from _files(f"{path}{name}", part, longest)


def _text_trouble(text: str, longest: int) -> Iterator[str]:
    if _DATA_URL.match(text):
        yield "a data URL"
    elif _ENCODED.fullmatch(re.sub(r"[\r\n]", "", text)):
        yield f"{len(text)} characters of encoded data"
    elif len(text) > longest:
        yield f"{len(text)} characters of text, more than {longest}"


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    """What a value is made of, by the end of its path."""
    if isinstance(value, BaseModel):
        yield from ((f".{name}", part) for name, part in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((f".{part.name}", getattr(value, part.name)) for part in dataclasses.fields(value))
    elif isinstance(value, Mapping):
        yield from ((f".{name}", part) for name, part in value.items())
        yield from ((f" (key {index})", name) for index, name in enumerate(value))
    elif isinstance(value, Collection):
        yield from ((f"[{index}]", part) for index, part in enumerate(value))
