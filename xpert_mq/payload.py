"""Payloads as JSON text and back, without loss: what JSON can say comes back as it was, and what it can't is an error.

The fast path is one call of Python's own C encoder. Whatever stops it (an integer of thousands of digits, a key that
is no text, a value that can't be encoded) is done again by `_SlowWriter`, which knows the path to where it is.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Context, Decimal
from enum import Enum
from itertools import accumulate
from math import isfinite
from typing import Any, Final, NamedTuple, NoReturn
from uuid import UUID

from pydantic_core import to_jsonable_python

from xpert_mq.errors import InvalidJobError

MAX_DEPTH: Final = 500
"""Levels of nesting. Python's own limit depends on the caller's stack; a fixed one below it means that whatever can be
enqueued can be read in a worker."""

_LEAVES: Final = frozenset({datetime, date, time, timedelta, UUID, bytes})
_SURROGATES = re.compile("[\ud800-\udfff]")
_NO_MARKS = bytes(set(range(256)) - set(b'[]{}"'))


def encode_payload(value: object, limit: int, *, field: str = "payload") -> str:
    """Encode a value as compact JSON text that UTF-8 can hold (lone surrogates are escaped).

    Beyond JSON's own types it takes what pydantic encodes: datetime, UUID, Decimal, enums, dataclasses, models (by
    alias, so that they validate again), sets; and such as keys, too.

    Args:
        value: what to encode.
        limit: the most bytes of UTF-8 that it may take.
        field: what errors call the value.

    Raises:
        InvalidJobError: NaN or infinity, what can't be encoded, circular or too deep nesting (each with the path, as in
            `payload.items[3].price`), or more bytes than the limit.
    """
    try:
        text = _storable(_encode(value))
        if text.count("[") + text.count("{") > MAX_DEPTH and _depth(text) > MAX_DEPTH:
            raise ValueError("too deep")
    except Exception:  # noqa: BLE001 - also what foreign serializers raise; the slow writer says it with the path
        text = _storable(_SlowWriter(field, limit).text_of(value, field))
    return _within(limit, text, field)


def decode_payload(text: str | bytes) -> Any:
    """Read what `encode_payload` wrote.

    Raises:
        json.JSONDecodeError: the text is not JSON.
    """
    if isinstance(text, bytes):
        text = text.decode()
    try:
        return _decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer of more digits than Python reads at once
        return _decode_huge(text)


def _plain(value: Any) -> Any:
    """One step from a value that JSON doesn't know to one that it does; the encoder goes on from there.

    Containers are only opened here, so that whatever is inside meets the encoder's own checks (NaN, also as a key;
    circular references). Models are left to pydantic, which may write a NaN as null, hence the look beforehand.
    """
    kind = type(value)
    if kind in _LEAVES:
        return to_jsonable_python(value)
    if hasattr(kind, "__pydantic_serializer__"):
        if _has_nonfinite(_dumped(value)):
            raise ValueError("NaN or infinity")
        return to_jsonable_python(value)
    if is_dataclass(kind):
        return {part.name: getattr(value, part.name) for part in fields(kind)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (set, frozenset, deque)):
        return list(value)
    if isinstance(value, Iterator):
        raise TypeError(f"a {kind.__name__} can be read only once")  # pydantic would use it up
    if isinstance(value, Decimal) and not value.is_finite():
        raise ValueError("NaN or infinity")
    return to_jsonable_python(value)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode
_encode_text = json.JSONEncoder(ensure_ascii=False).encode
_decode = json.JSONDecoder().decode


def _dumped(model: Any) -> Any:
    """What pydantic makes of its model, with numbers and keys still as they are."""
    return type(model).__pydantic_serializer__.to_python(model, mode="python", by_alias=True, warnings=False)


def _has_nonfinite(value: Any) -> bool:
    """Whether a NaN or an infinity is among the values or keys. A loop, so that nesting costs no stack."""
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, (float, Decimal)):
            if not isfinite(part):
                return True
        elif isinstance(part, dict):
            pending.extend(part)
            pending.extend(part.values())
        elif isinstance(part, (list, tuple, set, frozenset, deque)):
            pending.extend(part)
    return False


def _step(key: object) -> str:
    """A key as the next step of a path: `.name`, or `["any other"]`, cut short where it is long."""
    if isinstance(key, str) and key.isidentifier() and len(key) <= 50:
        return f".{key}"
    try:
        shown = repr(key)
    except Exception:  # noqa: BLE001 - a foreign __repr__, or an integer too long to print
        shown = type(key).__name__
    return f"[{shown[:50]}…]" if len(shown) > 50 else f"[{shown}]"


def _storable(text: str) -> str:
    """The text with lone surrogates escaped: UTF-8 has no form for them, JSON has."""
    if text.isascii():
        return text
    return _SURROGATES.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _within(limit: int, text: str, field: str) -> str:
    size = len(text) if text.isascii() else len(text.encode())
    if size > limit:
        raise _too_large(field, f"{field} takes {size} bytes", limit)
    return text


def _too_large(field: str, said: str, limit: int) -> InvalidJobError:
    advice = "keep large data elsewhere and send a reference to it, or raise XPERT_MQ_PAYLOAD_LIMIT"
    return InvalidJobError(f"{said} encoded, and at most {limit} are allowed; {advice}", field=field)


def _depth(text: str) -> int:
    """How deep a JSON text nests."""
    unescaped = text.replace("\\\\", "").replace('\\"', "")
    marks = unescaped.encode().translate(None, _NO_MARKS).replace(b'""', b"").decode()
    brackets = "".join(marks.split('"')[::2])  # without those inside strings
    return max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets))


class _Level(NamedTuple):
    """A container being written."""

    container: object
    path: str
    parts: Iterator[tuple[str, str, Any]]  # what to write before each part, its path, and the part
    closing: str


class _SlowWriter:
    """Writes JSON as the C encoder does, with any integer and any key that pydantic knows, and paths in its errors.

    It keeps its own stack of levels, so that the caller's stack sets no limit.
    """

    def __init__(self, field: str, limit: int) -> None:
        self._field = field
        self._limit = limit
        self._open: dict[int, str] = {}  # the containers around the current value, with their paths

    def text_of(self, value: object, path: str) -> str:
        """The value as JSON text, or an InvalidJobError that names the path."""
        written: list[str] = []
        levels = [_Level(None, path, iter([("", path, value)]), "")]
        while levels:
            level = levels[-1]
            for before, at, part in level.parts:
                written.append(before)
                scalar = self._scalar(part, at)
                if scalar is None:
                    levels.append(self._opened(part, at, written))
                    break
                written.append(scalar)
            else:
                written.append(level.closing)
                self._open.pop(id(level.container), None)
                levels.pop()
        return "".join(written)

    def _scalar(self, value: Any, path: str) -> str | None:
        if value is None or isinstance(value, (bool, str)):
            return _encode_text(value)
        if isinstance(value, int):
            return self._integer(value, path)
        if isinstance(value, float):
            return self._float(value, path)
        return None

    def _opened(self, value: Any, path: str, written: list[str]) -> _Level:
        if id(value) in self._open:
            self._refuse(path, f"is {_cut(self._open[id(value)])} again: a circular reference")
        if len(self._open) >= MAX_DEPTH:
            self._refuse(path, f"nests deeper than {MAX_DEPTH} levels")
        self._open[id(value)] = path
        if isinstance(value, dict):
            written.append("{")
            return _Level(value, path, self._members(value, path), "}")
        if isinstance(value, (list, tuple)):
            written.append("[")
            return _Level(value, path, self._items(value, path), "]")
        return _Level(value, path, iter([("", path, self._plain(value, path))]), "")

    def _members(self, value: dict[Any, Any], path: str) -> Iterator[tuple[str, str, Any]]:
        comma = ""
        for key, part in value.items():
            at = path + _step(key)
            yield f"{comma}{self._key(key, at)}:", at, part
            comma = ","

    def _items(self, value: list[Any] | tuple[Any, ...], path: str) -> Iterator[tuple[str, str, Any]]:
        for index, part in enumerate(value):
            yield "," if index else "", f"{path}[{index}]", part

    def _plain(self, value: Any, path: str) -> Any:
        try:
            return _plain(value)
        except Exception as error:  # noqa: BLE001 - also what foreign serializers raise
            if hasattr(type(value), "__pydantic_serializer__"):
                self._blame_part(value, path)
            self._refuse(path, f"can't be encoded as JSON: {type(value).__name__} ({_first_line(error)})", error)

    def _blame_part(self, model: Any, path: str) -> None:
        """Raise for the part of a pydantic model that is to blame, if a single one is."""
        try:
            parts = _dumped(model)
        except Exception:  # noqa: BLE001 - as above
            parts = dict(vars(model))
        try:
            self.text_of(parts, path)
        except RecursionError:
            return

    def _key(self, key: Any, at: str) -> str:
        if isinstance(key, Enum):
            key = key.value
        scalar = self._scalar(key, at)
        if scalar is not None:
            return scalar if isinstance(key, str) else f'"{scalar}"'
        try:
            if _has_nonfinite(key):
                raise ValueError("NaN or infinity")
            return _encode_text(next(iter(to_jsonable_python({key: None}))))
        except Exception as error:  # noqa: BLE001 - as above
            self._refuse(at, f"has a key that can't be encoded: {type(key).__name__} ({_first_line(error)})", error)

    def _integer(self, value: int, path: str) -> str:
        try:
            return int.__repr__(value)
        except ValueError:  # beyond the number of digits that Python prints
            digits = value.bit_length() * 3 // 10
            if digits > self._limit:
                raise _too_large(self._field, f"{_cut(path)} takes more than {digits} bytes", self._limit) from None
            return _digits_of(value)

    def _float(self, value: float, path: str) -> str:
        shown = float.__repr__(value)
        if not isfinite(value):
            self._refuse(path, f"is {shown}, which JSON doesn't know; send None or text instead")
        return shown

    def _refuse(self, path: str, said: str, cause: BaseException | None = None) -> NoReturn:
        raise InvalidJobError(f"{_cut(path)} {said}", field=self._field) from cause


def _cut(path: str) -> str:
    return path if len(path) <= 200 else f"{path[:100]}…{path[-100:]}"


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


# --- Integers beyond sys.get_int_max_str_digits(), a limit of the whole process and so not ours to change. They go by
# --- halves, since Python's own conversion takes time that grows with the square of the length. -----------------------

_BITS_AT_ONCE: Final = 4096
_DIGITS_AT_ONCE: Final = 1200


def _digits_of(value: int) -> str:
    exact = Context(prec=value.bit_length() * 31 // 100 + 10, Emax=10**9, Emin=-(10**9))
    digits = format(_as_decimal(abs(value), value.bit_length(), exact), "f")
    return f"-{digits}" if value < 0 else digits


def _as_decimal(value: int, bits: int, exact: Context) -> Decimal:
    if bits <= _BITS_AT_ONCE:
        return Decimal(value)
    low_bits = bits // 2
    high = _as_decimal(value >> low_bits, bits - low_bits, exact)
    low = _as_decimal(value & ((1 << low_bits) - 1), low_bits, exact)
    return exact.add(exact.multiply(high, exact.power(Decimal(2), low_bits)), low)


def _parse_integer(digits: str) -> int:
    if len(digits) <= _DIGITS_AT_ONCE:
        return int(digits)
    if digits.startswith("-"):
        return -_parse_integer(digits[1:])
    low_digits = len(digits) // 2
    high, low = _parse_integer(digits[:-low_digits]), _parse_integer(digits[-low_digits:])
    power: int = 5**low_digits
    return (high * power << low_digits) + low


_decode_huge = json.JSONDecoder(parse_int=_parse_integer).decode
