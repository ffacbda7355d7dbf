from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import urllib.request
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest

from examples.demo import check
from examples.demo.plan import TENANTS, TenantPlan, make_plan

ROOT = Path(__file__).parents[2]


def test_seed_repeats_the_plan() -> None:
    assert make_plan(3) == make_plan(3)
    assert [plan.faults for plan in make_plan(3)] != [plan.faults for plan in make_plan(4)]
    assert [plan.steps for plan in make_plan(3)] != [plan.steps for plan in make_plan(4)]


def test_plan_has_two_tenants_with_the_same_ids() -> None:
    acme, globex, initech = make_plan(3)

    assert named(acme) == named(globex)
    assert named(acme).isdisjoint(named(initech))
    assert acme.faults.keys() != globex.faults.keys()
    for plan in (acme, globex, initech):
        assert set(plan.fates.values()) == {"sent", "failed", "cancelled", "open", "refused"}
        assert {fault for one in plan.faults.values() for fault in one} == {"failed", "refused", "lost"}


def named(plan: TenantPlan) -> set[tuple[str, str, str, str]]:
    return {(one.integration, one.account, one.contact, one.message_id) for one in (*plan.fates, *plan.inbound)}


class Demo:
    """`python -m examples.demo`, in a pipe or in a terminal of so many columns."""

    def __init__(self, folder: Path, *options: str, columns: int, terminal: bool = False, **env: str) -> None:
        self._master, output = pty.openpty() if terminal else os.pipe()
        if terminal:
            ioctl(output, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
        own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
        own |= {"TERM": "xterm-256color"} if terminal else {"COLUMNS": str(columns)}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "examples.demo", *options],
            cwd=folder,
            env=own | {"PYTHONPATH": str(ROOT)} | env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        os.close(output)
        self._bytes = b""

    @property
    def output(self) -> str:
        """What it has written, terminal codes included."""
        return self._bytes.decode()

    @property
    def lines(self) -> list[str]:
        """The lines without terminal codes."""
        return [line.rstrip() for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.output))]

    @property
    def pids(self) -> list[int]:
        """Of the processes that it names."""
        return [int(pid) for pid in re.findall(r"\(pid (\d+)\)", self.output)]

    def wait_for(self, text: str, timeout: float = 80) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.output:
            assert time.monotonic() < deadline, self.output
            assert self._read(), self.output

    def end(self, number: signal.Signals | None = None) -> int:
        """Its exit status, after it was told to end or has ended by itself."""
        if number is not None:
            self._process.send_signal(number)
        deadline = time.monotonic() + 80
        while self._read():
            assert time.monotonic() < deadline, self.output
        return self._process.wait(10)

    def close(self) -> None:
        """Lets nothing run on where a test fails."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
            self._process.kill()
            self._process.wait()
        os.close(self._master)

    def _read(self) -> bool:
        """Whether there may be more."""
        if not select.select([self._master], [], [], 0.5)[0]:
            return True
        try:
            piece = os.read(self._master, 65536)
        except OSError:  # a terminal that nobody holds any more
            return False
        self._bytes += piece
        return bool(piece)


@contextlib.contextmanager
def demo(*options: str, folder: Path = ROOT, columns: int = 80, terminal: bool = False, **env: str) -> Iterator[Demo]:
    running = Demo(folder, *options, columns=columns, terminal=terminal, **env)
    try:
        yield running
    finally:
        running.close()


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def assert_is_well(running: Demo, columns: int) -> None:
    """It is as planned, and the tables are whole."""
    lines = running.lines
    ends = [number for number, line in enumerate(lines) if line.startswith("All as planned")]
    assert ends, running.output
    lines = lines[: ends[0] + 1]
    assert sum(line.startswith("ok ") for line in lines) == len(check.CHECKS)
    assert max(map(len, lines)) <= columns
    assert not any("…" in line for line in lines), "nothing is cut"
    sends = [line for line in lines if "send-message" in line]
    assert [line.split()[0] for line in sends] == [tenant for tenant, _, _ in TENANTS]
    for line in sends:
        numbers = [int(word) for word in line.split()[2:]]
        jobs, completed, failed, cancelled, tries, deferred, *times = numbers
        assert jobs == completed + failed + cancelled
        assert tries > deferred > 0
        assert min(completed, failed, cancelled) > 0
        assert len(times) == 4
    assert any("wechat.outbound/send-message" in line for line in lines) == (columns > 100)
    assert len(running.pids) == 4


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("columns", "terminal"), [(80, False), (140, True)])
def test_demo_is_as_planned_and_leaves_nothing(columns: int, terminal: bool) -> None:
    with demo("--seed", "7", columns=columns, terminal=terminal) as running:
        assert running.end() == 0, running.output

        assert_is_well(running, columns)
        assert all(map(has_ended, running.pids))
        assert f"{sum(plan.messages for plan in make_plan(7))} messages of 3 tenants: --seed 7" in running.output
        assert bool(re.search("\x1b\\[[0-9;]*m━", running.output)) == terminal, "bars are for terminals"
        assert ("\x1b" in running.output) == terminal, "no escape codes where there is no terminal"


#: Settings of another deployment, by which it would fail.
FOREIGN = {
    "XPERT_MQ_PAYLOAD_LIMIT": "10",
    "XPERT_MQ_ENQUEUE_TIMEOUT": "0.001",
    "MANAGED_QUEUE_CONCURRENCY": "xyz",
    "CONFIG_MODULE": "nowhere",
}


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_demo_keeps_everything_running_until_it_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal, and where another deployment has left its settings."""
    (tmp_path / ".env").write_text("XPERT_MQ_POOLS=a b\nXPERT_MQ_NODE_TIMEOUT=0\n")
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    with demo("--keep", folder=tmp_path, terminal=True, NO_COLOR="1") as running:
        running.wait_for("beside the logs")
        assert_is_well(running, 80)
        assert not any(map(has_ended, running.pids))
        assert "━" in running.output, "bars are for terminals"
        (url,) = re.findall(r"curl (\S+)/log", running.output)
        # Of an account that is never paused, so that its first job is there.
        job_id = next(f"send:{entry['key']}:1" for entry in log_of(url) if entry["content"].get("account") == "bob")
        found = [typed(running, f"jobs show {job_id} --tenant {tenant}", tmp_path) for tenant in ("acme", "globex")]
        assert sorted(found) == [0, 1], "what it says to type works, and finds the tenant's own"

        assert running.end(signal.SIGINT) == 0
        assert all(map(has_ended, running.pids))
        assert not re.search("\x1b\\[[0-9;]+m", running.output), "no colours"
        assert [one.name for one in tmp_path.iterdir()] == [".env"]


