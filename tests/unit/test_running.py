"""The account of what a node runs, over its processes."""

from __future__ import annotations

import os
import signal
from typing import Any

import billiard.process
import pytest

from xpert_mq.running import Running


@pytest.mark.parametrize("shared", [False, True])
def test_running_in_the_process_itself(shared: bool) -> None:
    running = Running()
    if shared:
        running.share()

    with running.job("one"), running.job("two"):
        assert running.nonces() == {"one", "two"}

    assert running.nonces() == set()


def test_running_ends_with_an_exception() -> None:
    running = Running()

    with pytest.raises(SystemExit), running.job("one"):
        raise SystemExit

    assert running.nonces() == set()


@pytest.mark.parametrize("ends", [True, False], ids=["ends", "dies"])
def test_running_in_a_child(ends: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Child:
        index = 7

    monkeypatch.setattr(billiard.process, "current_process", Child)
    running = Running()
    running.share()
    begun, go_on = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with running.job("0123456789abcdef"):
            os.write(begun[1], b"x")
            os.read(go_on[0], 1)
        os._exit(0)

    os.read(begun[0], 1)
    assert running.nonces() == {"0123456789abcdef"}
    assert running.nonces() == {"0123456789abcdef"}
    if ends:
        os.write(go_on[1], b"x")
    else:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert running.died() == (set() if ends else {"0123456789abcdef"})

    assert running.nonces() == set()
    descriptors: Any = (*begun, *go_on)
    for descriptor in descriptors:
        os.close(descriptor)


def _child(running: Running, nonce: str) -> int:
    """One that is killed while it runs the job."""
    begun = os.pipe()
    child = os.fork()
    if not child:
        with running.job(nonce):
            os.write(begun[1], b"x")
            signal.pause()
    os.read(begun[0], 1)
    for end in begun:
        os.close(end)
    return child


def test_what_a_dead_child_ran_is_known_until_it_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when another child has its place."""

    class Child:
        index = 7

    monkeypatch.setattr(billiard.process, "current_process", Child)
    running = Running()
    running.share()
    first = _child(running, "first")
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    second = _child(running, "second")

    assert (running.nonces(), running.died()) == ({"second"}, {"first"})
    running.forget({"first"})
    assert (running.nonces(), running.died()) == ({"second"}, set())
    os.kill(second, signal.SIGKILL)
    os.waitpid(second, 0)
    assert (running.nonces(), running.died()) == (set(), {"second"})
