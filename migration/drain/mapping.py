"""The mapping file: which job of the managed queue a job of the old queue becomes."""

from __future__ import annotations

import difflib
import json
import string
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from .errors import MappingError
from .old_job import UnfitError

ANY = "*"

_PLACEHOLDERS = ("id", "queue", "name")
_LARGEST_FILE = 1024 * 1024


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Found(_Strict):
    """A value in the job's data.

    Attributes:
        path: keys and indexes with dots between them, or a list of them where a key has a dot.
        optional: nothing there, or null, means none.
    """

    path: str | list[str]
    optional: bool = False

    def find(self, data: Any) -> Any:
        """The value; None where it may be missing. Raises UnfitError."""
        found = data
        for part in self.path.split(".") if isinstance(self.path, str) else self.path:
            found = _member(found, part)
        if found is None and not self.optional:
            raise UnfitError(f"its data has no {self}")
        return found

    def __str__(self) -> str:
        return self.path if isinstance(self.path, str) else ".".join(self.path)


class Nothing(_Strict):
    """No value, on purpose."""

    none: Literal[True]


def _value(given: Any) -> Any:
    if isinstance(given, str):
        return given
    if isinstance(given, dict) and "none" in given:
        return Nothing.model_validate(given)
    if isinstance(given, dict):
        return Found.model_validate(given)
    raise PydanticCustomError("value", 'must be a text, { path = "…" } or { none = true }')


def _pattern(given: str) -> str:
    try:
        fields = [field for field in string.Formatter().parse(given) if field[1] is not None]
    except ValueError as error:
        raise PydanticCustomError("pattern", "has a brace too many or too few") from error
    if any(name not in _PLACEHOLDERS or spec or conversion for _, name, spec, conversion in fields):
        raise PydanticCustomError("pattern", "knows {id}, {queue} and {name} alone")
    if all(name != "id" for _, name, _, _ in fields):
        raise PydanticCustomError("pattern", "must have {id} in it, or all jobs get the same id")
    return given


def _place(given: Any) -> Any:
    if isinstance(given, dict):
        return Found.model_validate(given)
    raise PydanticCustomError("place", 'must be { path = "…" }: where the payload is in the data')


Value = Annotated[str | Found | Nothing, BeforeValidator(_value)]


class Rule(_Strict):
    """What becomes of the jobs of one old queue and name. A text is the value itself."""

    plugin_name: Value
    queue_name: Value
    job_name: Value | None = None
    tenant_id: Value
    organization_id: Value = Nothing(none=True)
    scope_key: Value = Nothing(none=True)
    user_id: Value = Nothing(none=True)
    execution_pool: Value = "default"
    id: Annotated[str, BeforeValidator(_pattern)] = "{id}"
    payload: Annotated[Found | None, BeforeValidator(_place)] = None

    def fields(self, job_id: str, queue: str, name: str, data: Any) -> dict[str, Any]:
        """What `enqueue` takes of it. Raises UnfitError for a value that is missing, or no text."""
        named = {field: self._text(field, data) for field in _NAMED}
        return {
            **named,
            "job_name": self._text("job_name", data) if self.job_name is not None else name,
            "job_id": self.id.format(id=job_id, queue=queue, name=name),
            "payload": data if self.payload is None else self.payload.find(data),
        }

    def _text(self, field: str, data: Any) -> str | None:
        value = getattr(self, field)
        if isinstance(value, Nothing):
            return None
        if not isinstance(value, Found):
            return str(value)
        found = value.find(data)
        if found is None or isinstance(found, str):
            return found
        if isinstance(found, int) and not isinstance(found, bool):
            return str(found)
        raise UnfitError(f"{value} in its data is neither a text nor a whole number, and {field} must be one")


_NAMED = ("plugin_name", "queue_name", "tenant_id", "organization_id", "scope_key", "user_id", "execution_pool")

_Rules = TypeAdapter(dict[str, dict[str, Rule]])


class JobMapping:
    """The rules of a file, by old queue and job name."""

    def __init__(self, rules: Mapping[str, Mapping[str, Rule]], file: str) -> None:
        self._rules = rules
        self.file = file

    def rule(self, queue: str, name: str) -> Rule:
        """The rule for a job: the one that names its queue goes before one for any queue, and so its name.

        Raises:
            UnfitError: there is none.
        """
        for table in (queue, ANY):
            for key in (name, ANY):
                rule = self._rules.get(table, {}).get(key)
                if rule:
                    return rule
        raise UnfitError(f"{self.file} has no rule for the job name {name!r} of {queue!r}")

    def rules_of(self, queue: str) -> list[tuple[str, Rule]]:
        """Those that may apply to a queue, with the names of their tables."""
        return [
            (f"[{quoted(table)}.{quoted(name)}]", rule)
            for table in (queue, ANY)
            for name, rule in self._rules.get(table, {}).items()
        ]


def read_mapping(path: Path) -> JobMapping:
    """Reads the file.

    Raises:
        MappingError: it can't be read, or says something that can't be.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise MappingError(f"{path} has more than {_LARGEST_FILE} bytes: it is no mapping file")
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MappingError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise MappingError(f"{path} is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise MappingError(f"{path} is no TOML: {error}") from error
    try:
        return JobMapping(_Rules.validate_python(tables), str(path))
    except ValidationError as error:
        wrong = "\n".join(f"{path}: {_described(detail)}" for detail in error.errors(include_url=False))
        raise MappingError(wrong) from error


def _member(data: Any, part: str) -> Any:
    if isinstance(data, dict):
        return data.get(part)
    if isinstance(data, list) and part.isdecimal() and int(part) < len(data):
        return data[int(part)]
    return None


def _described(detail: ErrorDetails) -> str:
    where = [str(part) for part in detail["loc"]]
    table = f"[{'.'.join(map(quoted, where[:2]))}]"
    key = ".".join(where[2:])
    if not key:
        right = 'a table for each old queue and job name, as in ["mail"."send"]'
        return f"{table} must be {right}"
    if detail["type"] == "missing":
        return f"{table} lacks {key}{_advice(key)}"
    if detail["type"] == "extra_forbidden":
        known = Rule.model_fields if len(where) == 3 else Found.model_fields
        close = difflib.get_close_matches(where[-1], known, n=1, cutoff=0.0)[0]
        return f"{table} {key} is not known; the closest known key is {close!r}"
    return f"{table} {key} {_in_words(detail['msg'])}"


def _advice(key: str) -> str:
    if key == "tenant_id":
        return ': { path = "…" } says where it is in the data, and { none = true } that there is none'
    return ""


def _in_words(said: str) -> str:
    said = said.replace("Input should be", "must be").replace("True", "true")
    return said[:1].lower() + said[1:]


def quoted(name: str) -> str:
    """As TOML has it; in JSON a text is written alike, but for one character."""
    return json.dumps(name, ensure_ascii=False).replace("\x7f", "\\u007f")
