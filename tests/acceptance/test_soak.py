"""`bench.soak` with short beats: jobs beside faults, and not one of them is treated wrongly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.soak.plan import make_faults
from tests.acceptance.nodes import ROOT, environment


def soak(folder: Path, seconds: float, limit: float, *options: str, timeout: float = 2.5) -> str:
    """Runs it, and gives its report."""
    beats = {"XPERT_MQ_HEARTBEAT_INTERVAL": str(timeout / 10), "XPERT_MQ_NODE_TIMEOUT": str(timeout)}
    words = ["--seconds", str(seconds), "--folder", str(folder / "soak"), *options]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.soak", *words],
        cwd=ROOT,
        env=environment(**beats),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        report, _ = process.communicate(timeout=limit)
    finally:
        # It ends its nodes and its server.
        process.terminate()
        process.wait(30)
    sys.stdout.write(report)
    assert process.returncode == 0, report
    return report


@pytest.mark.timeout(180)
def test_soak(tmp_path: Path) -> None:
    report = soak(tmp_path, 20, 150, "--fault-every", "1.1", "--rate", "12")

    # There may be no message to hit in so short a time.
    for fault in {fault.kind for fault in make_faults(1, 20, 1.1, 2.5)} - {"delete messages", "double messages"}:
        assert f"  {fault} " in report


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [2, 3])
def test_soak_for_longer(tmp_path: Path, seed: int) -> None:
    report = soak(tmp_path, 150, 500, "--fault-every", "1", "--rate", "20", "--workers", "6", "--seed", str(seed))

    assert "kill child" in report
