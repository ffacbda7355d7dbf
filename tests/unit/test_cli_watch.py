from __future__ import annotations

import time

import pytest
from rich.text import Text

from xpert_mq.cli.watch import keep_looking


class SlowSight:
    """Takes its time for a look, and is interrupted at the third."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ended: list[float] = []
        self.started: list[float] = []

    def look(self) -> None:
        self.started.append(time.monotonic())
        if len(self.started) == 3:
            raise KeyboardInterrupt
        time.sleep(self.seconds)
        self.ended.append(time.monotonic())

    def document(self) -> list[int]:
        return []

    def picture(self) -> Text:
        return Text("seen")


@pytest.mark.parametrize(("look", "interval"), [(0.2, 0.05), (0.0, 0.2)])
def test_waits_at_least_as_long_as_the_look_took(look: float, interval: float) -> None:
    sight = SlowSight(look)

    keep_looking(sight, interval, as_json=True)

    pauses = [start - end for start, end in zip(sight.started[1:], sight.ended, strict=True)]
    assert min(pauses) >= 0.2
