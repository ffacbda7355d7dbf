from __future__ import annotations

import hashlib
import re
from importlib import resources

import pytest

from xpert_mq.store import scripts
from xpert_mq.store.keys import Keys
from xpert_mq.store.scripts import Script, ScriptError, load_script

FOLDER = resources.files("xpert_mq.store")
FILES = sorted(entry.name for entry in FOLDER.iterdir() if entry.name.endswith(".lua"))
SCRIPTS = [name.removesuffix(".lua") for name in FILES if not name.startswith("_")]
PARTS = [name for name in FILES if name.startswith("_")]

#: They run while the server's memory is full: what ends or returns a job, and what frees memory.
ALLOW_OOM = {
    *{"finish", "retry", "fetch", "claim", "cancel", "expire", "read", "promote"},
    *{"beat", "recover", "leave", "pass_on", "stall", "give_back", "sweep"},
}

#: They also run on a replica.
NO_WRITES = {"count", "groups", "list", "nodes", "running", "tallies"}


def text(name: str) -> str:
    return FOLDER.joinpath(name).read_text(encoding="utf-8")


def code(name: str) -> str:
    """Without comments and the texts in quotes."""
    return re.sub(r"'(\\.|[^'\\])*'", "''", re.sub(r"--[^\n]*", "", text(name)))


def loaded(name: str) -> Script:
    return load_script(name, Keys("p").lua_constants(), lambda: "local function FILL() return '' end")


def test_script_files_are_all_known() -> None:
    assert {"add", "cancel", "checkpoint", "claim", "finish", "promote", "read", "rerun", "retry"} <= set(SCRIPTS)
    assert {f"_{part}.lua" for part in scripts._PARTS} == set(PARTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_head_names_what_the_body_uses(name: str) -> None:
    script = loaded(name)
    body = code(f"{name}.lua")

    for variable in script.keys + script.args:
        assert re.search(rf"\b{variable}\b", body), f"{name}.lua: {variable} is named and not used"
    assert not re.search(r"\b(KEYS|ARGV)\b", body), f"{name}.lua counts positions"


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_head_comes_first(name: str) -> None:
    lines = text(f"{name}.lua").splitlines()
    head = lines[: next(index for index, line in enumerate(lines) if not line.startswith("--"))]

    for word in ("KEYS", "RETURNS"):
        assert sum(line.startswith(f"-- {word}  ") for line in head) == 1
    for word in ("ARGV", "FLAGS", "INCLUDE"):
        assert sum(line.startswith(f"-- {word}  ") for line in head) <= 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_returns_are_all_in_the_head(name: str) -> None:
    head = "\n".join(line for line in text(f"{name}.lua").splitlines() if line.startswith("--"))

    for word in re.findall(r"return \{?'(\w+)'", text(f"{name}.lua")):
        assert f"'{word}'" in head


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_includes_what_it_uses(name: str) -> None:
    body = code(f"{name}.lua")
    included = scripts._head(text(f"{name}.lua"), "INCLUDE")
    for part in scripts._PARTS:
        functions = set(re.findall(r"local function (\w+)", code(f"_{part}.lua")))
        used = {function for function in functions if re.search(rf"\b{function}\(", body)}
        used |= {"now"} if part == "record" and re.search(r"\bnow\b", body) else set()
        assert not used or part in included
        if part == "record":
            continue
        assert used or part not in included, f"{name}.lua includes {part} for nothing"


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_flags(name: str) -> None:
    first = loaded(name).source.splitlines()[0]

    flag = " flags=allow-oom" if name in ALLOW_OOM else " flags=no-writes" if name in NO_WRITES else ""
    assert first == f"#!lua{flag}"


@pytest.mark.parametrize("name", sorted(NO_WRITES))
def test_script_that_says_so_writes_nothing(name: str) -> None:
    commands = set(re.findall(r"redis\.call\('(\w+)'", text(f"{name}.lua")))

    assert commands <= {"HGETALL", "HMGET", "ZCARD", "ZRANGE", "ZSCORE"}


@pytest.mark.parametrize("name", FILES)
def test_script_spells_no_key(name: str) -> None:
    without_comments = re.sub(r"--[^\n]*", "", text(name))
    assert not re.search(r"plugin-jobs|xpert|managed|finished:|:job:", without_comments)


@pytest.mark.parametrize("name", SCRIPTS)
def test_script_sha_is_the_server_s(name: str) -> None:
    script = loaded(name)

    assert script.sha == hashlib.sha1(script.source.encode()).hexdigest()
    assert script.name == name


def test_script_values_in_the_order_of_the_head() -> None:
    script = loaded("checkpoint")

    values = script.values({"payload": "P", "job": "J", "nonce": "N"})

    assert values == ["EVALSHA", script.sha, 1, "J", "N", "P"]


@pytest.mark.parametrize("given", [{}, {"job": 1, "nonce": 2}, {"job": 1, "nonce": 2, "payload": 3, "more": 4}])
def test_script_values_missing_or_too_many(given: dict[str, object]) -> None:
    with pytest.raises(ScriptError, match="checkpoint takes"):
        loaded("checkpoint").values(given)


@pytest.mark.parametrize(
    "body",
    ["return 1", "-- KEYS  a\nreturn 1", "-- RETURNS  1\nreturn 1", "-- KEYS  a\n-- RETURNS  1\n-- INCLUDE  other\n"],
)
def test_script_with_a_wrong_head_is_refused(monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    monkeypatch.setattr(scripts, "_text", lambda name: body)

    with pytest.raises(ScriptError, match=r"wrong\.lua"):
        load_script("wrong", {}, lambda: "")


def test_script_constants_are_quoted() -> None:
    script = load_script("read", {"A": "it's a \\ path"}, lambda: "")

    assert "local A = 'it\\'s a \\\\ path'" in script.source


def test_script_template_is_only_made_where_jobs_are_handed_out() -> None:
    asked = []

    def fill() -> str:
        asked.append(True)
        return ""

    for name in ("cancel", "checkpoint", "read", "expire", "leave", "nodes"):
        load_script(name, {}, fill)
    assert asked == []
    load_script("add", {}, fill)
    assert asked == [True]
