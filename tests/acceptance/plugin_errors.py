"""What the handlers of the test plugin raise, by name."""

from __future__ import annotations

import asyncio
import threading

from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded

from xpert_mq import UnrecoverableError


class Ended(BaseException):
    """Not an Exception, as those that some frameworks stop a unit of work with."""


class WithoutTextError(Exception):
    """Breaks when it is shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class NotTextError(Exception):
    """Gives something else than text."""

    def __str__(self) -> str:
        return None  # type: ignore[return-value] # on purpose


class TwoArgumentsError(Exception):
    """Can be pickled, but not read again."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def error_of(how: str) -> BaseException:
    """A fresh error."""

    class LocalError(Exception):
        """Can't be pickled: nobody can import it, and it holds a lock."""

        def __init__(self) -> None:
            super().__init__("can't be pickled")
            self.lock = threading.Lock()

    errors: dict[str, BaseException] = {
        "plain": ValueError("went wrong"),
        "empty": ValueError(),
        "chained": _chained(),
        "group": ExceptionGroup("several", [ValueError("one"), KeyError("two")]),
        "unrecoverable": UnrecoverableError("never again"),
        "base": Ended("ended"),
        "cancelled": asyncio.CancelledError("cancelled"),
        "unpicklable": LocalError(),
        "two-arguments": TwoArgumentsError("one", "two"),
        "surrogate": ValueError("bad \ud800 text"),
        "huge": ValueError("x" * 3_000_000),
        "no-text": WithoutTextError(),
        "not-text": NotTextError(),
        "memory": MemoryError("too much"),
        "stop": StopIteration("stop"),
        "ignore": Ignore("ignored"),
        "reject": Reject("rejected", requeue=True),
        "retry": Retry("retried"),
        "soft-limit": SoftTimeLimitExceeded(),
        "exit": SystemExit(3),
        "interrupt": KeyboardInterrupt(),
    }
    return errors[how]


def _chained() -> Exception:
    try:
        try:
            raise KeyError("cause")
        except KeyError as error:
            raise ValueError("effect") from error
    except ValueError as error:
        return error
