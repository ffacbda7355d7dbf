"""Loads the Lua scripts: one file per operation, whose head names its keys, arguments and results.

The head becomes the script's local variables, so neither side counts positions; constants of the prefix, the shared
parts that the head includes, and the message template are put before the body.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources

#: The shared parts, by the name that a head's INCLUDE gives.
_PARTS = ("record", "message", "limits", "adding", "ending", "recovery")

#: In a head, of a script without keys of its own.
_NONE = "-"


class ScriptError(Exception):
    """A script's file breaks the rules of its head. A fault of this package, never of its user."""


@dataclass(frozen=True, slots=True)
class Script:
    """One operation on the records, ready to be sent."""

    name: str
    keys: tuple[str, ...]
    args: tuple[str, ...]
    source: str
    sha: str

    def values(self, given: Mapping[str, object]) -> list[object]:
        """`EVALSHA` and all that follows it, from values by name."""
        names = self.keys + self.args
        if len(given) != len(names):
            raise ScriptError(f"{self.name} takes {names}, got {tuple(given)}")
        return ["EVALSHA", self.sha, len(self.keys), *[given[name] for name in names]]


def load_script(name: str, constants: Mapping[str, str | int], fill_function: Callable[[], str]) -> Script:
    """The script `name`, with the spelling of one prefix.

    Args:
        name: of the file, without `.lua`.
        constants: from `Keys.lua_constants`.
        fill_function: gives the message template as Lua; only called for scripts that hand jobs out, since it costs the
            import of Celery.

    Raises:
        ScriptError: the head is not of the form that the other files show.
    """
    body = _text(name)
    keys, args, flags = (_head(body, word) for word in ("KEYS", "ARGV", "FLAGS"))
    included = _included(body)
    if not keys or not re.search(r"^-- RETURNS  ", body, re.MULTILINE) or not set(included) <= set(_PARTS):
        raise ScriptError(f"{name}.lua: the head must name KEYS, RETURNS and known parts, got {keys}, {included}")
    keys = tuple(key for key in keys if key != _NONE)
    lines = [f"#!lua flags={','.join(flags)}" if flags else "#!lua"]
    lines += [
        f"local {constant} = {value if isinstance(value, int) else _quoted(value)}"
        for constant, value in constants.items()
    ]
    if "message" in included:
        lines.append(fill_function())
    lines += [f"local {key} = KEYS[{i}]" for i, key in enumerate(keys, 1)]
    lines += [f"local {arg} = ARGV[{i}]" for i, arg in enumerate(args, 1)]
    lines += [_text(f"_{part}") for part in included]
    source = "\n".join([*lines, body])
    return Script(name, keys, args, source, hashlib.sha1(source.encode()).hexdigest())


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(f"{name}.lua").read_text(encoding="utf-8")


def _included(body: str) -> tuple[str, ...]:
    """The parts that a script or a part includes, each behind those that it needs itself."""
    found: dict[str, None] = {}
    for part in _head(body, "INCLUDE"):
        if part in _PARTS:
            found.update(dict.fromkeys(_included(_text(f"_{part}"))))
        found[part] = None
    return tuple(found)


def _head(body: str, word: str) -> tuple[str, ...]:
    found = re.search(rf"^-- {word}  (.*)$", body, re.MULTILINE)
    return tuple(found[1].split()) if found else ()


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
