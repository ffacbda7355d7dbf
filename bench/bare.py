"""A worker that beats once, at its start, and minds only what is due: the measure of what the rest costs."""

from __future__ import annotations

from xpert_mq import app
from xpert_mq.worker.maintenance import Maintenance

__all__ = ["app"]


def _work(self: Maintenance) -> float:
    return self._promote_and_expire()


Maintenance._work = _work  # type: ignore[method-assign] # in this process alone