def typed(running: Demo, command: str, folder: Path) -> int:
    """The exit status of what its hints say, with this command in the place of `jobs list`."""
    lines = [line.strip() for line in running.lines]
    begin, end = (number for number, line in enumerate(lines) if line.startswith("cd ") or line.endswith(" jobs list"))
    said = [line for line in lines[begin : end + 1] if not line.endswith("--watch")]
    said[-1] = said[-1].removesuffix("jobs list") + command
    # No program but the shell's own is on the PATH.
    return subprocess.run(["/bin/sh", "-ec", "\n".join(said)], cwd=folder, env={"PATH": ""}, timeout=20).returncode


def log_of(url: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{url}/log") as response:
        log: list[dict[str, Any]] = json.loads(response.read())["log"]
        return log


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_interrupted_ends_all_of_it(number: signal.Signals) -> None:
    with demo() as running:
        running.wait_for("Plan ")

        assert running.end(number) == 130, running.output
        assert "Traceback" not in running.output
        assert len(running.pids) == 4
        assert all(map(has_ended, running.pids))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_demo_whose_worker_dies_says_so_and_ends_the_rest() -> None:
    with demo() as running:
        running.wait_for("Plan ")
        os.kill(running.pids[-1], signal.SIGKILL)

        assert running.end() == 1, running.output
        assert "The demo failed: node2 ended with status -9" in running.output
        assert all(map(has_ended, running.pids))
