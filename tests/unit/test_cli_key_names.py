from __future__ import annotations

import pytest

from xpert_mq.cli.key_names import KeyNames
from xpert_mq.settings import Settings
from xpert_mq.store.keys import Keys, group_name, job_token, logical_name, pool_keys

NAMES = KeyNames(Settings(prefix="p:q"))
KEYS = Keys("p:q")
GROUP = group_name("t:1", logical_name("a", "b:", "x:kept"))


@pytest.mark.parametrize("token", [job_token(None, "id"), job_token("t:1", "a:b\n"), job_token(None, "")])
def test_token_of_a_record(token: str) -> None:
    assert NAMES.token(KEYS.job(token)) == token
    assert NAMES.token(f"other:job:{token}") is None


@pytest.mark.parametrize("text", ["", "id", "9:t:id", "01:t:id"])
def test_record_of_no_job(text: str) -> None:
    assert NAMES.token(KEYS.jobs + text) is None
    assert not NAMES.is_other(KEYS.jobs + text)


def test_index_entry_of_a_list() -> None:
    for state in ("waiting", "delayed", "active", "completed", "failed"):
        assert NAMES.index_entry(KEYS.list_of(state, GROUP)) == (KEYS.groups, GROUP)
    kept = KEYS.list_of("failed", GROUP)

    assert NAMES.index_entry(f"{kept}:kept") == (KEYS.groups, GROUP)
    assert NAMES.index_entry(f"{kept}:expiry") == (KEYS.expiring, kept)


@pytest.mark.parametrize("rest", ["lost:" + GROUP, "waiting:x", f"waiting:{GROUP}:kept", f"failed:{GROUP}:old"])
def test_list_of_no_group(rest: str) -> None:
    assert NAMES.index_entry(KEYS.lists + rest) is None
    assert not NAMES.is_other(KEYS.lists + rest)


@pytest.mark.parametrize("pool", ["default", "sandbox-browser", "gone_1"])
def test_pool_of_its_keys(pool: str) -> None:
    keys = pool_keys(NAMES.queue_of(pool))

    assert [NAMES.pool(key) for key in (keys.queue, keys.waiting, keys.delayed, keys.wake)] == [pool] * 4
    assert NAMES.pool(f"{keys.queue}:active") is None


@pytest.mark.parametrize(
    "key",
    [
        "generation",
        "groups",
        "expiring",
        "unacked",
        "unacked_index",
        "unacked_mutex",
        "answer:0123",
        "tally:29925503",
        "_kombu.binding.p:q:plugin-jobs",
        "_kombu.binding.reply.p:q:control.pidbox",
        "_kombu.binding_deadlines",
        "_kombu.binding_permanent.p:q:plugin-jobs",
        "celeryev.3f",
    ],
)
def test_other_keys_of_the_platform(key: str) -> None:
    assert NAMES.is_other(f"p:q:{key}")


def test_longer_prefix_that_a_key_may_have() -> None:
    assert list(NAMES.longer_prefixes("p:q:staging:2:job:1:t:list:x")) == ["p:q:staging:2", "p:q:staging:2:job:1:t"]
    assert list(NAMES.longer_prefixes("p:q:a:plugin-jobs-old:wake")) == ["p:q:a"]
    assert "p:q:a" in NAMES.longer_prefixes("p:q:a:_kombu.binding.p:q:a:plugin-jobs")
    assert list(NAMES.longer_prefixes("p:q:job:x")) == []
    assert list(NAMES.longer_prefixes("p:q:a:jobs")) == []


@pytest.mark.parametrize("key", ["generation:x", "tally:x", "tally", "plugin-jobs:active", "finished", "unacked2"])
def test_keys_of_nobody(key: str) -> None:
    assert not NAMES.is_other(f"p:q:{key}")
    assert NAMES.pool(f"p:q:{key}") is None
